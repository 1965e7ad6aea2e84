//! Attention on warpgroups: `codegen/templates/attention_warpgroup.hip`.
use super::attention::{VECTOR_HEADERS, places, sizes, vector};
use super::text::{Dims, element, parameters};
use crate::kernel::attention::Attention;
use crate::kernel::contract::Access;
use crate::target::{GpuSpec, Matrix};
use crate::unit::Template;
use sardonyx_tensor::{DType, Dim};
use std::fmt::Write;

const HEADERS: &str = concat!(
    include_str!("../../device/product.hpp"),
    include_str!("../../device/warpgroup.hpp"),
    include_str!("../../device/flash.hpp")
);
const TEXT: &str = include_str!("../../templates/attention_warpgroup.hip");

/// Queries of a warpgroup.
const ROWS: i64 = 64;
/// Queries where only the run knows how many, when a shape is chosen.
const USUAL_QUERIES: i64 = 512;

/// How a block shares its work.
struct Shape {
    /// Warpgroups.
    groups: i64,
    /// Keys that they take at once.
    keys: i64,
}

impl Shape {
    /// The shape that was fastest where it was measured (H100); `None` where waves with few queries each are.
    fn choose(a: &Attention, gpu: &GpuSpec) -> Option<Shape> {
        let queries = a.queries.known().unwrap_or(USUAL_QUERIES);
        let heads = a.heads.known().unwrap_or(1).saturating_mul(a.batch.known().unwrap_or(1));
        let blocks = |groups: i64| heads.saturating_mul((queries - 1) / (groups * ROWS) + 1);
        let units = i64::from(gpu.units);
        if blocks(1) < units {
            return None;
        }
        let wide = a.head.max(a.value) > 64;
        let (groups, keys) = match () {
            () if wide && blocks(2) >= units => (2, 128),
            () if !wide && a.causal.is_none() && blocks(2) >= 2 * units => (2, 64),
            () => (1, 64),
        };
        Some(Shape { groups, keys })
    }

    /// Bytes of shared memory.
    fn bytes(&self, a: &Attention) -> i64 {
        2 * (self.groups * ROWS * a.head + 2 * self.keys * (a.head + a.value))
    }
}

/// The template for attention without masks and soft caps of heads of 64 or 128 elements; `None` for others.
pub(super) fn template(a: &Attention, name: &str, gpu: &GpuSpec) -> Option<Template> {
    let served = gpu.matrix == Matrix::Wgmma
        && matches!(a.q.dtype, DType::F16 | DType::BF16)
        && [&a.k, &a.v].iter().all(|x| x.dtype == a.q.dtype)
        && [a.head, a.value].iter().all(|n| [64, 128].contains(n))
        && a.mask.is_none()
        && a.softcap.is_none()
        && a.scale > 0.0
        && [(&a.q, a.head), (&a.k, a.head), (&a.v, a.value)].iter().all(|(x, n)| vector(x, *n) == Some(8));
    let shape = Shape::choose(a, gpu).filter(|_| served && in_pairs(&a.out))?;
    let bytes = u32::try_from(shape.bytes(a)).ok().filter(|bytes| *bytes <= gpu.shared_bytes)?;
    let mut dims = Dims::default();
    let mut text = sizes(a, &mut dims);
    let Shape { groups, keys } = shape;
    let _ = writeln!(text, "constexpr int GROUPS = {groups}, KEYS = {keys};");
    let _ = writeln!(text, "typedef {} Element;", element(a.q.dtype)?);
    text += &places(a, &mut dims)?;
    let inputs: Vec<&Access> = vec![&a.q, &a.k, &a.v];
    let params = parameters(&inputs, &a.out)?;
    let declared = params.iter().enumerate().map(|(i, p)| format!("{p}p{i}"));
    let declared: Vec<String> = declared.chain((0..dims.0.len()).map(|i| format!("i64_t d{i}"))).collect();
    let _ = writeln!(text, "#define ATTENTION_PARAMETERS {}", declared.join(", "));
    Some(Template {
        name: name.into(),
        source: [VECTOR_HEADERS, HEADERS, &text, TEXT].concat(),
        params: params.len(),
        dims: dims.0,
        grid: a.queries.ceil_div(groups * ROWS) * &a.batch * &a.heads,
        threads: u32::try_from(groups * 128).ok()?,
        shared: bytes,
        scratch: Dim::ZERO,
    })
}

/// Whether two neighbouring results can be stored at once.
fn in_pairs(out: &Access) -> bool {
    let Some((last, outer)) = out.strides.split_last() else { return false };
    let even = |d: &Dim| d.exact_div(&Dim::from(2)).is_some();
    *last == Dim::ONE && outer.iter().chain([&out.offset]).all(even)
}
