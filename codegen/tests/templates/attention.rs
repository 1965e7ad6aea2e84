//! Attention: as sums in f64 on the host, and as code of GPUs.
use super::{
    AMD, GpuSpec, assert_nothing_spills, compile, directory, matrix_instructions, nvrtc, run_on_host,
};
use sardonyx_codegen::emit::hip;
use sardonyx_codegen::kernel::Kernel;
use sardonyx_codegen::kernel::attention::Attention;
use sardonyx_codegen::kernel::contract::Access;
use sardonyx_codegen::target::{Matrix, Target};
use sardonyx_codegen::unit::{Template, Unit};
use sardonyx_tensor::{Bindings, DType, Dim};

#[derive(Clone, Copy)]
struct Case {
    /// Batch, query heads, heads per key head, queries, keys, size of keys and of values.
    sizes: [i64; 7],
    dtype: DType,
    mask: Option<DType>,
    causal: Option<i64>,
    softcap: Option<f64>,
    /// Whether the numbers of queries and keys are only known to the run.
    symbolic: bool,
}

const PLAIN: Case = Case {
    sizes: [1, 2, 1, 70, 130, 32, 32],
    dtype: DType::F16,
    mask: None,
    causal: None,
    softcap: None,
    symbolic: false,
};

impl Case {
    /// Over `[batch, sequence, head, element]` buffers and a mask over `[batch, head, query, key]`.
    fn attention(&self) -> Attention {
        let [b, h, group, q, k, head, value] = self.sizes;
        let size = |name: &str, n: i64| if self.symbolic { Dim::symbol(name) } else { n.into() };
        let (queries, keys) = (size("q", q), size("k", k));
        let access = |arg, sequence: &Dim, heads: i64, elements: i64| {
            let shape = [b.into(), sequence.clone(), heads.into(), elements.into()];
            let mut access = Access::row_major(arg, self.dtype, &shape);
            access.strides.swap(1, 2);
            access
        };
        let mask = self
            .mask
            .map(|dtype| Access::row_major(3, dtype, &[b.into(), h.into(), queries.clone(), keys.clone()]));
        Attention {
            batch: b.into(),
            heads: h.into(),
            group,
            head,
            value,
            scale: 1.0 / (head as f64).sqrt(),
            softcap: self.softcap,
            causal: self.causal.map(Dim::from),
            q: access(0, &queries, h, head),
            k: access(1, &keys, h / group, head),
            v: access(2, &keys, h / group, value),
            out: access(3 + usize::from(mask.is_some()), &queries, h, value),
            mask,
            queries,
            keys,
        }
    }

    fn template(&self, gpu: &GpuSpec) -> Template {
        match Kernel::Attention(self.attention()).unit("attention", &Target::Gpu(gpu.clone())) {
            Ok(Unit::Template(template)) => template,
            other => panic!("no template on {}: {other:?}", gpu.arch),
        }
    }

    /// A program that runs the template and compares it with sums in f64.
    fn program(&self, gpu: &GpuSpec) -> String {
        let template = self.template(gpu);
        let [b, h, group, q, k, head, value] = self.sizes;
        let bindings = Bindings::from([("q", q), ("k", k)]);
        let dims: String =
            template.dims.iter().map(|d| format!(", {}LL", d.eval(&bindings).unwrap())).collect();
        let element = match self.dtype {
            DType::BF16 => "Bf16",
            DType::F32 => "float",
            _ => "F16",
        };
        let mask = match self.mask {
            Some(DType::F32) => "float",
            Some(DType::F16 | DType::BF16) => element,
            _ => "unsigned char",
        };
        format!(
            "#include \"host.hpp\"\n{}\ntypedef {element} In;\ntypedef {mask} Mask;\n\
             const long BATCH_ = {b}, H_ = {h}, GROUP_ = {group}, Q_ = {q}, K_ = {k};\n\
             const long HEAD_ = {head}, VALUE_ = {value}, OFFSET_ = {};\n\
             const double SCALE_ = SCALE, CAP_ = CAP, TOLERANCE = {};\n\
             const bool CAUSAL_ = CAUSAL, MASKED = {};\n\
             #define MASK_ARGUMENT {}\n#define DIMS {dims}\n\
             const long BLOCKS = {};\nconst int THREADS_ = {};\n#include \"attention.hpp\"\n",
            hip::text(&Unit::Template(template.clone()), gpu),
            self.causal.unwrap_or(0),
            match self.dtype {
                DType::BF16 => "1e-2",
                DType::F32 => "1e-5",
                _ => "2e-3",
            },
            self.mask.is_some(),
            if self.mask.is_some() { ", mask_data" } else { "" },
            template.grid.eval(&bindings).unwrap(),
            template.threads,
        )
    }
}

#[test]
fn attention_on_the_host_is_right() {
    let cases = [
        ("plain", PLAIN),
        (
            "shared-heads",
            Case { sizes: [2, 4, 2, 20, 100, 20, 24], causal: Some(80), dtype: DType::BF16, ..PLAIN },
        ),
        (
            "odd",
            Case { sizes: [1, 2, 2, 40, 90, 33, 7], mask: Some(DType::Bool), softcap: Some(0.5), ..PLAIN },
        ),
        (
            "unseen-rows",
            Case { sizes: [1, 1, 1, 40, 90, 64, 48], mask: Some(DType::F32), causal: Some(-3), ..PLAIN },
        ),
        ("symbolic", Case { mask: Some(DType::F16), symbolic: true, ..PLAIN }),
        ("decoding", Case { sizes: [1, 2, 2, 1, 300, 64, 64], causal: Some(299), ..PLAIN }),
        ("floats", Case { dtype: DType::F32, mask: Some(DType::F32), causal: Some(60), ..PLAIN }),
        ("wide", Case { sizes: [1, 2, 1, 3, 50, 256, 160], causal: Some(47), ..PLAIN }),
    ];
    for (name, case) in &cases {
        for gpu in ["hip:gfx90a", "cuda:sm_80"] {
            run_on_host(&format!("attention-{name}"), &case.program(GpuSpec::named(gpu).unwrap()));
        }
    }
}

#[test]
fn attention_of_warpgroups_on_the_host_is_right() {
    // A GPU of few units gets blocks of two warpgroups, one of more units those of one.
    let of_units = |units| GpuSpec { units, ..GpuSpec::named("cuda:sm_90").unwrap().clone() };
    let large = Case { sizes: [1, 2, 2, 70, 150, 64, 64], ..PLAIN };
    let cases = [
        ("two", 1, Case { symbolic: true, ..large }),
        (
            "limit",
            1,
            Case { sizes: [1, 1, 1, 150, 300, 128, 64], causal: Some(150), dtype: DType::BF16, ..PLAIN },
        ),
        ("one", 4, Case { sizes: [1, 2, 1, 70, 70, 64, 128], causal: Some(-3), ..PLAIN }),
    ];
    for (name, units, case) in &cases {
        let gpu = of_units(*units);
        let text = case.template(&gpu).source;
        assert!(text.contains("constexpr int GROUPS = "), "{name}: not of warpgroups");
        run_on_host(&format!("attention-warpgroups-{name}"), &case.program(&gpu));
        let text = hip::text(&Unit::Template(case.template(&gpu)), &gpu);
        nvrtc().compile(&gpu, "attention", &text).unwrap();
    }
    let masked = Case { mask: Some(DType::F16), ..large };
    assert!(!masked.template(&of_units(1)).source.contains("constexpr int GROUPS = "));
}

#[test]
fn attention_uses_matrix_units_and_does_not_spill() {
    let directory = directory("attention");
    let usual = Case { sizes: [1, 12, 1, 512, 512, 64, 64], ..PLAIN };
    let large = Case { sizes: [1, 8, 4, 512, 512, 128, 128], dtype: DType::BF16, causal: Some(0), ..PLAIN };
    for case in [&usual, &large] {
        for arch in AMD {
            let gpu = GpuSpec::named(&format!("hip:{arch}")).unwrap();
            if gpu.matrix == Matrix::None {
                continue;
            }
            let text = hip::text(&Unit::Template(case.template(gpu)), gpu);
            let object = compile(&text, arch, &directory);
            assert!(matrix_instructions(&object) > 0, "{arch}");
            assert_nothing_spills(&object);
        }
        let gpu = GpuSpec::named("cuda:sm_90").unwrap();
        nvrtc().compile(gpu, "attention", &hip::text(&Unit::Template(case.template(gpu)), gpu)).unwrap();
    }
    std::fs::remove_dir_all(&directory).unwrap();
}
