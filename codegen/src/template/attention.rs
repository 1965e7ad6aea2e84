//! Attention on matrix units: `codegen/templates/attention.hip`.
use super::text::{Dims, element, parameters};
use crate::kernel::attention::Attention;
use crate::kernel::contract::Access;
use crate::target::{GpuSpec, Platform};
use crate::unit::Template;
use sardonyx_tensor::{DType, Dim};
use std::fmt::Write;

/// The device headers of attention.
pub(super) const VECTOR_HEADERS: &str = concat!(
    include_str!("../../device/matrix.hpp"),
    include_str!("../../device/stage.hpp"),
    include_str!("../../device/softmax.hpp")
);
const TEXT: &str = include_str!("../../templates/attention.hip");

/// Elements of a head from which on registers do not hold the sums.
const MOST: i64 = 256;

/// Queries where only the run knows how many, when a shape is chosen.
const USUAL_QUERIES: i64 = 512;

/// Waves of a compute unit that hide each other's waiting.
const BUSY_WAVES: i64 = 12;

/// Keys where only the run knows how many.
const USUAL_KEYS: i64 = 512;

/// How a block shares its work.
struct Shape {
    /// Rows of 16 queries of a wave.
    rows: i64,
    waves: i64,
    /// How many waves take turns along the keys.
    turns: i64,
    /// Keys that a wave takes at once.
    keys: i64,
    stages: i64,
}

impl Shape {
    /// The shape that was fastest where it was measured (H100), made smaller until it fits.
    fn choose(a: &Attention, gpu: &GpuSpec) -> Shape {
        let (wide, narrow) = (a.head.max(a.value) > 128, a.head.max(a.value) <= 64);
        let cuda = gpu.platform == Platform::Cuda;
        let queries = a.queries.known().unwrap_or(USUAL_QUERIES);
        let heads = a.heads.known().unwrap_or(1).saturating_mul(a.batch.known().unwrap_or(1));
        let blocks = |rows: i64, waves: i64| heads.saturating_mul((queries - 1) / (16 * rows * waves) + 1);
        let units = i64::from(gpu.units);
        let most = if wide { 2 } else { 4 };
        let tall =
            cuda && !wide && a.causal.is_none() && a.q.dtype != DType::F32 && blocks(2, most) >= 4 * units;
        let rows = if tall { 2 } else { 1 };
        // Fewer queries to a block where the GPU would be idle.
        let waves = [4, 2].into_iter().find(|&w| w <= most && blocks(rows, w) >= units).unwrap_or(1);
        let keys = match () {
            () if cuda && (narrow || !(wide || tall)) => 64,
            () if cuda || !wide => 32,
            () => 16,
        };
        // So many waves keep the GPU busy; each should have some blocks of keys.
        let all = a.keys.known().unwrap_or(USUAL_KEYS);
        let spare = |t: i64| blocks(rows, waves) * waves * t <= units * BUSY_WAVES && all >= 32 * t;
        let turns = [8, 4, 2].into_iter().find(|&t| waves * t <= 8 && spare(t)).unwrap_or(1);
        let keys = if all < keys * turns { keys.min(32) } else { keys };
        let mut shape = Shape { rows, waves, turns, keys, stages: if cuda { 2 } else { 1 } };
        while shape.bytes(a) > i64::from(gpu.shared_bytes)
            && (shape.turns > 1 || shape.keys > 16 || shape.waves > 1)
        {
            if shape.keys > 16 {
                shape.keys /= 2;
            } else if shape.turns > 1 {
                shape.turns /= 2;
            } else {
                shape.waves /= 2;
            }
        }
        shape
    }

    /// Bytes of shared memory at most.
    fn bytes(&self, a: &Attention) -> i64 {
        let size = a.q.dtype.size() as i64;
        let line = |length: i64| (length + 15) / 16 * 16 + 16 / size;
        let queries = self.waves * self.rows * 16;
        let stages = self.stages * self.turns * self.keys * (line(a.head) + line(a.value));
        let rooms = self.turns * queries * (self.keys + 8);
        // A wave has 16 queries; two numbers of each are with every lane that shares them.
        let known = (self.turns - 1) * queries * ((a.value + 15) / 16 * 16 + 2 * 16) * 4;
        (size * (queries * line(a.head) + stages + rooms)).max(known)
    }
}

/// Elements of a row that one load moves: rows begin at multiples of it. `None` if they do not lie side by side.
pub(super) fn vector(access: &Access, elements: i64) -> Option<i64> {
    let (last, outer) = access.strides.split_last()?;
    let widest = 16 / access.dtype.size() as i64;
    let whole = |v: i64| {
        elements % v == 0
            && outer.iter().chain([&access.offset]).all(|d| d.exact_div(&Dim::from(v)).is_some())
    };
    (*last == Dim::ONE).then(|| [8, 4, 2].into_iter().find(|&v| v <= widest && whole(v)).unwrap_or(1))
}

/// The template for attention; `None` for types, layouts and GPUs that it does not serve.
pub(super) fn template(a: &Attention, name: &str, gpu: &GpuSpec) -> Option<Template> {
    let ty = element(a.q.dtype)?;
    let alike = [&a.k, &a.v].iter().all(|x| x.dtype == a.q.dtype);
    let shape = Shape::choose(a, gpu);
    if !alike || a.head.max(a.value) > MOST || shape.bytes(a) > i64::from(gpu.shared_bytes) {
        return None;
    }
    let mut dims = Dims::default();
    let mut text = constants(a, &shape, &mut dims)?;
    let _ = writeln!(text, "typedef {ty} Element;");
    text += &places(a, &mut dims)?;
    let inputs: Vec<&Access> = [&a.q, &a.k, &a.v].into_iter().chain(&a.mask).collect();
    let params = parameters(&inputs, &a.out)?;
    let declared = params.iter().enumerate().map(|(i, p)| format!("{p}p{i}"));
    let declared: Vec<String> = declared.chain((0..dims.0.len()).map(|i| format!("i64_t d{i}"))).collect();
    let _ = writeln!(text, "#define ATTENTION_PARAMETERS {}", declared.join(", "));
    Some(Template {
        name: name.into(),
        source: [VECTOR_HEADERS, &text, TEXT].concat(),
        params: params.len(),
        dims: dims.0,
        grid: a.queries.ceil_div(shape.waves * shape.rows * 16) * &a.batch * &a.heads,
        threads: u32::try_from(shape.waves * shape.turns).ok()? * gpu.wave,
        shared: match gpu.platform {
            Platform::Hip => 0,
            Platform::Cuda => u32::try_from(shape.bytes(a)).ok()?,
        },
        scratch: Dim::ZERO,
    })
}

/// What the text says of sizes and limits.
pub(super) fn sizes(a: &Attention, dims: &mut Dims) -> String {
    let mut text = String::new();
    let sizes = [
        ("BATCH", &a.batch),
        ("HEADS", &a.heads),
        ("QUERIES", &a.queries),
        ("KEYS_TOTAL", &a.keys),
        ("Q_PITCH", &a.q.strides[2]),
        ("K_PITCH", &a.k.strides[2]),
        ("V_PITCH", &a.v.strides[2]),
    ];
    let sizes: Vec<String> = sizes.iter().map(|(name, d)| format!("{name} = {}", dims.print(d))).collect();
    let _ = writeln!(text, "#define ATTENTION_SIZES const i64_t {}", sizes.join(", "));
    let (group, head, value) = (a.group, a.head, a.value);
    let _ = writeln!(text, "constexpr int GROUP = {group}, HEAD = {head}, VALUE = {value};");
    let cap = a.softcap.unwrap_or(0.0);
    let _ = writeln!(text, "constexpr float SCALE = (float){:e}, CAP = (float){cap:e};", a.scale);
    let offset = a.causal.as_ref().map_or_else(|| "0".into(), |d| dims.print(d));
    let _ = writeln!(text, "constexpr bool CAUSAL = {};", a.causal.is_some());
    let _ = writeln!(text, "#define ATTENTION_OFFSET {offset}");
    text
}

/// The same, how rows are loaded and how a block shares its work.
fn constants(a: &Attention, shape: &Shape, dims: &mut Dims) -> Option<String> {
    let mut text = sizes(a, dims);
    let (head, value) = (a.head, a.value);
    for (operand, access, elements) in [("Q", &a.q, head), ("K", &a.k, head), ("V", &a.v, value)] {
        let _ = writeln!(text, "constexpr int {operand}_VECTOR = {};", vector(access, elements)?);
    }
    let Shape { rows, waves, turns, keys, stages } = shape;
    let _ = writeln!(
        text,
        "constexpr int ROWS = {rows}, WAVES = {waves}, TURNS = {turns}, KEYS = {keys}, STAGES = {stages};"
    );
    Some(text)
}

/// Where the text finds and puts elements.
pub(super) fn places(a: &Attention, dims: &mut Dims) -> Option<String> {
    let mut text = String::new();
    let names = |list: &[&str]| list.iter().map(|n| format!("({n})")).collect::<Vec<_>>();
    for (operand, access) in [("Q", &a.q), ("K", &a.k), ("V", &a.v)] {
        let place = dims.place(access, &names(&["b", "h"]));
        let _ = writeln!(text, "#define ATTENTION_{operand}(b, h) (p{} + {place})", access.arg);
    }
    let place = dims.place(&a.out, &names(&["b", "h", "i", "e"]));
    let (ty, arg) = (element(a.out.dtype)?, a.out.arg);
    let _ = writeln!(text, "#define ATTENTION_STORE(b, h, i, e, value) narrow(value, p{arg}[{place}])");
    let _ = writeln!(
        text,
        "#define ATTENTION_PAIR(b, h, i, e, x, y) do {{ Elements<{ty}, 2> pair; narrow(x, pair.at[0]); \
         narrow(y, pair.at[1]); *(Elements<{ty}, 2>*)(p{arg} + {place}) = pair; }} while (0)"
    );
    if let Some(mask) = &a.mask {
        let of = format!("p{}[{}]", mask.arg, dims.place(mask, &names(&["b", "h", "i", "n"])));
        let addend = match mask.dtype {
            DType::Bool => format!("({of} ? 0.0f : minus_infinity())"),
            _ => format!("widen({of})"),
        };
        let _ = writeln!(text, "#define ATTENTION_MASK(b, h, i, n) {addend}");
    }
    Some(text)
}
