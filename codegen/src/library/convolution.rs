//! Convolutions that a vendor's library can compute: over one or two dimensions, and after the sum a bias, a residual
//! and relu, each if at all and in this order.
use crate::kernel::contract::{Access, Conv, Epilogue, Operand};
use sardonyx_ir::scalar::{Node, Prim, Scalar};
use sardonyx_runtime::manifest::{Bias, Convolution, Image, Weights};
use sardonyx_tensor::{DType, Dim};

/// The convolution that a kernel is.
pub(super) fn convolution(conv: &Conv) -> Option<Convolution> {
    let Operand::Strided(w) = &conv.w else { return None };
    let (dtype, out) = (conv.x.dtype, &conv.epilogue.out);
    let served = matches!(dtype, DType::F16 | DType::BF16 | DType::F32);
    if !served || w.dtype != dtype || out.dtype != dtype || conv.transposed {
        return None;
    }
    let after = After::of(&conv.epilogue)?;
    let (input, output) = (plane(&conv.input, &Dim::ONE)?, plane(&conv.output, &Dim::ONE)?);
    Some(Convolution {
        dtype,
        batch: conv.batch.clone(),
        groups: conv.groups,
        in_channels: conv.in_channels,
        out_channels: conv.out_channels,
        kernel: plane(&conv.kernel, &1)?,
        strides: plane(&conv.strides, &1)?,
        pads: plane(&conv.pads, &0)?,
        dilations: plane(&conv.dilations, &1)?,
        x: image(&conv.x, &input)?,
        w: weights(conv, w)?,
        bias: after.bias.map(|access| Bias { arg: access.arg, offset: access.offset.clone() }),
        residual: match after.residual {
            Some(access) => Some(image(access, &output)?),
            None => None,
        },
        relu: after.relu,
        out: image(out, &output)?,
        input,
        output,
    })
}

/// What a convolution has per dimension, over two of them: one dimension is a row, with `other` for the height.
fn plane<T: Clone>(own: &[T], other: &T) -> Option<[T; 2]> {
    match own {
        [width] => Some([other.clone(), width.clone()]),
        [height, width] => Some([height.clone(), width.clone()]),
        _ => None,
    }
}

/// An access over `n, channel, spatial..` as images of this height and width.
fn image(access: &Access, size: &[Dim; 2]) -> Option<Image> {
    let [n, c, spatial @ ..] = access.strides.as_slice() else { return None };
    let [down, along] = match spatial {
        [along] => [&size[1] * along, along.clone()],
        [down, along] => [down.clone(), along.clone()],
        _ => return None,
    };
    Some(Image {
        arg: access.arg,
        offset: access.offset.clone(),
        strides: [n.clone(), c.clone(), down, along],
    })
}

/// The weights, if they stand one output channel after another in an order that libraries know: that of the images
/// where it is either.
fn weights(conv: &Conv, w: &Access) -> Option<Weights> {
    let sizes = [&[conv.groups, conv.out_channels, conv.in_channels], &conv.kernel[..]].concat();
    let taps = 3..sizes.len();
    let is = |order: &[usize]| {
        let mut expected = 1;
        order.iter().rev().all(|&at| {
            let regular = sizes[at] == 1 || w.strides[at] == expected;
            expected *= sizes[at];
            regular
        })
    };
    let by_channels = is(&[0, 1].into_iter().chain(taps.clone()).chain([2]).collect::<Vec<_>>());
    let by_planes = is(&[0, 1, 2].into_iter().chain(taps).collect::<Vec<_>>());
    let by_channels = by_channels && !(by_planes && conv.x.strides[1] != 1);
    let (arg, offset) = (w.arg, w.offset.clone());
    (by_channels || by_planes).then_some(Weights { arg, offset, by_channels })
}

/// What follows the sum.
struct After<'a> {
    bias: Option<&'a Access>,
    residual: Option<&'a Access>,
    relu: bool,
}

impl<'a> After<'a> {
    /// `None` where it is anything else.
    fn of(epilogue: &'a Epilogue) -> Option<After<'a>> {
        let f = &epilogue.f;
        let zero = |at: usize| matches!(f.nodes[at], Node::Num(x) if x == 0.0);
        let (relu, sum) = match &f.nodes[f.root] {
            Node::Prim(Prim::Max, args) if zero(args[1]) => (true, args[0]),
            Node::Prim(Prim::Max, args) if zero(args[0]) => (true, args[1]),
            _ => (false, f.root),
        };
        let mut terms = Vec::new();
        addends(f, sum, &mut terms)?;
        let sums = terms.iter().filter(|&&term| term == 0).count();
        let mut after = After { bias: None, residual: None, relu };
        for access in terms.iter().filter_map(|term| epilogue.accesses.get(term.checked_sub(1)?)) {
            let (images, channel) =
                (access.strides.iter().enumerate().filter(|(k, _)| *k != 1), &access.strides[1]);
            let is_bias = *channel == 1 && images.clone().all(|(_, stride)| *stride == Dim::ZERO);
            let place = if is_bias { &mut after.bias } else { &mut after.residual };
            if access.dtype != epilogue.out.dtype || place.replace(access).is_some() {
                return None;
            }
        }
        (sums == 1).then_some(after)
    }
}

/// The arguments that a node adds up, at most three; `None` where it does anything else.
fn addends(f: &Scalar, node: usize, terms: &mut Vec<usize>) -> Option<()> {
    match &f.nodes[node] {
        Node::Arg(argument) if terms.len() < 3 => terms.push(*argument),
        Node::Prim(Prim::Add, args) => {
            for &arg in args {
                addends(f, arg, terms)?;
            }
        }
        _ => return None,
    }
    Some(())
}
