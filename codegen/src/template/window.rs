//! Pooling and depthwise convolution: `codegen/templates/window.hip`, and the geometry of windows.
use super::text::{Dims, Packets, Store, element, parameters, signature};
use crate::kernel::contract::{Access, Conv, Epilogue};
use crate::kernel::window::{Window, WindowOp};
use crate::target::GpuSpec;
use crate::unit::Template;
use sardonyx_tensor::Dim;
use std::fmt::Write;

const HEADERS: &str = concat!(
    include_str!("../../device/matrix.hpp"),
    include_str!("../../device/stage.hpp"),
    include_str!("../../device/product.hpp"),
    include_str!("../../device/window.hpp")
);
const TEXT: &str = include_str!("../../templates/window.hip");

/// Threads of a block.
const THREADS: u32 = 256;

/// Where windows lie, in three dimensions: the first ones are 1 where there are fewer.
pub(super) struct Geometry {
    images: Dim,
    input: [Dim; 3],
    /// Sizes of the output.
    pub output: [Dim; 3],
    kernel: [i64; 3],
    strides: [i64; 3],
    pads: [i64; 3],
    dilations: [i64; 3],
    transposed: bool,
}

/// Three of something, the first ones as given where there are fewer.
fn three<T: Clone>(list: &[T], first: T) -> Option<[T; 3]> {
    let missing = 3_usize.checked_sub(list.len())?;
    let all: Vec<T> = std::iter::repeat_n(first, missing).chain(list.iter().cloned()).collect();
    all.try_into().ok()
}

impl Geometry {
    /// That of a convolution; `None` beyond three dimensions.
    pub fn of_conv(conv: &Conv) -> Option<Geometry> {
        Some(Geometry {
            images: conv.batch.clone(),
            input: three(&conv.input, Dim::ONE)?,
            output: three(&conv.output, Dim::ONE)?,
            kernel: three(&conv.kernel, 1)?,
            strides: three(&conv.strides, 1)?,
            pads: three(&conv.pads, 0)?,
            dilations: three(&conv.dilations, 1)?,
            transposed: conv.transposed,
        })
        .filter(Geometry::is_small)
    }

    fn of_window(window: &Window) -> Option<Geometry> {
        Some(Geometry {
            images: window.batch.clone(),
            input: three(&window.input, Dim::ONE)?,
            output: three(&window.output, Dim::ONE)?,
            kernel: three(&window.kernel, 1)?,
            strides: three(&window.strides, 1)?,
            pads: three(&window.pads, 0)?,
            dilations: three(&window.dilations, 1)?,
            transposed: false,
        })
        .filter(Geometry::is_small)
    }

    /// Whether places are sure to be numbers of 32 bits.
    fn is_small(&self) -> bool {
        let all = [self.kernel, self.strides, self.pads, self.dilations];
        all.iter().flatten().all(|x| x.abs() <= 64)
    }

    /// What the text says of it.
    pub fn constants(&self) -> String {
        let mut text = String::new();
        let rows = [("K", self.kernel), ("S", self.strides), ("P", self.pads), ("D", self.dilations)];
        for (name, [d, h, w]) in rows {
            let _ = writeln!(text, "constexpr int {name}D = {d}, {name}H = {h}, {name}W = {w};");
        }
        let _ = writeln!(text, "constexpr bool TRANSPOSED = {};", self.transposed);
        text
    }

    /// The sizes and the strides of the input, as the text's `Field`.
    pub fn field(&self, x: &Access, dims: &mut Dims) -> String {
        let zeros = std::iter::repeat_n(Dim::ZERO, 5 - x.strides.len());
        let strides: Vec<Dim> =
            x.strides[..2].iter().cloned().chain(zeros).chain(x.strides[2..].to_vec()).collect();
        let sizes = self.input.iter().chain(&self.output).map(|d| format!("(int){}", dims.print(d)));
        let sizes: Vec<String> = sizes.collect();
        let rest: Vec<String> = [&self.images].into_iter().chain(&strides).map(|d| dims.print(d)).collect();
        format!("{{{}, {}}}", sizes.join(", "), rest.join(", "))
    }
}

/// Results over `n, channel, spatial..` that leave at once, and whether they are pixels beside each other rather than
/// channels; `columns` is the size of the last dimension, `channels` a number of which all channels are a multiple.
pub(super) fn packets(epilogue: &Epilogue, columns: &Dim, channels: &Dim) -> (i64, bool) {
    let turned = |a: &Access| {
        let mut strides = a.strides.clone();
        let channel = strides.remove(1);
        strides.push(channel);
        Access { strides, ..a.clone() }
    };
    let turned = Epilogue {
        accesses: epilogue.accesses.iter().map(turned).collect(),
        f: epilogue.f.clone(),
        out: turned(&epilogue.out),
    };
    let packets = Packets::of(&turned, columns, channels);
    (packets.count, packets.down)
}

/// The template for a reduction of windows; `None` for types that it does not serve.
pub(super) fn template(window: &Window, name: &str, _: &GpuSpec) -> Option<Template> {
    let ty = element(window.x.dtype)?;
    let geometry = Geometry::of_window(window)?;
    let mut dims = Dims::default();
    let mut text = geometry.constants();
    let (weights, multiplier) = match &window.op {
        WindowOp::Weighted { w, multiplier } => (Some(w), *multiplier),
        _ => (None, 1),
    };
    let weight = element(weights.map_or(window.x.dtype, |w| w.dtype))?;
    let _ = writeln!(text, "typedef {ty} Element;\ntypedef {weight} Weight;");
    let count = packet(window, weights, multiplier);
    let first = window.x.strides[1] == 1 && window.epilogue.out.strides[1] == 1;
    let _ = writeln!(text, "constexpr int PACKET = {count}, MULTIPLIER = {multiplier};");
    let _ = writeln!(text, "constexpr bool CHANNELS_FIRST = {first};");
    text += &operation(window);
    let _ = writeln!(text, "#define WINDOW_FIELD {}", geometry.field(&window.x, &mut dims));
    let channels = dims.print(&window.channels);
    let _ = writeln!(text, "#define CHANNELS {channels}");
    let _ = writeln!(text, "#define WINDOW_FIRST (p{} + {})", window.x.arg, dims.print(&window.x.offset));
    if let Some(w) = weights {
        let place = weight_place(w, window, &mut dims);
        let _ = writeln!(text, "#define WINDOW_WEIGHTS(c, t) (p{} + {place})", w.arg);
    }

    let spatial = ["d", "h", "w"].into_iter().skip(3 - window.kernel.len());
    let indices: Vec<String> = ["n", "c"].into_iter().chain(spatial).map(String::from).collect();
    let store = Store { epilogue: &window.epilogue, indices: &indices, axis: 1, count };
    let (function, statements) = store.print(&mut dims)?;
    let inputs: Vec<&Access> = window.epilogue.accesses.iter().chain([&window.x]).chain(weights).collect();
    let buffers = parameters(&inputs, &window.epilogue.out)?;
    text += &function;
    text += &signature("WINDOW", &buffers, &dims, "i64_t n, i64_t c, i64_t d, i64_t h, i64_t w", &statements);
    let packets = window.channels.floor_div(count) * Dim::product(&window.output) * &window.batch;
    Some(Template {
        name: name.into(),
        source: [HEADERS, &text, TEXT].concat(),
        params: buffers.len(),
        dims: dims.0,
        grid: packets.ceil_div(i64::from(THREADS)),
        threads: THREADS,
        shared: 0,
        scratch: Dim::ZERO,
    })
}

/// Where the weight of channel `c` at tap `t` stands.
fn weight_place(w: &Access, window: &Window, dims: &mut Dims) -> String {
    let [_, kh, kw] = three(&window.kernel, 1).unwrap_or([1, 1, 1]);
    let taps = [format!("((t) / {})", kh * kw), format!("((t) / {kw} % {kh})"), format!("((t) % {kw})")];
    let taps = taps.into_iter().skip(3 - window.kernel.len());
    let indices: Vec<String> = std::iter::once("(c)".to_string()).chain(taps).collect();
    dims.place(w, &indices)
}

/// Channels that a thread takes: those that stand side by side in everything that it touches.
fn packet(window: &Window, weights: Option<&Access>, multiplier: i64) -> i64 {
    let one_by_one = multiplier != 1 || window.epilogue.out.strides[1] != 1;
    let fits = |v: i64| {
        let even = |d: &Dim| d.exact_div(&Dim::from(v)).is_some();
        let beside = |a: &Access, channel: usize| {
            let mut others = a.strides.iter().enumerate().filter(|(k, _)| *k != channel).map(|(_, s)| s);
            a.strides[channel] == 1
                && others.all(even)
                && even(&a.offset)
                && v * i64::try_from(a.dtype.size()).unwrap_or(16) <= 16
        };
        beside(&window.x, 1) && even(&window.channels) && weights.is_none_or(|w| beside(w, 0))
    };
    let (most, _) = packets(&window.epilogue, window.output.last().unwrap_or(&Dim::ONE), &window.channels);
    if one_by_one { 1 } else { [8, 4, 2].into_iter().find(|&v| v <= most && fits(v)).unwrap_or(1) }
}

/// What a window's elements become.
fn operation(window: &Window) -> String {
    let (op, power, mean, padding) = match &window.op {
        WindowOp::Max => (0, 1, false, false),
        WindowOp::Mean { padding } => (1, 1, true, *padding),
        WindowOp::Norm { p } => (2, *p, false, false),
        WindowOp::Weighted { .. } => (3, 1, false, false),
    };
    let [d, h, w] = three(&window.pads_end, 0).unwrap_or([0; 3]);
    format!(
        "constexpr int OP = {op}, POWER = {power};\nconstexpr bool MEAN = {mean}, PADDING = {padding};\n\
         constexpr int ED = {d}, EH = {h}, EW = {w};\n"
    )
}
