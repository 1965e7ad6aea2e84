//! Convolutions as matrix products of gathered neighbourhoods: `codegen/templates/conv.hip`.
use super::gemm::HEADERS;
use super::text::{Dims, Store, element, parameters, signature};
use super::tile::{Product, Tile};
use super::window::{Geometry, packets};
use crate::kernel::contract::{Access, Conv, Operand};
use crate::target::{GpuSpec, Platform};
use crate::unit::Template;
use sardonyx_tensor::Dim;
use std::fmt::Write;

const TEXT: &str = concat!(include_str!("../../device/window.hpp"), include_str!("../../templates/conv.hip"));

/// The widest power of two of at most `most` elements that divides all of these.
fn vector<'a>(most: i64, dims: impl Iterator<Item = &'a Dim> + Clone) -> i64 {
    let whole = |v: &i64| dims.clone().all(|d| d.exact_div(&Dim::from(*v)).is_some());
    [8, 4, 2].into_iter().filter(|&v| v <= most).find(whole).unwrap_or(1)
}

/// The template for a convolution whose weights stand as `[group, channel, taps.., input channel]`; `None` for
/// types and layouts that it does not serve.
pub(super) fn template(conv: &Conv, name: &str, gpu: &GpuSpec) -> Option<Template> {
    let conv = &conv.by_runs();
    let Operand::Strided(w) = &conv.w else { return None };
    let ty = element(conv.x.dtype).filter(|_| conv.x.dtype == w.dtype)?;
    let depth = conv.in_channels * conv.kernel.iter().product::<i64>();
    let geometry = Geometry::of_conv(conv)?;
    if !stands_by_channels(conv, w) {
        return None;
    }
    let widest = 16 / i64::try_from(w.dtype.size()).ok()?;
    let channels = conv.x.strides[1] == 1 && (conv.in_channels > 1 || conv.groups > 1);
    // Where pixels begin.
    let starts: Vec<Dim> = (0..conv.x.strides.len()).filter(|k| *k != 1).map(|k| start(conv, k)).collect();
    let inner = Dim::from(conv.in_channels);
    let x_vector = match channels {
        true => vector(widest, starts.iter().chain([&conv.x.offset, &inner])),
        false => 1,
    };
    let w_vector = vector(widest, [&Dim::from(depth), &w.offset].into_iter());

    let pixels = Dim::product(&conv.output) * &conv.batch;
    let (batch, n) = ([Dim::from(conv.groups)], Dim::from(conv.out_channels));
    let product = Product { batch: &batch, m: &pixels, n: &n, k: &Dim::from(depth), dtype: w.dtype };
    let whole = channels && x_vector == 8 && w_vector == 8;
    let warpgroups = Tile::of_warpgroups(&product, gpu).filter(|_| whole);
    let tile = warpgroups.unwrap_or_else(|| Tile::choose(&product, gpu));
    let mut dims = Dims::default();
    let mut text = geometry.constants();
    let _ = writeln!(text, "typedef {ty} Element;\nconstexpr bool CHANNELS = {channels};");
    let _ = writeln!(text, "constexpr int X_VECTOR = {x_vector}, W_VECTOR = {w_vector};");
    let _ = writeln!(
        text,
        "constexpr int GROUPS = {}, IN = {}, OUT = {};",
        conv.groups, conv.in_channels, conv.out_channels
    );
    text += &tile.constants();
    text += &warpgroups.map_or_else(String::new, |tile| tile.warpgroups());
    let _ = writeln!(text, "#define CONV_FIELD {}", geometry.field(&conv.x, &mut dims));

    let (count, down) = packets(&conv.epilogue, conv.output.last()?, &n);
    let [od, oh, ow] = geometry.output.clone().map(|d| dims.print(&d));
    let spatial =
        [format!("(i / ({oh} * {ow}) % {od})"), format!("(i / {ow} % {oh})"), format!("(i % {ow})")];
    let image = format!("(i / ({od} * {oh} * {ow}))");
    let indices: Vec<String> = [image, format!("(z * {} + j)", conv.out_channels)]
        .into_iter()
        .chain(spatial.into_iter().skip(3 - conv.kernel.len()))
        .collect();
    let axis = if down { indices.len() - 1 } else { 1 };
    let store = Store { epilogue: &conv.epilogue, indices: &indices, axis, count };
    let (function, statements) = store.print(&mut dims)?;
    text += &store.ahead("CONV", &mut dims, "z, i, j");
    let _ = writeln!(text, "constexpr int PACKET = {count};\nconstexpr bool DOWN = {down};\n{function}");
    let inputs: Vec<&Access> = conv.epilogue.accesses.iter().chain([&conv.x, w]).collect();
    let buffers = parameters(&inputs, &conv.epilogue.out)?;
    for (operand, access) in [("FIRST", &conv.x), ("SECOND", w)] {
        let place = dims.print(&access.offset);
        let _ = writeln!(text, "#define CONV_{operand} (p{} + {place})", access.arg);
    }
    text += &signature("CONV", &buffers, &dims, "i64_t z, i64_t i, i64_t j", &statements);
    Some(Template {
        name: name.into(),
        source: [&tile.cluster(), HEADERS, &text, TEXT].concat(),
        params: buffers.len(),
        dims: dims.0,
        grid: pixels.ceil_div(tile.m) * n.ceil_div(tile.n) * conv.groups * tile.blocks,
        threads: tile.waves() * gpu.wave,
        shared: if gpu.platform == Platform::Cuda { tile.bytes(w.dtype) } else { 0 },
        scratch: Dim::ZERO,
    })
}

/// From the pixel that an output sees through a tap to the next along a dimension of `n, channel, spatial..`.
fn start(conv: &Conv, dimension: usize) -> Dim {
    let stride = &conv.x.strides[dimension];
    let whole = |k: usize| conv.kernel[k] == 1 && conv.pads[k] == 0 && !conv.transposed;
    match dimension.checked_sub(2).filter(|&k| whole(k)) {
        Some(k) => stride * conv.strides[k],
        None => stride.clone(),
    }
}

/// Whether weights stand as `[group, channel, taps.., input channel]`.
fn stands_by_channels(conv: &Conv, w: &Access) -> bool {
    let sizes = [&[conv.groups, conv.out_channels], &conv.kernel[..], &[conv.in_channels]].concat();
    let strides = [&w.strides[..2], &w.strides[3..], &w.strides[2..3]].concat();
    let mut expected = 1;
    sizes.iter().zip(&strides).rev().all(|(&size, stride)| {
        let regular = size == 1 || *stride == expected;
        expected *= size;
        regular
    })
}
