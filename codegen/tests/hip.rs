//! HIP text: compiled for this machine, the kernels of the conformance graphs give the reference's values;
//! compiled for AMD GPUs, they are accepted. Skipped with a message where there is no clang-19.
#![allow(unsafe_code, clippy::unwrap_used)]
#[path = "common/by_library.rs"]
mod by_library;
#[path = "common/cases.rs"]
mod cases;
#[path = "common/host.rs"]
mod host;

use cases::Case;
use sardonyx_codegen::emit::hip;
use sardonyx_codegen::library;
use sardonyx_codegen::lower::{self, Lowered};
use sardonyx_codegen::target::{GpuSpec, Target};
use sardonyx_codegen::unit::Unit;
use sardonyx_ir::interp;
use sardonyx_runtime::manifest::{Launch, LibraryCall, Place, Step};
use sardonyx_tensor::{Bindings, DType, Dim, Tensor};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

fn lowered(case: &Case, target: &GpuSpec) -> Lowered {
    let lowered = lower::lower(&case.graph, &Target::Gpu(target.clone()));
    assert!(lowered.unsupported.is_empty(), "{}: {:?}", case.name, lowered.unsupported);
    lowered
}

/// The distinct units of all cases under names of their own, and which of them each launch runs.
fn units(all: &[Lowered]) -> (Vec<Unit>, Vec<Vec<usize>>) {
    let mut unique: Vec<Unit> = Vec::new();
    let mut place = |unit: &Unit| {
        let unit = unit.renamed("k");
        unique.iter().position(|u| *u == unit).unwrap_or_else(|| {
            unique.push(unit);
            unique.len() - 1
        })
    };
    let places = all.iter().map(|l| l.units.iter().map(&mut place).collect()).collect();
    (unique.iter().enumerate().map(|(k, u)| u.renamed(&format!("k{k}"))).collect(), places)
}

fn directory(name: &str) -> PathBuf {
    let directory = std::env::temp_dir().join(format!("sardonyx-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

/// A run of steps over memory of this machine.
struct Run<'a> {
    lowered: &'a Lowered,
    loaded: &'a host::Loaded,
    units: &'a [Unit],
    which: &'a [usize],
    symbols: Bindings,
    inputs: Vec<Tensor>,
    memory: HashMap<usize, Vec<u8>>,
    /// Whether what libraries compute is computed as they would, and how many products and convolutions were.
    libraries: bool,
    calls: [usize; 2],
}

/// Bytes around every buffer that no kernel may change.
const GUARD: usize = 64;

impl Run<'_> {
    fn size(&self, buffer: usize) -> usize {
        usize::try_from(self.lowered.buffers[buffer].bytes.eval(&self.symbols).unwrap()).unwrap()
    }

    fn pointer(&mut self, buffer: usize) -> *mut u8 {
        let place = self.lowered.buffers[buffer].place.clone();
        if let Place::Alias { of, offset } = place {
            let start = self.pointer(of);
            return start.wrapping_add(usize::try_from(offset.eval(&self.symbols).unwrap()).unwrap());
        }
        let size = self.size(buffer);
        let first = match place {
            Place::Input(k) => self.inputs[k].bytes().to_vec(),
            Place::Weight(w) => self.lowered.weights[w].1.tensor().bytes().to_vec(),
            _ => vec![0xa5; size],
        };
        let memory = self.memory.entry(buffer).or_insert_with(|| {
            let mut memory = vec![0x5a; GUARD];
            memory.extend(&first);
            memory.resize(size.max(first.len()) + 2 * GUARD, 0x5a);
            memory
        });
        memory[GUARD..].as_mut_ptr()
    }

    fn steps(&mut self, steps: &[Step]) {
        for step in steps {
            match step {
                Step::Launch(launch) => self.launch(launch),
                Step::Copy { src, dst } => {
                    let (size, from, to) = (self.size(*src), self.pointer(*src), self.pointer(*dst));
                    // SAFETY: both buffers have that many bytes.
                    unsafe { std::ptr::copy(from, to, size) };
                }
                other => panic!("bug: a case with the step {other:?}"),
            }
        }
    }

    /// Computes what a library is asked for in place of a launch; false where it would not.
    fn by_library(&mut self, call: &LibraryCall, launch: &Launch) -> bool {
        let symbols = self.symbols.clone();
        let mut read = |arg: usize, dtype: DType| {
            let (start, size) = (self.pointer(launch.args[arg]), self.size(launch.args[arg]));
            // SAFETY: the buffer has that many bytes.
            let bytes = unsafe { std::slice::from_raw_parts(start, size) };
            Tensor::new(dtype, [size / dtype.size()], bytes).unwrap().to_f64s()
        };
        let Some((arg, dtype, elements)) = by_library::compute(call, &symbols, &mut read) else {
            return false;
        };
        let (out, room) = (self.pointer(launch.args[arg]), self.size(launch.args[arg]));
        for (place, value) in elements {
            let (element, at) = (Tensor::from_f64s(dtype, [1], [value]), place * dtype.size());
            assert!(at + dtype.size() <= room, "a library beyond its result, of {}", launch.label);
            // SAFETY: the element lies in the buffer.
            unsafe { std::ptr::copy_nonoverlapping(element.bytes().as_ptr(), out.add(at), dtype.size()) };
        }
        match call {
            LibraryCall::Product(_) => self.calls[0] += 1,
            LibraryCall::Convolution(_) => self.calls[1] += 1,
        }
        true
    }

    fn launch(&mut self, launch: &Launch) {
        if self.libraries
            && let Some(call) = library::call(&self.lowered.kernels[launch.kernel])
            && self.by_library(&call, launch)
        {
            return;
        }
        let unit = &self.units[self.which[launch.kernel]];
        let args: Vec<*mut u8> = launch.args.iter().map(|&b| self.pointer(b)).collect();
        let eval = |d: &Dim| d.eval(&self.symbols).unwrap();
        let dims: Vec<i64> = launch.dims.iter().map(eval).collect();
        let blocks = eval(&launch.grid);
        let own = &self.lowered.units[launch.kernel];
        let scratch = usize::try_from(blocks * eval(own.scratch())).unwrap();
        // SAFETY: the buffers are as large as the program says; guards show what is written beyond.
        unsafe { self.loaded.launch(unit.name(), &args, &dims, &mut vec![0xff; scratch + 128], blocks) };
        for (buffer, memory) in &self.memory {
            let intact = |bytes: &[u8]| bytes.iter().all(|&b| b == 0x5a);
            let end = memory.len() - GUARD;
            assert!(
                intact(&memory[..GUARD]) && intact(&memory[end..]),
                "buffer {buffer} overrun by {}",
                launch.label
            );
        }
    }
}

/// Whether the steps are kernels and copies: what else there is, the runtime does.
fn is_plain(lowered: &Lowered) -> bool {
    lowered.steps.iter().all(|s| matches!(s, Step::Launch(_) | Step::Copy { .. }))
}

fn check(
    case: &Case,
    lowered: &Lowered,
    loaded: &host::Loaded,
    units: &[Unit],
    which: &[usize],
    libraries: bool,
) -> ([usize; 2], Vec<String>) {
    let mut calls = [0; 2];
    let (g, mut wrong) = (&case.graph, Vec::new());
    for sizes in &case.sizes {
        let inputs: Vec<Tensor> = g
            .inputs()
            .enumerate()
            .map(|(k, v)| {
                let shape: Vec<usize> =
                    g.ty(v).shape.iter().map(|d| d.eval(sizes).unwrap() as usize).collect();
                cases::input(g.input_name(v), g.ty(v).dtype, &shape, k as u64 + 1)
            })
            .collect();
        let expected = interp::eval(g, &inputs).unwrap_or_else(|e| panic!("{}: {e}", case.name));
        let (symbols, memory) = (sizes.clone(), HashMap::new());
        let mut run =
            Run { lowered, loaded, units, which, symbols, inputs, memory, libraries, calls: [0; 2] };
        run.steps(&lowered.steps);
        calls = [calls[0] + run.calls[0], calls[1] + run.calls[1]];
        for (k, e) in expected.iter().enumerate() {
            let at = lowered.buffers.iter().position(|b| b.place == Place::Output(k)).unwrap();
            run.pointer(at);
            let mut actual = Tensor::zeros(e.dtype(), e.shape());
            let size = actual.bytes().len();
            actual.bytes_mut().copy_from_slice(&run.memory[&at][GUARD..GUARD + size]);
            if let Some(difference) = cases::differ(&actual, e, case.tolerance) {
                wrong.push(format!("{} output {k} at {sizes:?}: {difference}", case.name));
            }
        }
    }
    (calls, wrong)
}

/// The kernels of the conformance graphs give the reference's values on this machine.
#[test]
fn kernels_equal_the_reference() {
    if !host::has_clang() {
        return;
    }
    let target = GpuSpec::named("hip:gfx90a").unwrap();
    let cases = cases::chosen();
    let all: Vec<Lowered> = cases.iter().map(|case| lowered(case, target)).collect();
    let (units, which) = units(&all);
    let directory = directory("hip-host");
    let loaded = host::load(&units, target, &directory);
    let (mut wrong, mut plain, mut products, mut convolutions) = (Vec::new(), 0, 0, 0);
    for ((case, lowered), which) in cases.iter().zip(&all).zip(&which) {
        if is_plain(lowered) {
            plain += 1;
            wrong.extend(check(case, lowered, &loaded, &units, which, false).1);
            let libraries = lowered.kernels.iter().any(|kernel| library::call(kernel).is_some());
            if libraries {
                let (calls, differences) = check(case, lowered, &loaded, &units, which, true);
                (products, convolutions) = (products + calls[0], convolutions + calls[1]);
                wrong.extend(differences.into_iter().map(|text| format!("by a library: {text}")));
            }
        }
    }
    std::fs::remove_dir_all(&directory).unwrap();
    let (kernels, all) = (units.len(), cases.len());
    println!(
        "{kernels} kernels, {plain} of {all} cases run; by libraries {products} products, {convolutions} convolutions"
    );
    assert!(wrong.is_empty(), "{} failures:\n{}", wrong.len(), wrong.join("\n"));
    if std::env::var_os("SARDONYX_ONLY").is_some() {
        return;
    }
    assert!(
        plain * 10 >= cases.len() * 7,
        "only {plain} of {} cases have no steps of the runtime",
        cases.len()
    );
    assert!(products >= 16, "only {products} products that a library can compute");
    assert!(convolutions >= 12, "only {convolutions} convolutions that a library can compute");
}

/// Convolutions that are large enough for warpgroups, of images with their channels side by side.
const LARGE: &str = "graph(%x: f16[3,56,56,64], %w: f16[128,64,2,2], %v: f16[128], %y: f16[3,56,56,8], %u: f16[128,8,3,3], %t: f16[72,64,5,5], %s: f16[72], %z: f16[3,56,62,4], %r: f16[72,4,7,8]) {
  %turned = transpose(%x) {perm=[0, 3, 1, 2]}
  %0 = fused(%turned, %w, %v) : f16[3,128,57,57] body (%p0: f16[3,64,56,56], %p1: f16[128,64,2,2], %p2: f16[128]) {
    %1 = conv(%p0, %p1, %p2) {strides=[1, 1], pads=[1, 1, 1, 1], dilations=[1, 1]}
    %2 = relu(%1)
    return %2
  }
  %also = transpose(%y) {perm=[0, 3, 1, 2]}
  %1 = conv(%also, %u) {strides=[1, 1], pads=[1, 1, 1, 1], dilations=[1, 1]}
  %2 = fused(%turned, %t, %s) : f16[3,72,7,7] body (%p0: f16[3,64,56,56], %p1: f16[72,64,5,5], %p2: f16[72]) {
    %1 = conv(%p0, %p1, %p2) {strides=[8, 8], pads=[2, 2, 2, 2], dilations=[1, 1]}
    %2 = relu(%1)
    return %2
  }
  %runs = transpose(%z) {perm=[0, 3, 1, 2]}
  %3 = conv(%runs, %r, %s) {strides=[2, 2], pads=[3, 0, 3, 0], dilations=[1, 1]}
  return %0, %1, %2, %3
}";

#[test]
fn convolutions_of_warpgroups_equal_the_reference() {
    if !host::has_clang() {
        return;
    }
    let target = GpuSpec::named("cuda:sm_90").unwrap();
    let graph = sardonyx_ir::text::parse(LARGE).unwrap();
    let case = Case { name: "large".into(), graph, sizes: vec![Bindings::new()], tolerance: Some(0.02) };
    let all = [lowered(&case, target)];
    let (units, which) = units(&all);
    let wide = |unit: &&Unit| hip::text(unit, target).contains("#define WARPGROUPS");
    assert_eq!(units.iter().filter(wide).count(), 4);
    let shared = |unit: &&Unit| hip::text(unit, target).contains("#define CLUSTER 8\n");
    assert_eq!(units.iter().filter(shared).count(), 1);
    let directory = directory("hip-warpgroups");
    let loaded = host::load(&units, target, &directory);
    let (_, wrong) = check(&case, &all[0], &loaded, &units, &which[0], false);
    std::fs::remove_dir_all(&directory).unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Of a single image, too, channels stand side by side between convolutions.
#[test]
fn single_images_have_their_channels_side_by_side() {
    let text = "graph(%x: f16[1,64,14,14], %w: f16[64,64,1,1], %w2: f16[128,64,3,3]) {
  %0 = conv(%x, %w) {strides=[1, 1], pads=[0, 0, 0, 0], dilations=[1, 1]}
  %1 = conv(%0, %w2) {strides=[1, 1], pads=[1, 1, 1, 1], dilations=[1, 1]}
  return %1
}";
    let graph = sardonyx_ir::text::parse(text).unwrap();
    let case = Case { name: "single".into(), graph, sizes: vec![Bindings::new()], tolerance: None };
    let target = GpuSpec::named("cuda:sm_90").unwrap();
    let units = lowered(&case, target).units;
    let of = |channels: &str| {
        let text = format!("constexpr bool CHANNELS = {channels};\nconstexpr int X_VECTOR");
        units.iter().filter(|unit| hip::text(unit, target).contains(&text)).count()
    };
    assert_eq!((of("false"), of("true")), (1, 1));
}

/// Every kernel of the conformance graphs becomes a code object, for waves of 64 and of 32 lanes.
#[test]
fn kernels_compile_for_amd_gpus() {
    if !host::has_clang() {
        return;
    }
    for arch in ["gfx90a", "gfx1100"] {
        let target = GpuSpec::named(&format!("hip:{arch}")).unwrap();
        let all: Vec<Lowered> = cases::of_files("").iter().map(|case| lowered(case, target)).collect();
        let (units, _) = units(&all);
        let directory = directory(arch);
        let half = units.len().div_ceil(2);
        std::thread::scope(|scope| {
            for units in units.chunks(half) {
                let directory = &directory;
                scope.spawn(move || units.iter().for_each(|unit| compile(unit, target, directory)));
            }
        });
        std::fs::remove_dir_all(&directory).unwrap();
    }
}

/// Compiles a unit for an AMD GPU.
fn compile(unit: &Unit, target: &GpuSpec, directory: &Path) {
    let file = directory.join(format!("{}.hip", unit.name()));
    std::fs::write(&file, hip::text(unit, target)).unwrap();
    let mut clang = Command::new("clang-19");
    clang.args(["-x", "hip", "-std=c++17", "--offload-device-only", "-nogpuinc", "-nogpulib"]);
    clang.args(["-ffp-contract=off", "-O1", "--no-gpu-bundle-output", "-o"]);
    clang.arg(file.with_extension("hsaco")).arg(format!("--offload-arch={}", target.arch));
    let output = clang.arg(&file).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{} {}: {text}\n{unit}", target.arch, file.display());
}
