//! Matrix products and convolutions with what ONNX Runtime's optimizer fuses into them.
use super::super::super::context::{Built, Context};
use super::super::super::error::{invalid, unsupported};
use super::super::Row;
use super::super::conv::convolved;
use super::super::math::{gemm, matmul};
use super::one;
use sardonyx_ir::{Op, Value};

pub(super) const ROWS: &[Row] = &[
    one("FusedConv", |cx| fused_conv(cx, false)),
    one("FusedGemm", |cx| {
        let y = gemm(cx)?;
        let activation = Activation::of_gemm(cx)?;
        activation.apply(cx, y)
    }),
    one("FusedMatMul", product),
    one("FusedMatMulActivation", |cx| {
        let y = product(cx)?;
        let activation = Activation::of_gemm(cx)?;
        activation.apply(cx, y)
    }),
    one("NhwcConv", |cx| fused_conv(cx, true)),
    one("NhwcFusedConv", |cx| fused_conv(cx, true)),
    one("TransposeMatMul", product),
];

/// A matrix product whose operands are turned, in the last two axes or with the first axis moved behind the
/// batch, and whose result is scaled.
fn product(cx: &mut Context) -> Built {
    let mut sides = [cx.operand(0)?, cx.operand(1)?];
    let names = [("transA", "transBatchA"), ("transB", "transBatchB")];
    for (side, (turn, batch)) in sides.iter_mut().zip(names) {
        let rank = cx.rank(*side);
        let mut axes: Vec<usize> = (0..rank).collect();
        if rank > 1 && cx.flag(batch, false)? {
            axes[..rank - 1].rotate_left(1);
        }
        if rank > 1 && cx.flag(turn, false)? {
            axes.swap(rank - 2, rank - 1);
        }
        *side = cx.transpose(*side, &axes)?;
    }
    let y = matmul(cx, sides[0], sides[1])?;
    let alpha = cx.float("alpha", 1.0)?;
    if alpha == 1.0 { Ok(y) } else { cx.times_number(y, alpha) }
}

/// A function that follows a product.
struct Activation {
    name: String,
    /// Its numbers, in its own order; those that are missing are the defaults of ONNX's operators.
    numbers: Vec<Option<f64>>,
}

impl Activation {
    /// From `activation` and `activation_alpha`, `_beta`, `_gamma`.
    fn of_gemm(cx: &Context) -> Built<Activation> {
        let name = cx.string("activation", "")?;
        let numbers = ["activation_alpha", "activation_beta", "activation_gamma"]
            .map(|name| cx.float_if(name))
            .into_iter()
            .collect::<Result<_, _>>()?;
        Ok(Activation { name, numbers })
    }

    /// From `activation` and the list `activation_params`.
    fn of_conv(cx: &Context) -> Built<Activation> {
        let numbers = cx.floats("activation_params")?.unwrap_or_default();
        Ok(Activation {
            name: cx.string("activation", "")?,
            numbers: numbers.into_iter().map(Some).collect(),
        })
    }

    fn apply(&self, cx: &mut Context, x: Value) -> Built {
        let number = |i: usize, default: f64| self.numbers.get(i).copied().flatten().unwrap_or(default);
        let op = match self.name.as_str() {
            "" => return Ok(x),
            "Relu" => Op::Relu {},
            "Sigmoid" => Op::Sigmoid {},
            "Tanh" => Op::Tanh {},
            "Softplus" => Op::Softplus {},
            "Softsign" => Op::Softsign {},
            "Gelu" => Op::Gelu {},
            "HardSwish" => Op::HardSwish {},
            "LeakyRelu" => Op::LeakyRelu { alpha: number(0, 0.01) },
            "Elu" => Op::Elu { alpha: number(0, 1.0) },
            "Celu" => Op::Celu { alpha: number(0, 1.0) },
            "ThresholdedRelu" => Op::ThresholdedRelu { alpha: number(0, 1.0) },
            "Clip" => Op::Clip { min: number(0, f64::NEG_INFINITY), max: number(1, f64::INFINITY) },
            "HardSigmoid" => Op::HardSigmoid { alpha: number(0, 0.2), beta: number(1, 0.5) },
            "Selu" => {
                let (alpha, gamma) = (1.673_263_192_176_818_8, 1.050_701_022_148_132_3);
                Op::Selu { alpha: number(0, alpha), gamma: number(1, gamma) }
            }
            "QuickGelu" => Op::Silu { alpha: number(0, 1.702) },
            other => return unsupported(format!("the activation `{other}`")),
        };
        cx.add(op, &[x])
    }
}

/// A convolution, then an optional sum, then an activation; channels first or last, weights `[oc, c / group, k…]`.
fn fused_conv(cx: &mut Context, last: bool) -> Built {
    let (x, w, bias) = (cx.operand(0)?, cx.operand(1)?, cx.operand_if(2)?);
    let x = if last { channels_first(cx, x)? } else { x };
    let mut y = convolved(cx, x, w, bias)?;
    if let Some(z) = cx.operand_if(3)? {
        let z = if last { channels_first(cx, z)? } else { z };
        y = cx.plus(y, z)?;
    }
    let activation = Activation::of_conv(cx)?;
    let y = activation.apply(cx, y)?;
    if last { channels_last(cx, y) } else { Ok(y) }
}

/// `[n, …, c]` as `[n, c, …]`.
pub(super) fn channels_first(cx: &mut Context, x: Value) -> Built {
    let rank = cx.rank(x);
    if rank < 2 {
        return invalid(format!("{} has no channels", cx.ty(x)));
    }
    let axes: Vec<usize> = [0, rank - 1].into_iter().chain(1..rank - 1).collect();
    cx.transpose(x, &axes)
}

/// `[n, c, …]` as `[n, …, c]`.
pub(super) fn channels_last(cx: &mut Context, x: Value) -> Built {
    let rank = cx.rank(x);
    let axes: Vec<usize> = [0].into_iter().chain(2..rank).chain([1]).collect();
    cx.transpose(x, &axes)
}
