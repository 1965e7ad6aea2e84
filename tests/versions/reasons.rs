//! Why a version of an operator is not held against ONNX Runtime.
use std::ops::RangeInclusive;

/// Versions of an operator, and the reason.
pub struct Reason {
    pub op: &'static str,
    pub versions: RangeInclusive<i64>,
    pub why: &'static str,
}

const fn because(op: &'static str, versions: RangeInclusive<i64>, why: &'static str) -> Reason {
    Reason { op, versions, why }
}

/// The version takes more types than the one before it, and ONNX Runtime was not told.
const OLDER: &str = "ONNX Runtime has kernels for older versions alone";
const UNRELEASED: &str = "ONNX Runtime 1.31.1 ends at opset 26";

pub const REASONS: &[Reason] = &[
    because("Bernoulli", 22..=22, OLDER),
    because("CausalConvWithState", 27..=27, UNRELEASED),
    because("GlobalLpPool", 22..=22, OLDER),
    because("ImageDecoder", 20..=20, "ONNX Runtime has no kernel; ONNX's own node tests have images"),
    because("LinearAttention", 27..=27, UNRELEASED),
    because("MaxRoiPool", 22..=22, OLDER),
    because("Multinomial", 22..=22, OLDER),
    because("RandomNormal", 22..=22, OLDER),
    because("RandomNormalLike", 22..=22, OLDER),
    because("RandomUniform", 22..=22, OLDER),
    because("RandomUniformLike", 22..=22, OLDER),
    because("Range", 27..=27, UNRELEASED),
    because("RoiAlign", 22..=22, OLDER),
    because("Scatter", 11..=11, "gone since opset 11: ScatterElements"),
    because("Upsample", 10..=10, "gone since opset 10: Resize"),
];
