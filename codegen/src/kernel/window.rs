//! Windows: a reduction over a small neighbourhood of every element, each channel for itself.
//!
//! Pooling and depthwise convolution. Global pooling is a reduction over rows and not a window.
use super::contract::{Access, Epilogue};
use sardonyx_tensor::Dim;

/// What a window's elements become.
#[derive(Clone, Debug, PartialEq)]
pub enum WindowOp {
    /// The greatest element; padding does not count. A window without elements gives -inf or the least integer.
    Max,
    /// The mean. With `padding`, elements of the padding count as zeros (but not what lies beyond it);
    /// without, only the input's elements count.
    Mean {
        /// Whether the padding counts (`count_include_pad`).
        padding: bool,
    },
    /// `Σ |x|^p`; the epilogue takes the root.
    Norm {
        /// The exponent.
        p: i64,
    },
    /// `Σ w[c, t..] · x`: depthwise convolution. Output channel `c` reads input channel
    /// `c / multiplier`.
    Weighted {
        /// Over `output channel, taps..`.
        w: Access,
        /// Output channels per input channel.
        multiplier: i64,
    },
}

/// `out[n, c, o..] = f(op over t.. of x[n, c, o·stride + t·dilation - pad], …)`; for floats of at most 32
/// bits computed in f32.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// Images.
    pub batch: Dim,
    /// Channels of the output.
    pub channels: Dim,
    /// Spatial sizes of the input, 1 to 3 of them.
    pub input: Vec<Dim>,
    /// Spatial sizes of the output.
    pub output: Vec<Dim>,
    /// Taps per spatial dimension.
    pub kernel: Vec<i64>,
    /// Strides per spatial dimension.
    pub strides: Vec<i64>,
    /// Padding before the first element.
    pub pads: Vec<i64>,
    /// Padding after the last element; only [`WindowOp::Mean`] with padding looks at it (in ceil mode a
    /// window may reach beyond it).
    pub pads_end: Vec<i64>,
    /// Dilations per spatial dimension.
    pub dilations: Vec<i64>,
    /// The reduction.
    pub op: WindowOp,
    /// Over `n, channel, spatial..` of the input.
    pub x: Access,
    /// Over `n, channel, spatial..` of the output.
    pub epilogue: Epilogue,
}
