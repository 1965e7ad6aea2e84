//! Convolutions for libraries, with their sizes.

use sardonyx_tensor::{DType, Dim};

use super::Values;
use crate::manifest::{Convolution, Image};

/// A convolution with its sizes, all of them positive and small enough for libraries.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct PlannedConvolution {
    pub dtype: DType,
    pub groups: i32,
    pub strides: [i32; 2],
    pub pads: [i32; 2],
    pub dilations: [i32; 2],
    pub x: PlannedTensor,
    /// Output channel, input channel of its group, taps.
    pub w: PlannedTensor,
    /// Whether the input channels of a tap are neighbours.
    pub by_channels: bool,
    pub bias: Option<PlannedTensor>,
    pub residual: Option<PlannedTensor>,
    pub relu: bool,
    pub out: PlannedTensor,
}

/// Where the elements of four dimensions are: of images, image, channel, row and column.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct PlannedTensor {
    pub arg: usize,
    /// Bytes before the first element.
    pub start: usize,
    /// Bytes up to the end of the last element.
    pub end: usize,
    pub shape: [i32; 4],
    /// Counted in elements.
    pub strides: [i32; 4],
}

/// The orders of dimensions that libraries know, the outermost first.
const BY_CHANNELS: [usize; 4] = [0, 2, 3, 1];
const BY_PLANES: [usize; 4] = [0, 1, 2, 3];

/// The convolution with its sizes; `None` where a symbol has no value, or libraries do not take it.
pub(super) fn resolve(convolution: &Convolution, values: &Values) -> Option<PlannedConvolution> {
    let c = convolution;
    let value = |dim: &Dim| dim.eval_with(values).ok();
    let images = value(&c.batch)?;
    let (input, output) =
        ([value(&c.input[0])?, value(&c.input[1])?], [value(&c.output[0])?, value(&c.output[1])?]);
    for axis in 0..2 {
        if c.strides[axis] < 1 || c.pads[axis] < 0 || c.dilations[axis] < 1 || c.kernel[axis] < 1 {
            return None;
        }
        let reach = c.dilations[axis].checked_mul(c.kernel[axis] - 1)?.checked_add(1)?;
        let room = input[axis].checked_add(c.pads[axis].checked_mul(2)?)?.checked_sub(reach)?;
        // Libraries take the padding after the last element to be that before the first.
        if room < 0 || output[axis] != room / c.strides[axis] + 1 {
            return None;
        }
    }
    let all = |channels: i64| channels.checked_mul(c.groups).filter(|_| channels > 0 && c.groups > 0);
    let (channels, out_channels) = (all(c.in_channels)?, all(c.out_channels)?);
    let order = if c.w.by_channels { [BY_CHANNELS, BY_PLANES] } else { [BY_PLANES, BY_CHANNELS] };
    let tensor =
        |arg, offset: &Dim, shape, strides| place(arg, value(offset)?, shape, strides, c.dtype, order);
    let image = |image: &Image, shape| {
        let mut strides = [0; 4];
        for (stride, dim) in strides.iter_mut().zip(&image.strides) {
            *stride = value(dim)?;
        }
        tensor(image.arg, &image.offset, shape, strides)
    };
    let (out_shape, w_shape) = (
        [images, out_channels, output[0], output[1]],
        [out_channels, c.in_channels, c.kernel[0], c.kernel[1]],
    );
    let bias = |arg, offset| tensor(arg, offset, [1, out_channels, 1, 1], [out_channels, 1, 1, 1]);
    let pair = |pair: [i64; 2]| Some([i32::try_from(pair[0]).ok()?, i32::try_from(pair[1]).ok()?]);
    Some(PlannedConvolution {
        dtype: c.dtype,
        groups: i32::try_from(c.groups).ok()?,
        strides: pair(c.strides)?,
        pads: pair(c.pads)?,
        dilations: pair(c.dilations)?,
        x: image(&c.x, [images, channels, input[0], input[1]])?,
        w: tensor(c.w.arg, &c.w.offset, w_shape, packed(w_shape, order[0])?)?,
        by_channels: c.w.by_channels,
        bias: optional(c.bias.as_ref().map(|b| bias(b.arg, &b.offset)))?,
        residual: optional(c.residual.as_ref().map(|residual| image(residual, out_shape)))?,
        relu: c.relu,
        out: image(&c.out, out_shape)?,
    })
}

/// `None` where something is there that is not taken.
pub(crate) fn optional<T>(tensor: Option<Option<T>>) -> Option<Option<T>> {
    match tensor {
        Some(tensor) => tensor.map(Some),
        None => Some(None),
    }
}

/// The strides of a whole tensor in this order of its dimensions.
fn packed(shape: [i64; 4], order: [usize; 4]) -> Option<[i64; 4]> {
    let (mut strides, mut next) = ([0; 4], 1i64);
    for &at in order.iter().rev() {
        strides[at] = next;
        next = next.checked_mul(shape[at])?;
    }
    Some(strides)
}

/// A tensor whose elements are apart from each other. A dimension of one element has any stride: that of a whole
/// tensor of the first of `orders` that it can be.
fn place(
    arg: usize,
    offset: i64,
    shape: [i64; 4],
    strides: [i64; 4],
    dtype: DType,
    orders: [[usize; 4]; 2],
) -> Option<PlannedTensor> {
    if offset < 0 || shape.iter().any(|&size| size < 1) || strides.iter().any(|&stride| stride < 0) {
        return None;
    }
    let is = |whole: &[i64; 4]| (0..4).all(|k| shape[k] == 1 || strides[k] == whole[k]);
    let whole = orders.iter().filter_map(|&order| packed(shape, order)).find(is);
    let strides = whole.unwrap_or(strides);
    let mut inward: Vec<usize> = (0..4).filter(|&k| shape[k] > 1).collect();
    inward.sort_by_key(|&k| strides[k]);
    let mut length = 1i64;
    for k in inward {
        if strides[k] < length {
            return None;
        }
        length = strides[k].checked_mul(shape[k] - 1)?.checked_add(length)?;
    }
    let bytes = |elements: i64| usize::try_from(elements).ok()?.checked_mul(dtype.size());
    let mut tensor = PlannedTensor {
        arg,
        start: bytes(offset)?,
        end: bytes(offset.checked_add(length)?)?,
        shape: [0; 4],
        strides: [0; 4],
    };
    for k in 0..4 {
        tensor.shape[k] = i32::try_from(shape[k]).ok()?;
        tensor.strides[k] = i32::try_from(strides[k].max(1)).ok()?;
    }
    Some(tensor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{Bias, Weights};

    fn convolution() -> Convolution {
        let image = |arg, strides: [&str; 4]| {
            let strides = strides.map(|text| text.parse().expect("a stride"));
            Image { arg, offset: Dim::from(2), strides }
        };
        Convolution {
            dtype: DType::F16,
            batch: Dim::symbol("b"),
            groups: 2,
            in_channels: 3,
            out_channels: 4,
            input: [Dim::from(1), Dim::from(9)],
            output: [Dim::from(1), Dim::from(5)],
            kernel: [1, 3],
            strides: [1, 2],
            pads: [0, 1],
            dilations: [1, 1],
            x: image(0, ["54", "1", "0", "6"]),
            w: Weights { arg: 1, offset: Dim::ZERO, by_channels: true },
            bias: Some(Bias { arg: 2, offset: Dim::from(8) }),
            residual: None,
            relu: true,
            out: image(3, ["80", "2", "7", "16"]),
        }
    }

    fn at(convolution: &Convolution, images: i64) -> Option<PlannedConvolution> {
        resolve(convolution, &|name| (name == "b").then_some(images))
    }

    #[test]
    fn places_follow_from_strides() {
        let found = at(&convolution(), 2).expect("the sizes should be known");
        assert_eq!((found.x.shape, found.x.strides), ([2, 6, 1, 9], [54, 1, 54, 6]));
        assert_eq!((found.x.start, found.x.end), (4, (2 + 108) * 2));
        assert_eq!((found.w.shape, found.w.strides), ([8, 3, 1, 3], [9, 1, 9, 3]));
        assert_eq!((found.out.strides, found.out.end), ([80, 2, 7, 16], (2 + 80 + 64 + 14 + 1) * 2));
        let bias = found.bias.expect("a bias");
        assert_eq!((bias.start, bias.end, bias.shape), (16, 32, [1, 8, 1, 1]));
    }

    #[test]
    fn what_libraries_do_not_take() {
        let changed = |change: fn(&mut Convolution)| {
            let mut convolution = convolution();
            change(&mut convolution);
            at(&convolution, 2)
        };
        assert!(changed(|_| {}).is_some());
        assert_eq!(resolve(&convolution(), &|_| None), None);
        for images in [0, -1, i64::MAX] {
            assert_eq!(at(&convolution(), images), None);
        }
        assert_eq!(changed(|c| c.output[1] = Dim::from(4)), None, "another padding after the last element");
        assert_eq!(changed(|c| c.output[1] = Dim::from(6)), None, "another padding after the last element");
        assert_eq!(changed(|c| c.strides[1] = 0), None);
        assert_eq!(changed(|c| c.pads[1] = -1), None);
        assert_eq!(changed(|c| c.dilations[1] = i64::MAX), None);
        assert_eq!(changed(|c| c.kernel[1] = i64::MIN), None);
        assert_eq!(changed(|c| c.groups = 0), None);
        assert_eq!(changed(|c| c.out_channels = i64::MAX), None);
        assert_eq!(changed(|c| c.out.strides[1] = Dim::ZERO), None, "results at one place");
        assert_eq!(changed(|c| c.out.strides[3] = Dim::from(13)), None, "results that overlap");
        assert_eq!(changed(|c| c.x.strides[0] = Dim::from(i64::MAX)), None);
        assert_eq!(changed(|c| c.x.offset = Dim::from(-1)), None);
    }
}
