//! Convolutions that a vendor's library can compute in place of a kernel.

use serde::{Deserialize, Serialize};

use sardonyx_tensor::{DType, Dim};

/// A convolution over two dimensions, accumulated in f32, and what may follow the sum:
/// `out[n, c, o] = relu(Σ_{i, t} w[c, i, t] · x[n, g·channels + i, o·stride + t·dilation - pad] + bias[c] +
/// residual[n, c, o])`, where `g` is the group of `c`; elements outside the input are 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Convolution {
    /// The type of all elements: f16, bf16 or f32.
    pub dtype: DType,
    /// Images.
    pub batch: Dim,
    /// Groups of channels.
    pub groups: i64,
    /// Input channels of a group.
    pub in_channels: i64,
    /// Output channels of a group.
    pub out_channels: i64,
    /// Height and width of the input.
    pub input: [Dim; 2],
    /// Height and width of the output.
    pub output: [Dim; 2],
    /// Taps.
    pub kernel: [i64; 2],
    /// From an output to the next, in inputs.
    pub strides: [i64; 2],
    /// Elements before the first.
    pub pads: [i64; 2],
    /// From a tap to the next, in inputs.
    pub dilations: [i64; 2],
    /// The input.
    pub x: Image,
    /// The weights.
    pub w: Weights,
    /// What is added to a channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bias: Option<Bias>,
    /// What is added to an element.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub residual: Option<Image>,
    /// Whether negative results become 0.
    #[serde(default)]
    pub relu: bool,
    /// The result.
    pub out: Image,
}

/// Where the elements of images are, counted in elements.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// The argument of the launch that holds them.
    pub arg: usize,
    /// The place of the first element.
    #[serde(default)]
    pub offset: Dim,
    /// From an image, channel, row and column to the next.
    pub strides: [Dim; 4],
}

/// Where weights are: those of an output channel after another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weights {
    /// The argument of the launch that holds them.
    pub arg: usize,
    /// The place of the first, counted in elements.
    #[serde(default)]
    pub offset: Dim,
    /// Whether the input channels of a tap are neighbours; else the taps of an input channel are.
    #[serde(default)]
    pub by_channels: bool,
}

/// Where the numbers of all channels are: one after the other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bias {
    /// The argument of the launch that holds them.
    pub arg: usize,
    /// The place of the first, counted in elements.
    #[serde(default)]
    pub offset: Dim,
}
