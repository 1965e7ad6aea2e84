//! Every kernel of every model that is here, for each GPU and compiler that is expected to take it: it compiles, keeps
//! its registers, and products and attention in half precision run on the matrix unit where there is one.
//!
//! The models are those of `models/small`, of `SARDONYX_MODELS` (else `models/cache`) and, if it is set, of the
//! folders in `SARDONYX_EXPORTS`. Code objects are kept in the build folder, so a kernel that did not change is not
//! compiled again.
#![allow(clippy::unwrap_used)]
use super::{has_compiler, root, tools};
use sardonyx::compile::{Options, optimize};
use sardonyx::onnx::{ImportOptions, import};
use sardonyx_codegen::compile::kernels;
use sardonyx_codegen::target::{GpuSpec, Matrix};
use sardonyx_codegen::toolchain;
use sardonyx_codegen::toolchain::cache::Cache;
use sardonyx_codegen::toolchain::gpu::{self, Tools, resources};
use sardonyx_ir::Graph;
use sardonyx_tensor::DType;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock};
use std::time::Instant;

fn models_in(folder: &Path, paths: &mut BTreeSet<PathBuf>) {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            models_in(&path, paths);
        } else if path.extension().is_some_and(|e| e == "onnx") {
            paths.insert(path);
        }
    }
}

/// The graphs of all models as they are, and of `models/small` in half precision.
fn graphs() -> &'static [(String, Graph)] {
    static GRAPHS: OnceLock<Vec<(String, Graph)>> = OnceLock::new();
    GRAPHS.get_or_init(|| {
        let mut paths = BTreeSet::new();
        models_in(&root().join("models/small"), &mut paths);
        let small = paths.clone();
        let public = std::env::var_os("SARDONYX_MODELS").map_or(root().join("models/cache"), PathBuf::from);
        models_in(&public, &mut paths);
        if let Some(folder) = std::env::var_os("SARDONYX_EXPORTS") {
            models_in(Path::new(&folder), &mut paths);
        }
        let graph = |path: &PathBuf, dtype: Option<DType>| {
            let name = format!("{} {}", path.display(), dtype.map_or("", |d| d.name()));
            let model = import(path, &ImportOptions::default()).unwrap_or_else(|e| panic!("{name}: {e}"));
            (name, optimize(&model, &Options { dtype, ..Options::default() }, None).graph)
        };
        let halves = small.iter().map(|path| graph(path, Some(DType::F16)));
        paths.iter().map(|path| graph(path, None)).chain(halves).collect()
    })
}

/// The distinct kernels of all models for a GPU, as texts under one name.
fn texts(spec: &GpuSpec) -> Vec<String> {
    let target = format!("{}:{}", spec.platform.name(), spec.arch);
    let mut all = BTreeSet::new();
    for (name, graph) in graphs() {
        for kernel in kernels(graph, &target).unwrap_or_else(|error| panic!("{name}: {error}")) {
            let (head, rest) =
                kernel.source.split_once("#define KERNEL_NAME ").expect("a text should name its kernel");
            let (_, rest) = rest.split_once('\n').unwrap();
            all.insert(format!("{head}#define KERNEL_NAME kernel\n{rest}"));
        }
    }
    all.into_iter().collect()
}

/// Whether a kernel is a product, convolution or attention of 16-bit floats by a template that multiplies tiles.
fn takes_the_matrix_unit(text: &str) -> bool {
    // What the compiler fills in stands before what makes the template valid alone.
    let filled_in = |name: &str| text.split_once(&format!("#ifndef {name}_PARAMETERS")).map(|(head, _)| head);
    let half = |head: &str| head.contains("typedef F16 Element;") || head.contains("typedef Bf16 Element;");
    let tiled = ["GEMM", "CONV"]
        .iter()
        .filter_map(|name| filled_in(name))
        .any(|head| head.contains(" BLOCK_M ") && half(head));
    tiled || filled_in("ATTENTION").is_some_and(half)
}

fn uses_the_matrix_unit(object: &[u8]) -> bool {
    let file = std::env::temp_dir().join(format!("sardonyx-sweep-{}.hsaco", std::process::id()));
    std::fs::write(&file, object).unwrap();
    let output = Command::new("llvm-objdump-19").arg("-d").arg(&file).output().expect("llvm-objdump-19");
    std::fs::remove_file(&file).unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    text.contains("v_mfma") || text.contains("v_wmma")
}

/// Compiles all kernels for a GPU, by hiprtc or by clang, and looks at each code object.
fn sweep(arch: &str, clang: bool) {
    // One at a time: each takes all cores.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let spec = GpuSpec::named(&format!("hip:{arch}")).unwrap();
    if !has_compiler(spec) {
        return;
    }
    let texts = texts(spec);
    let (tools, cache) =
        (Tools { clang, ..tools() }, Cache::new(Path::new(env!("CARGO_TARGET_TMPDIR")).join("sweep")));
    let options =
        toolchain::Options { tools: Some(&tools), cache: Some(&cache), ..toolchain::Options::default() };
    println!("{arch}: {} kernels of {} graphs", texts.len(), graphs().len());
    let start = Instant::now();
    let objects = gpu::code(&texts, spec, &options).unwrap_or_else(|error| panic!("{error}"));
    let seconds = start.elapsed().as_secs_f64();
    let (mut wrong, mut largest, mut scalar, mut units) = (Vec::new(), 0, 0, 0);
    for (k, (object, _)) in objects.iter().enumerate() {
        let found = resources::of_object(object).unwrap().pop().expect("a kernel should be in a code object");
        largest = largest.max(found.vgprs);
        scalar += usize::from(found.sgpr_spills > 0);
        let file = || {
            let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("sweep-{arch}-{clang}-{k}.hip"));
            std::fs::write(&path, &texts[k]).unwrap();
            path.display().to_string()
        };
        if found.vgpr_spills > 0 || found.private > 0 {
            wrong.push(format!("{found}: {}", file()));
        }
        if spec.matrix != Matrix::None && takes_the_matrix_unit(&texts[k]) {
            units += 1;
            if !uses_the_matrix_unit(object) {
                wrong.push(format!("no matrix instruction: {}", file()));
            }
        }
    }
    let cached = objects.iter().filter(|(_, cached)| *cached).count();
    let by = if clang { "clang" } else { "hiprtc" };
    println!(
        "{arch} by {by}: {} kernels of {} graphs in {seconds:.0} s ({cached} from the cache); {units} on the \
         matrix unit, at most {largest} vector registers, {scalar} kernels spill scalar ones, {} wrong",
        texts.len(),
        graphs().len(),
        wrong.len(),
    );
    assert!(wrong.is_empty(), "{arch} by {by}:\n{}", wrong.join("\n"));
}

macro_rules! sweeps { ($($name:ident: $arch:literal clang $clang:literal;)*) => { $(
    #[test]
    #[ignore = "takes many minutes: all models for a GPU"]
    fn $name() {
        sweep($arch, $clang);
    }
)* } }

sweeps! {
    gfx90a_by_hiprtc: "gfx90a" clang false;
    gfx1030_by_hiprtc: "gfx1030" clang false;
    gfx908_by_clang: "gfx908" clang true;
    gfx90a_by_clang: "gfx90a" clang true;
    gfx942_by_clang: "gfx942" clang true;
    gfx1030_by_clang: "gfx1030" clang true;
    gfx1100_by_clang: "gfx1100" clang true;
    gfx1151_by_clang: "gfx1151" clang true;
    gfx1201_by_clang: "gfx1201" clang true;
}
