//! A convolution's dimensions as its loops see them, and what its layouts allow.
use super::tile::ceil_div;
use crate::kernel::contract::{Access, Conv};
use sardonyx_tensor::Dim;

/// One spatial dimension of a convolution as the loops see it: output `q·out_step + r` of phase `r` reads
/// the input at `q·step + offsets[r] + u·tap_step` with tap `first[r] + u·tap_period`, for `u < taps`.
#[derive(Clone, Debug)]
pub struct Axis {
    /// Steps of `u`.
    pub taps: i64,
    /// Input elements between neighbouring outputs of a phase.
    pub step: i64,
    /// Input elements between neighbouring taps.
    pub tap_step: i64,
    /// Taps between those of neighbouring `u`.
    pub tap_period: i64,
    /// The input element of output 0 and `u = 0`, for each phase.
    pub offsets: Vec<i64>,
    /// The tap of `u = 0` for each phase; beyond the kernel where a phase has no taps.
    pub first: Vec<i64>,
}

impl Axis {
    fn new(conv: &Conv, i: usize) -> Axis {
        let (kernel, stride, pad, dilation) =
            (conv.kernel[i], conv.strides[i], conv.pads[i], conv.dilations[i]);
        if !conv.transposed {
            return Axis {
                taps: kernel,
                step: stride,
                tap_step: dilation,
                tap_period: 1,
                offsets: vec![-pad],
                first: vec![0],
            };
        }
        let period = (1..=stride).find(|p| p * dilation % stride == 0).unwrap_or(stride);
        let first: Vec<i64> = (0..stride)
            .map(|r| (0..period).find(|t| (r + pad - t * dilation).rem_euclid(stride) == 0).unwrap_or(kernel))
            .collect();
        let offsets =
            (0..stride).map(|r| (r + pad - first[r as usize] * dilation).div_euclid(stride)).collect();
        Axis {
            taps: ceil_div(kernel, period),
            step: 1,
            tap_step: -(dilation * period / stride),
            tap_period: period,
            offsets,
            first,
        }
    }
}

impl Conv {
    /// The spatial dimensions as the loops see them.
    pub fn axes(&self) -> Vec<Axis> {
        (0..self.kernel.len()).map(|i| Axis::new(self, i)).collect()
    }

    /// The outputs of a phase, per spatial dimension.
    pub(super) fn phase_outputs(&self) -> Vec<Dim> {
        let step = |i: usize| if self.transposed { self.strides[i] } else { 1 };
        self.output.iter().enumerate().map(|(i, o)| o.ceil_div(step(i))).collect()
    }

    /// Whether it is transposed with a stride, so that the output is written in phases.
    pub(super) fn transposed_in_phases(&self) -> bool {
        self.transposed && self.strides.iter().any(|&s| s > 1)
    }
}

/// Whether the access to an output is the same for all pixels.
pub fn constant(access: &Access) -> bool {
    access.strides[2..].iter().all(|s| *s == 0)
}

/// Whether neighbouring pixels stand side by side, across rows too.
pub fn flat(access: &Access, sizes: &[Dim]) -> bool {
    let mut stride = Dim::ONE;
    access.strides[2..].iter().zip(sizes).rev().all(|(s, size)| {
        let regular = *s == stride || *size == 1;
        stride *= size;
        regular
    })
}

/// Whether the sums run along the weights as they stand.
pub fn row_major(w: &Access, conv: &Conv) -> bool {
    let mut stride = Dim::ONE;
    let sizes = std::iter::once(&conv.in_channels).chain(&conv.kernel).rev();
    !conv.transposed
        && w.strides[2..].iter().rev().zip(sizes).all(|(s, &size)| {
            let regular = *s == stride || size == 1;
            stride *= size;
            regular
        })
}

/// Whether each output pixel reads just the input pixel at its place.
pub fn reads_in_place(conv: &Conv) -> bool {
    let plain = |list: &[i64], value: i64| list.iter().all(|&x| x == value);
    plain(&conv.kernel, 1)
        && plain(&conv.strides, 1)
        && plain(&conv.pads, 0)
        && conv.input == conv.output
        && flat(&conv.x, &conv.input)
}
