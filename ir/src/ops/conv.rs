//! Convolution and its transpose over any number of spatial dimensions, channels first.
use super::matmul::{accumulate, is_byte};
use super::values::{Number, fitting, known};
use super::{Definition, Infer, Op};
use crate::index::{strides, walk};
use crate::types::Type;
use sardonyx_tensor::{DType, Dim, Tensor};

/// Attributes that windows sliding over space have in common, one value per spatial dimension.
#[derive(Clone, Copy)]
pub(super) struct Sliding<'a> {
    pub kernel: &'a [i64],
    pub strides: &'a [i64],
    /// All begins, then all ends.
    pub pads: &'a [i64],
    pub dilations: &'a [i64],
}

impl Sliding<'_> {
    /// Fails unless there is one positive value for each spatial dimension (padding may be zero).
    pub fn check(&self, spatial: usize) -> Result<(), String> {
        let positive =
            |list: &[i64]| list.len() == spatial && list.iter().all(|&x| (1..1 << 31).contains(&x));
        let pads = self.pads.len() == 2 * spatial && self.pads.iter().all(|&x| (0..1 << 31).contains(&x));
        if positive(self.kernel) && positive(self.strides) && positive(self.dilations) && pads {
            return Ok(());
        }
        Err(format!("kernel, strides, dilations (positive) and pads (not negative) for {spatial} dimensions"))
    }

    /// The number of positions along a spatial dimension, and with `ceil` one more where the last window
    /// hangs over the end but starts in the input or in the padding before it.
    pub fn positions(&self, d: usize, n: &Dim, ceil: bool) -> Dim {
        let span = (self.kernel[d] - 1) * self.dilations[d] + 1;
        let (begin, end) = (self.pads[d], self.pads[self.kernel.len() + d]);
        let free = n + begin + end - span;
        let stride = Dim::from(self.strides[d]);
        if ceil {
            let started = (n + begin).ceil_div(&stride);
            (free.ceil_div(&stride) + 1).min(&started)
        } else {
            free.floor_div(&stride) + 1
        }
    }
}

/// `a` is given a bias that has one value per channel.
fn check_bias(cx: &mut Infer, channels: &Dim) -> Result<(), String> {
    let Some(bias) = cx.operands().get(2) else { return Ok(()) };
    if bias.rank() != 1 || bias.dtype != cx.operand(0).dtype {
        return Err(format!("{bias} is no bias of {channels} channels"));
    }
    cx.same(&bias.shape[0], channels).map_err(|e| format!("bias: {e}"))?;
    Ok(())
}

/// The taps of a weight tensor, which are known.
fn taps(w: &Type) -> Result<Vec<i64>, String> {
    let taps: Option<Vec<i64>> = w.shape[2..].iter().map(Dim::known).collect();
    taps.ok_or_else(|| format!("the kernel of {w} is not known"))
}

fn check_operands(cx: &Infer, group: i64) -> Result<(), String> {
    let (x, w) = (cx.operand(0), cx.operand(1));
    if x.rank() < 2 || x.rank() != w.rank() || x.dtype != w.dtype {
        return Err(format!("{} of one element type and rank", cx.listed()));
    }
    if group < 1 { Err(format!("{group} groups")) } else { Ok(()) }
}

/// The shape of the result of a convolution whose operands have one rank of 2 or more.
fn shape(
    cx: &mut Infer,
    strides: &[i64],
    pads: &[i64],
    dilations: &[i64],
    group: i64,
) -> Result<Vec<Dim>, String> {
    let (x, w) = (cx.operand(0), cx.operand(1));
    let kernel = taps(w)?;
    let sliding = Sliding { kernel: &kernel, strides, pads, dilations };
    sliding.check(x.rank() - 2)?;
    cx.same(&x.shape[1], &(&w.shape[1] * group))
        .map_err(|e| format!("{} in {group} groups: {e}", cx.listed()))?;
    if w.shape[0].known().is_some_and(|n| n % group != 0) {
        return Err(format!("{w} in {group} groups"));
    }
    let space = (0..kernel.len()).map(|d| sliding.positions(d, &x.shape[d + 2], false));
    Ok([x.shape[0].clone(), w.shape[0].clone()].into_iter().chain(space).collect())
}

pub(super) const CONV: Definition = Definition {
    infer: |op, cx| {
        attributes!(op, Conv { strides, pads, dilations, group });
        check_operands(cx, *group)?;
        let shape = shape(cx, strides, pads, dilations, *group)?;
        check_bias(cx, &cx.operand(1).shape[0])?;
        Ok(vec![cx.operand(0).with_shape(shape)])
    },
    eval: |op, x, types| {
        attributes!(op, Conv { strides, pads, dilations, group });
        let kernel: Vec<i64> = x[1].shape()[2..].iter().map(|&n| n as i64).collect();
        let sliding = Sliding { kernel: &kernel, strides, pads, dilations };
        let group = *group as usize;
        Ok(vec![by_number!(types[0].dtype, convolved(x, x.get(2), None, &types[0], sliding, group))?])
    },
};

pub(super) const INTEGER_CONV: Definition = Definition {
    infer: |op, cx| {
        attributes!(op, IntegerConv { strides, pads, dilations, group });
        let (x, w) = (cx.operand(0), cx.operand(1));
        if x.rank() < 2 || x.rank() != w.rank() || !is_byte(x.dtype) || !is_byte(w.dtype) {
            return Err(format!("{} of 8-bit integers and one rank", cx.listed()));
        }
        if *group < 1 {
            return Err(format!("{group} groups"));
        }
        if let Some(pad) = cx.operands().get(2).filter(|p| p.rank() != 0 || p.dtype != x.dtype) {
            return Err(format!("{pad} as what pads {x}"));
        }
        Ok(vec![Type { dtype: DType::I32, shape: shape(cx, strides, pads, dilations, *group)? }])
    },
    eval: |op, x, types| {
        attributes!(op, IntegerConv { strides, pads, dilations, group });
        let kernel: Vec<i64> = x[1].shape()[2..].iter().map(|&n| n as i64).collect();
        let sliding = Sliding { kernel: &kernel, strides, pads, dilations };
        Ok(vec![convolved::<i64>(x, None, x.get(2), &types[0], sliding, *group as usize)?])
    },
};

/// Convolution as a matrix product with the unfolded input: a batch, a group, a block of pixels at a time.
/// Padding has the value `pad`, or is zero.
fn convolved<T: Number>(
    x: &[Tensor],
    bias: Option<&Tensor>,
    pad: Option<&Tensor>,
    ty: &Type,
    sliding: Sliding,
    groups: usize,
) -> Result<Tensor, String> {
    let shape = known(ty);
    let (from, space) = (&x[0].shape()[2..], &shape[2..]);
    let (batch, out_channels, in_channels) = (shape[0], shape[1] / groups, x[0].shape()[1] / groups);
    let (pixels, inputs) = (space.iter().product::<usize>(), from.iter().product::<usize>());
    let taps = x[1].shape()[2..].iter().product::<usize>();
    let depth = in_channels * taps;
    let (xv, wv) = (T::read(&x[0]), T::read(&x[1]));
    let table = unfold_table(from, space, sliding)?;
    let mut out = biased::<T>(bias, &shape, pixels);
    let outside = pad.map_or(T::ZERO, |pad| T::read(pad)[0]);
    let block = (UNFOLDED / depth.max(1)).clamp(64, 4096);
    let (mut unfolded, mut product) = (Vec::new(), Vec::new());
    for (n, g) in (0..batch).flat_map(|n| (0..groups).map(move |g| (n, g))) {
        let planes = &xv[(n * groups + g) * in_channels * inputs..][..in_channels * inputs];
        let c = &mut out[(n * groups + g) * out_channels * pixels..][..out_channels * pixels];
        let w = &wv[g * out_channels * depth..][..out_channels * depth];
        for start in (0..pixels).step_by(block) {
            let width = block.min(pixels - start);
            unfolded.clear();
            for row in 0..depth {
                let plane = &planes[row / taps * inputs..][..inputs];
                let taken = &table[row % taps * pixels + start..][..width];
                unfolded.extend(taken.iter().map(|&i| plane.get(i).copied().unwrap_or(outside)));
            }
            product.clear();
            product.resize(out_channels * width, T::ZERO);
            accumulate(&mut product, w, &unfolded, depth, width);
            for (row, product) in product.chunks_exact(width).enumerate() {
                let to = &mut c[row * pixels + start..][..width];
                to.iter_mut().zip(product).for_each(|(c, &p)| *c = c.plus(p));
            }
        }
    }
    Ok(T::tensor(ty.dtype, shape, out))
}

/// Elements of the unfolded input that are made at a time: they should stay in a second-level cache.
const UNFOLDED: usize = 1 << 16;

/// For every tap and output pixel, the input pixel; past the end where that is padding.
fn unfold_table(from: &[usize], space: &[usize], sliding: Sliding) -> Result<Vec<usize>, String> {
    let kernel: Vec<usize> = sliding.kernel.iter().map(|&k| k as usize).collect();
    let from_strides = strides(from);
    let mut table = Vec::with_capacity(fitting(kernel.iter().chain(space))?);
    for tap in coordinates(&kernel) {
        for pixel in coordinates(space) {
            let source = (0..space.len()).try_fold(0, |sum, d| {
                let at = pixel[d] as i64 * sliding.strides[d] + tap[d] as i64 * sliding.dilations[d]
                    - sliding.pads[d];
                (0..from[d] as i64).contains(&at).then(|| sum + at as usize * from_strides[d])
            });
            table.push(source.unwrap_or(usize::MAX));
        }
    }
    Ok(table)
}

/// Every index of an array of this shape, in row-major order.
pub(super) fn coordinates(shape: &[usize]) -> impl Iterator<Item = Vec<usize>> + use<> {
    let steps = strides(shape);
    let shape = shape.to_vec();
    walk(&shape, &steps, 0).map(move |i| (0..shape.len()).map(|d| i / steps[d] % shape[d]).collect())
}

/// The result before any product: the bias of every channel, or zero.
fn biased<T: Number>(bias: Option<&Tensor>, shape: &[usize], pixels: usize) -> Vec<T> {
    let Some(bias) = bias else { return vec![T::ZERO; shape.iter().product()] };
    let bias = T::read(bias);
    (0..shape[0]).flat_map(|_| &bias).flat_map(|&b| std::iter::repeat_n(b, pixels)).collect()
}

pub(super) const CONV_TRANSPOSE: Definition = Definition {
    infer: |op, cx| {
        attributes!(op, ConvTranspose { strides, pads, dilations, output_padding, group });
        check_operands(cx, *group)?;
        let (x, w) = (cx.operand(0), cx.operand(1));
        let kernel = taps(w)?;
        let spatial = kernel.len();
        // Negative padding and output padding stretch the result; they come from `output_shape`.
        Sliding { kernel: &kernel, strides, pads: &vec![0; 2 * spatial], dilations }.check(spatial)?;
        if pads.len() != 2 * spatial || output_padding.len() != spatial {
            return Err(format!("pads and output padding for {spatial} dimensions"));
        }
        cx.same(&x.shape[1], &w.shape[0]).map_err(|e| format!("{}: {e}", cx.listed()))?;
        if w.shape[0].known().is_some_and(|n| n % group != 0) {
            return Err(format!("{w} in {group} groups"));
        }
        let channels = &w.shape[1] * *group;
        check_bias(cx, &channels)?;
        let space = (0..spatial).map(|d| {
            let span = (kernel[d] - 1) * dilations[d] + 1;
            (&x.shape[d + 2] - 1) * strides[d] + output_padding[d] + span - pads[d] - pads[spatial + d]
        });
        let shape = [x.shape[0].clone(), channels].into_iter().chain(space).collect();
        Ok(vec![x.with_shape(shape)])
    },
    eval: |op, x, types| {
        attributes!(op, ConvTranspose { strides, pads, dilations, group });
        let kernel: Vec<i64> = x[1].shape()[2..].iter().map(|&n| n as i64).collect();
        let sliding = Sliding { kernel: &kernel, strides, pads, dilations };
        Ok(vec![by_number!(types[0].dtype, transposed(x, &types[0], sliding, *group as usize))?])
    },
};

/// Every input pixel is spread over the outputs its taps reach.
fn transposed<T: Number>(x: &[Tensor], ty: &Type, sliding: Sliding, groups: usize) -> Result<Tensor, String> {
    let shape = known(ty);
    let (from, space) = (&x[0].shape()[2..], &shape[2..]);
    let (batch, out_channels, in_channels) = (shape[0], shape[1] / groups, x[0].shape()[1] / groups);
    let (pixels, inputs) = (space.iter().product::<usize>(), from.iter().product::<usize>());
    let taps = x[1].shape()[2..].iter().product::<usize>();
    let (xv, wv) = (T::read(&x[0]), T::read(&x[1]));
    // Output to input of this op is input to output of the convolution that it transposes.
    let table = unfold_table(space, from, sliding)?;
    let mut out = biased::<T>(x.get(2), &shape, pixels);
    for n in 0..batch {
        for i in 0..groups * in_channels {
            let plane = &xv[(n * groups * in_channels + i) * inputs..][..inputs];
            for o in 0..out_channels {
                let channel = i / in_channels * out_channels + o;
                let to = &mut out[(n * groups * out_channels + channel) * pixels..][..pixels];
                let w = &wv[(i * out_channels + o) * taps..][..taps];
                for (tap, &w) in w.iter().enumerate() {
                    let reached = &table[tap * inputs..][..inputs];
                    for (&v, &p) in plane.iter().zip(reached) {
                        if let Some(y) = to.get_mut(p) {
                            *y = y.plus(v.times(w));
                        }
                    }
                }
            }
        }
    }
    Ok(T::tensor(ty.dtype, shape, out))
}
