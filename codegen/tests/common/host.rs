//! Kernels of GPUs on this machine: their HIP text compiled by clang as C++, run block by block.
#![allow(unsafe_code, clippy::unwrap_used)]
use sardonyx_codegen::emit::hip;
use sardonyx_codegen::nest::Worker;
use sardonyx_codegen::target::GpuSpec;
use sardonyx_codegen::unit::Unit;
use std::path::Path;
use std::process::Command;

type Launch = unsafe extern "C" fn(*const *mut u8, *const i64, *mut u8, i64);

/// Whether there is a clang that compiles HIP text; says so where not.
pub fn has_clang() -> bool {
    let found = Command::new("clang-19").arg("--version").output().is_ok_and(|o| o.status.success());
    if !found {
        eprintln!("skipped: clang-19 is not installed");
    }
    found
}

/// Compiled units.
pub struct Loaded {
    library: libloading::Library,
}

/// What runs the threads of a block that wait for each other.
const FIBERS: &str = include_str!("../../../tests/hip_double/host_runtime.hpp");

/// The text of a unit with a function that runs all its blocks: one thread after the other, or as fibers where
/// they run items together.
fn source(unit: &Unit, target: &GpuSpec) -> String {
    let (threads, _) = unit.block();
    let args = (0..unit.params()).map(|i| format!("Any{{args[{i}]}}"));
    let dims = (0..unit.launch_dims().len()).map(|i| format!("dims[{i}]"));
    let scratch = (unit.scratch().known() != Some(0)).then(|| "scratch".to_string());
    let list = args.chain(dims).chain(scratch).collect::<Vec<_>>().join(", ");
    let (text, name) = (hip::text(unit, target), hip::symbol(unit.name()));
    let together = match unit {
        Unit::Nest(nest) => nest.blocks.as_ref().is_some_and(|b| b.worker == Worker::Block),
        Unit::Template(_) => true,
    };
    let (fibers, run) = match together {
        false => (
            "static void switch_to(long block, int thread); static void run_kernel();",
            format!(
                "for (i64 block = 0; block < blocks; block++)
    for (u32 thread = 0; thread < {threads}; thread++) {{ switch_to(block, thread); run_kernel(); }}"
            ),
        ),
        true => (FIBERS, format!("launch(blocks, {threads}, {}, CLUSTER);", target.wave)),
    };
    format!(
        "{fibers}
{text}
#if !defined(CLUSTER)
#define CLUSTER 1
#endif
struct Any {{ void* p; template <class T> operator T*() const {{ return (T*)p; }} }};
static void** args;
static const i64* dims;
static u8* scratch;
static void switch_to(long block, int thread) {{ sardonyx_block = u32(block); sardonyx_thread = u32(thread); }}
static void run_kernel() {{ {name}({list}); }}
extern \"C\" void launch_{name}(void** a, const i64* d, u8* s, i64 blocks) {{
  args = a, dims = d, scratch = s;
  {run}
}}
"
    )
}

/// Compiles units, whose names differ, in `directory`.
pub fn load(units: &[Unit], target: &GpuSpec, directory: &Path) -> Loaded {
    let library = directory.join("kernels.so");
    let mut files = Vec::new();
    for unit in units {
        let file = directory.join(format!("{}.cpp", hip::symbol(unit.name())));
        std::fs::write(&file, source(unit, target)).unwrap();
        files.push(file);
    }
    // Two compilers at once; the flags of the text's arithmetic are those of GPUs.
    let objects: Vec<_> = files.iter().map(|f| f.with_extension("o")).collect();
    let half = files.len().div_ceil(2).max(1);
    std::thread::scope(|scope| {
        for chunk in files.chunks(half) {
            scope.spawn(move || {
                for file in chunk {
                    let mut clang = Command::new("clang-19");
                    clang.args(["-x", "c++", "-std=c++17", "-O1", "-ffp-contract=off", "-fPIC", "-w", "-c"]);
                    clang.args(["-mavx2", "-mfma", "-mf16c", "-DSARDONYX_HOST", "-o"]);
                    let output = clang.arg(file.with_extension("o")).arg(file).output().unwrap();
                    let text = String::from_utf8_lossy(&output.stderr);
                    assert!(output.status.success(), "{}: {text}", file.display());
                }
            });
        }
    });
    let status = Command::new("ld").args(["-shared", "-o"]).arg(&library).args(&objects).status().unwrap();
    assert!(status.success(), "ld");
    // SAFETY: the library is made of kernels, which have no initializers.
    let library = unsafe { libloading::Library::new(&library).unwrap() };
    Loaded { library }
}

impl Loaded {
    /// Runs all blocks of a kernel.
    ///
    /// # Safety
    /// The pointers are those of buffers as large as the unit asks for.
    pub unsafe fn launch(&self, name: &str, args: &[*mut u8], dims: &[i64], scratch: &mut [u8], blocks: i64) {
        // SAFETY: the function has this type, and the caller answers for the memory.
        unsafe {
            let launch =
                self.library.get::<Launch>(format!("launch_{}", hip::symbol(name)).as_bytes()).unwrap();
            let start = scratch.as_mut_ptr();
            launch(args.as_ptr(), dims.as_ptr(), start.add(start.align_offset(64)), blocks);
        }
    }
}
