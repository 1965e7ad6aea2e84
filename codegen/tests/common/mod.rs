//! Compiles nests for this machine and runs them.
#![allow(unsafe_code, dead_code, clippy::unwrap_used)]
use sardonyx_codegen::nest::Nest;
use sardonyx_codegen::target::{Target, TargetSpec};
use sardonyx_codegen::toolchain::{self, Options};
use sardonyx_codegen::unit::Unit;
use std::process::Command;

type Kernel = unsafe extern "C" fn(*const *mut u8, *const i64, i64, i64, *mut u8);

/// Compiled kernels, in the order of their nests.
pub struct Loaded {
    _libraries: Vec<libloading::Library>,
    kernels: Vec<Kernel>,
}

pub fn load(nests: &[Nest]) -> Loaded {
    load_for(nests, &toolchain::cpu("native").unwrap())
}

pub fn load_for(nests: &[Nest], target: &TargetSpec) -> Loaded {
    let units: Vec<Unit> = nests.iter().cloned().map(Unit::Nest).collect();
    let target = Target::Cpu(target.clone());
    let built = toolchain::compile(&units, &target, &Options::default()).unwrap_or_else(|e| panic!("{e}"));
    let directory = std::env::temp_dir();
    let libraries: Vec<libloading::Library> = built
        .objects
        .iter()
        .map(|object| {
            let id = blake3::hash(object).to_hex();
            let (o, so) = (
                directory.join(format!("{id}.{}.o", std::process::id())),
                directory.join(format!("{id}.{}.so", std::process::id())),
            );
            std::fs::write(&o, object).unwrap();
            let status = Command::new("ld")
                .args(["-shared", "--no-undefined", "-o"])
                .arg(&so)
                .arg(&o)
                .status()
                .unwrap();
            assert!(status.success(), "an object with undefined symbols");
            // SAFETY: the library is made of kernels, which have no initializers.
            let library = unsafe { libloading::Library::new(&so).unwrap() };
            let _ = (std::fs::remove_file(o), std::fs::remove_file(so));
            library
        })
        .collect();
    let kernels = built
        .places
        .iter()
        // SAFETY: every exported symbol is a function of the kernel ABI.
        .map(|(object, name)| unsafe { *libraries[*object].get::<Kernel>(name.as_bytes()).unwrap() })
        .collect();
    Loaded { _libraries: libraries, kernels }
}

impl Loaded {
    /// Runs work items `begin..end` of a kernel on buffers given as bytes.
    pub fn run(
        &self,
        kernel: usize,
        args: &mut [&mut [u8]],
        dims: &[i64],
        begin: i64,
        end: i64,
        scratch: usize,
    ) {
        self.run_with(kernel, args, dims, begin, end, &mut vec![0; scratch + 128]);
    }

    /// As [`Loaded::run`], with scratch memory of at least 64 bytes more than the nest asks for.
    pub fn run_with(
        &self,
        kernel: usize,
        args: &mut [&mut [u8]],
        dims: &[i64],
        begin: i64,
        end: i64,
        scratch: &mut [u8],
    ) {
        let pointers: Vec<*mut u8> = args.iter_mut().map(|a| a.as_mut_ptr()).collect();
        let start = scratch.as_mut_ptr();
        // SAFETY: the caller passes buffers as large as the kernel's nest asks for.
        unsafe {
            let aligned = start.add(start.align_offset(64));
            self.kernels[kernel](pointers.as_ptr(), dims.as_ptr(), begin, end, aligned);
        }
    }
}

/// The bytes of a slice.
pub fn bytes<T: bytemuck::NoUninit + bytemuck::AnyBitPattern>(x: &mut [T]) -> &mut [u8] {
    bytemuck::cast_slice_mut(x)
}
