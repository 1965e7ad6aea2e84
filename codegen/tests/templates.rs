//! Templates: their text compiles for every GPU that clang knows, with matrix instructions and without spills,
//! and computes on the host what the kernel says.
#![allow(clippy::unwrap_used)]
use sardonyx_codegen::emit::hip;
use sardonyx_codegen::kernel::Kernel;
use sardonyx_codegen::kernel::contract::{Access, Epilogue, Gemm, Operand};
use sardonyx_codegen::target::{GpuSpec, Matrix, Platform, Target};
use sardonyx_codegen::toolchain::gpu::Compiler;
use sardonyx_codegen::unit::{Template, Unit};
use sardonyx_ir::scalar::Scalar;
use sardonyx_tensor::{Bindings, DType, Dim};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};

#[path = "templates/attention.rs"]
mod attention;
#[path = "templates/conv.rs"]
mod conv;

/// GPUs that clang 19 compiles for, one for each form of the matrix unit and more of those in use.
const AMD: &[&str] = &["gfx908", "gfx90a", "gfx942", "gfx1030", "gfx1100", "gfx1151", "gfx1201"];

/// Whether the rows of a matrix or its columns stand side by side.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Layout {
    Rows,
    Columns,
}
use Layout::{Columns, Rows};

struct Case {
    batch: i64,
    m: i64,
    n: i64,
    k: i64,
    dtype: DType,
    out: DType,
    a: Layout,
    b: Layout,
    /// Whether the batches share the second operand.
    shared_b: bool,
    /// Whether the number of rows is only known to the run.
    symbolic: bool,
    /// Elements from a line to the next beyond its length.
    gap: i64,
}

const PLAIN: Case = Case {
    batch: 1,
    m: 64,
    n: 64,
    k: 64,
    dtype: DType::F16,
    out: DType::F16,
    a: Rows,
    b: Rows,
    shared_b: false,
    symbolic: false,
    gap: 0,
};

impl Case {
    fn strides(&self, layout: Layout, rows: i64, columns: i64) -> [i64; 3] {
        match layout {
            Rows => [rows * (columns + self.gap), columns + self.gap, 1],
            Columns => [columns * (rows + self.gap), 1, rows + self.gap],
        }
    }
    fn a_strides(&self) -> [i64; 3] {
        self.strides(self.a, self.m, self.k)
    }
    fn b_strides(&self) -> [i64; 3] {
        let [batch, row, column] = self.strides(self.b, self.k, self.n);
        [if self.shared_b { 0 } else { batch }, row, column]
    }
    fn out_strides(&self) -> [i64; 3] {
        self.strides(Rows, self.m, self.n)
    }

    /// `max(sum + bias, 0) - residual`, where the residual lies as the output does.
    fn kernel(&self) -> Kernel {
        let m = if self.symbolic { Dim::symbol("rows") } else { Dim::from(self.m) };
        let access = |arg, dtype, strides: [i64; 3], moves_with_m: bool| {
            let mut strides = strides.map(Dim::from).to_vec();
            if self.symbolic && moves_with_m {
                strides[0] = &m * &strides[1];
            }
            Access { arg, dtype, offset: Dim::ZERO, strides }
        };
        let out = access(4, self.out, self.out_strides(), true);
        let bias = Access { strides: [0, 0, 1].map(Dim::from).to_vec(), ..Access::scalar(2, self.dtype, 3) };
        let residual = Access { arg: 3, ..out.clone() };
        Kernel::Gemm(Gemm {
            batch: vec![Dim::from(self.batch)],
            m: m.clone(),
            n: Dim::from(self.n),
            k: Dim::from(self.k),
            a: Operand::Strided(access(0, self.dtype, self.a_strides(), true)),
            b: Operand::Strided(access(1, self.dtype, self.b_strides(), false)),
            epilogue: Epilogue {
                accesses: vec![bias, residual],
                f: Scalar::build(3, |_, x| (x[0] + x[1]).max(0.0) - x[2]),
                out,
            },
        })
    }

    fn template(&self, gpu: &str) -> Template {
        let gpu = GpuSpec::named(gpu).unwrap();
        match self.kernel().unit("gemm", &Target::Gpu(gpu.clone())) {
            Ok(Unit::Template(template)) => template,
            other => panic!("no template on {}: {other:?}", gpu.arch),
        }
    }

    /// A program that runs the template and compares it with sums in f64.
    fn program(&self, gpu: &GpuSpec, template: &Template) -> String {
        let element = |t| match t {
            DType::F16 => "F16",
            DType::BF16 => "Bf16",
            _ => "float",
        };
        let mut bindings = Bindings::new();
        if self.symbolic {
            bindings.set("rows", self.m);
        }
        let dims: String =
            template.dims.iter().map(|d| format!(", {}LL", d.eval(&bindings).unwrap())).collect();
        let list = |strides: [i64; 3]| strides.map(|s| s.to_string()).join(", ");
        format!(
            "#include \"host.hpp\"\n{}\n\
             typedef {} In;\ntypedef {} Out;\n\
             const long B_ = {}, M_ = {}, N_ = {}, K_ = {}, GAP = {};\n\
             const long AS[3] = {{{}}}, BS[3] = {{{}}}, OS[3] = {{{}}};\n\
             #define DIMS {dims}\nconst long BLOCKS = {};\nconst int THREADS_ = {};\n#include \"gemm.hpp\"\n",
            hip::text(&Unit::Template(template.clone()), gpu),
            element(self.dtype),
            element(self.out),
            self.batch,
            self.m,
            self.n,
            self.k,
            self.gap,
            list(self.a_strides()),
            list(self.b_strides()),
            list(self.out_strides()),
            template.grid.eval(&bindings).unwrap(),
            template.threads,
        )
    }
}

fn run(command: &mut Command) -> Output {
    let output = command.output().expect("clang-19 and its tools should be installed");
    assert!(
        output.status.success(),
        "{command:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

fn directory(name: &str) -> PathBuf {
    // Several tests may choose the same name.
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("sardonyx-templates-{name}-{}-{number}", std::process::id());
    let directory = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

fn on_host(name: &str, gpu: &str, case: &Case) {
    let template = case.template(gpu);
    run_on_host(name, &case.program(GpuSpec::named(gpu).unwrap(), &template));
}

/// Compiles a program with a check in it, and runs it.
fn run_on_host(name: &str, text: &str) {
    let directory = directory(name);
    let (source, program) = (directory.join("check.cpp"), directory.join("check"));
    std::fs::write(&source, text).unwrap();
    let harness = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/templates");
    run(Command::new("clang++-19")
        .args(["-std=c++17", "-O1", "-fno-strict-aliasing", "-mf16c", "-mfma", "-w", "-DSARDONYX_HOST", "-I"])
        .arg(harness)
        .arg("-o")
        .arg(&program)
        .arg(&source));
    run(&mut Command::new(&program));
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn products_on_the_host_are_right() {
    let cases = [
        ("edges", Case { m: 70, n: 90, k: 50, ..PLAIN }),
        ("odd", Case { batch: 2, m: 33, n: 17, k: 13, out: DType::F32, ..PLAIN }),
        (
            "columns",
            Case { batch: 2, m: 40, n: 72, k: 40, a: Columns, b: Columns, dtype: DType::BF16, ..PLAIN },
        ),
        ("shared", Case { batch: 3, m: 20, n: 48, k: 100, shared_b: true, gap: 8, ..PLAIN }),
        ("symbolic", Case { batch: 2, m: 100, n: 24, k: 36, symbolic: true, gap: 2, ..PLAIN }),
        ("floats", Case { m: 65, n: 68, k: 200, dtype: DType::F32, out: DType::F32, b: Columns, ..PLAIN }),
        ("vector", Case { m: 1, n: 96, k: 100, b: Columns, ..PLAIN }),
        ("vectors", Case { batch: 2, m: 3, n: 40, k: 72, gap: 8, ..PLAIN }),
        (
            "rows",
            Case { m: 7, n: 90, k: 65, dtype: DType::F32, out: DType::F32, a: Columns, b: Columns, ..PLAIN },
        ),
        ("long", Case { m: 40, n: 48, k: 2080, ..PLAIN }),
        ("one", Case { m: 1, n: 1, k: 1, out: DType::F32, ..PLAIN }),
        ("bands", Case { m: 600, n: 96, k: 16, out: DType::BF16, ..PLAIN }),
    ];
    for (name, case) in &cases {
        for gpu in ["hip:gfx90a", "cuda:sm_80"] {
            on_host(name, gpu, case);
        }
    }
}

/// Products that are large enough for warpgroups.
const LARGE: &[(&str, Case)] = &[
    ("tall", Case { batch: 66, m: 200, n: 184, k: 72, ..PLAIN }),
    ("small", Case { m: 70, n: 64, k: 72, b: Columns, ..PLAIN }),
    ("square", Case { batch: 33, m: 256, n: 256, k: 72, dtype: DType::BF16, a: Columns, ..PLAIN }),
    ("turned", Case { batch: 66, m: 136, n: 128, k: 200, out: DType::F32, b: Columns, ..PLAIN }),
    ("narrow", Case { batch: 22, m: 200, n: 200, k: 264, a: Columns, b: Columns, gap: 8, ..PLAIN }),
];

/// Products of long sums, which so many blocks share.
const SHARED: &[(&str, Case, i64)] = &[
    ("odd", Case { m: 33, n: 17, k: 1544, b: Columns, out: DType::F32, ..PLAIN }, 8),
    ("batches", Case { batch: 3, m: 72, n: 72, k: 1000, a: Columns, dtype: DType::BF16, gap: 8, ..PLAIN }, 4),
    ("open", Case { m: 70, n: 136, k: 440, symbolic: true, ..PLAIN }, 2),
];

#[test]
fn products_of_warpgroups_are_right_on_the_host() {
    for (name, case) in LARGE {
        assert!(case.template("cuda:sm_90").source.contains("multiply_tiles"), "{name}");
        on_host(name, "cuda:sm_90", case);
    }
    for (name, case, blocks) in SHARED {
        let expected = format!("#define CLUSTER {blocks}\n");
        assert!(case.template("cuda:sm_90").source.starts_with(&expected), "{name}");
        on_host(name, "cuda:sm_90", case);
    }
}

/// NVRTC, whose library `NVRTC_DYLIB_PATH` names.
fn nvrtc() -> Compiler {
    let library = std::env::var_os("NVRTC_DYLIB_PATH").expect("NVRTC_DYLIB_PATH should be set");
    Compiler::load(Platform::Cuda, Some(Path::new(&library))).unwrap()
}

#[test]
fn products_of_warpgroups_compile() {
    let (compiler, gpu) = (nvrtc(), GpuSpec::named("cuda:sm_90").unwrap());
    let shared = SHARED.iter().map(|(name, case, _)| (name, case));
    for (name, case) in LARGE.iter().map(|(name, case)| (name, case)).chain(shared) {
        let text = hip::text(&Unit::Template(case.template("cuda:sm_90")), gpu);
        compiler.compile(gpu, name, &text).unwrap();
    }
}

/// The code object for an AMD GPU.
fn compile(text: &str, arch: &str, directory: &Path) -> PathBuf {
    let (source, object) = (directory.join(format!("{arch}.hip")), directory.join(format!("{arch}.hsaco")));
    std::fs::write(&source, text).unwrap();
    run(Command::new("clang-19")
        .args(["-x", "hip", "-std=c++17", "-O3", "--offload-device-only", "-nogpuinc", "-nogpulib"])
        .args(["--no-gpu-bundle-output", &format!("--offload-arch={arch}"), "-o"])
        .arg(&object)
        .arg(&source));
    object
}

fn matrix_instructions(object: &Path) -> usize {
    let text = run(Command::new("llvm-objdump-19").arg("-d").arg(object)).stdout;
    let text = String::from_utf8(text).unwrap();
    text.lines().filter(|line| line.contains("v_mfma") || line.contains("v_wmma")).count()
}

fn assert_nothing_spills(object: &Path) {
    let notes = run(Command::new("llvm-readelf-19").arg("--notes").arg(object)).stdout;
    let notes = String::from_utf8(notes).unwrap();
    for count in ["vgpr_spill_count:", "sgpr_spill_count:", "private_segment_fixed_size:"] {
        let value = notes.split_once(count).unwrap().1.split_whitespace().next().unwrap();
        assert_eq!(value, "0", "{count} in {}", object.display());
    }
}

#[test]
fn products_use_matrix_units_and_do_not_spill() {
    let directory = directory("objects");
    for arch in AMD {
        let gpu = GpuSpec::named(&format!("hip:{arch}")).unwrap();
        for dtype in [DType::F16, DType::BF16, DType::F32] {
            for (m, a, b) in [(4096, Rows, Rows), (128, Columns, Columns)] {
                let case = Case { m, n: 4096, k: 1024, dtype, out: dtype, a, b, ..PLAIN };
                let text = hip::text(&Unit::Template(case.template(&format!("hip:{arch}"))), gpu);
                let object = compile(&text, arch, &directory);
                let expected = gpu.matrix != Matrix::None && dtype != DType::F32;
                assert_eq!(matrix_instructions(&object) > 0, expected, "{arch} {dtype} {m}");
                assert_nothing_spills(&object);
            }
        }
    }
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn the_text_is_valid_alone() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |files: &[&str]| -> String {
        files.iter().map(|file| std::fs::read_to_string(root.join(file)).unwrap()).collect()
    };
    let directory = directory("alone");
    let headers = ["device/matrix.hpp", "device/stage.hpp", "device/product.hpp"];
    let waves = read(&[&headers[..], &["templates/gemm.hip"]].concat());
    for arch in AMD {
        compile(&format!("#define SARDONYX_HIP 1\n#define KERNEL_NAME gemm\n{waves}"), arch, &directory);
    }
    let few = read(&[&headers[..], &["templates/gemv.hip"]].concat());
    let few = format!("#define SARDONYX_HIP 1\n#define KERNEL_NAME gemv\n{few}");
    AMD.iter().for_each(|arch| drop(compile(&few, arch, &directory)));
    for text in ["conv", "window"] {
        let file = format!("templates/{text}.hip");
        let prelude = ["device/prelude.hpp"];
        let text = read(&[&prelude, &headers[..], &["device/window.hpp", &file]].concat());
        let text =
            format!("#define SARDONYX_HIP 1\n#define SARDONYX_WAVE 64\n#define KERNEL_NAME kernel\n{text}");
        AMD.iter().for_each(|arch| drop(compile(&text, arch, &directory)));
    }
    let warpgroups = read(&[&headers[..], &["device/warpgroup.hpp", "templates/gemm.hip"]].concat());
    let flash = ["device/softmax.hpp", "device/warpgroup.hpp", "device/flash.hpp"];
    let attention = read(&[&headers[..], &flash, &["templates/attention_warpgroup.hip"]].concat());
    for text in [warpgroups, attention] {
        let text = format!("#define SARDONYX_CUDA 1\n#define KERNEL_NAME kernel\n{text}");
        nvrtc().compile(GpuSpec::named("cuda:sm_90").unwrap(), "alone", &text).unwrap();
    }
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn layouts_without_a_unit_stride_have_no_template() {
    let Kernel::Gemm(mut gemm) = PLAIN.kernel() else { panic!("a matrix product") };
    let Operand::Strided(a) = &mut gemm.a else { panic!("strided") };
    a.strides = [0, 256, 2].map(Dim::from).to_vec();
    let gpu = GpuSpec::named("hip:gfx942").unwrap();
    let unit = Kernel::Gemm(gemm).unit("gemm", &Target::Gpu(gpu.clone()));
    assert!(matches!(unit, Ok(Unit::Nest(_))));
}
