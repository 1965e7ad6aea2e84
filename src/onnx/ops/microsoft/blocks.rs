//! Weights of few bits, quantized in blocks.
use super::super::super::context::{Built, Context};
use super::super::super::error::{invalid, unsupported};
use super::super::Row;
use super::super::math::matmul;
use super::super::quant::spread;
use super::one;
use sardonyx_ir::{Op, Value};
use sardonyx_tensor::{DType, Dim, Tensor};

pub(super) const ROWS: &[Row] =
    &[one("GatherBlockQuantized", gather), one("MatMulBnb4", bnb4_product), one("MatMulNBits", bits_product)];

/// Bytes `[…, n]` as the `8 / bits` numbers in each, `[…, n * 8 / bits]`, the low bits first.
pub(super) fn unpacked(cx: &mut Context, packed: Value, bits: i64) -> Built {
    if !matches!(bits, 2 | 4 | 8) {
        return unsupported(format!("weights of {bits} bits"));
    }
    if cx.dtype(packed) != DType::U8 {
        return invalid(format!("packed weights of type {}", cx.dtype(packed)));
    }
    if bits == 8 {
        return Ok(packed);
    }
    let rank = cx.rank(packed);
    let mut shape = cx.shape(packed);
    let Some(last) = shape.pop() else { return invalid("packed weights without dimensions") };
    let each = 8 / bits;
    let shifts: Vec<f64> = (0..each).map(|i| (i * bits) as f64).collect();
    let shifts = cx.constant(Tensor::from_f64s(DType::U8, [each as usize], shifts));
    let low = cx.scalar(DType::U8, ((1 << bits) - 1) as f64);
    let wide = cx.unsqueeze(packed, &[rank])?;
    let moved = cx.add(Op::ShiftRight {}, &[wide, shifts])?;
    let numbers = cx.and(moved, low)?;
    shape.push(last * each);
    cx.reshape(numbers, shape)
}

/// An attribute that has to be positive and of a reasonable size.
fn size(cx: &Context, name: &str) -> Built<i64> {
    match cx.int(name, 0)? {
        n if (1..1 << 40).contains(&n) => Ok(n),
        n => invalid(format!("{name} = {n}")),
    }
}

/// `a` times the transposed weights `[n, k]`, whose rows are quantized in blocks.
fn bits_product(cx: &mut Context) -> Built {
    let (a, b, scales) = (cx.operand(0)?, cx.operand(1)?, cx.operand(2)?);
    let (zeros, groups, bias) = (cx.operand_if(3)?, cx.operand_if(4)?, cx.operand_if(5)?);
    let (n, k, block) = (size(cx, "N")?, size(cx, "K")?, size(cx, "block_size")?);
    let bits = cx.int("bits", 4)?;
    if cx.int("weight_prepacked", 0)? != 0 {
        return unsupported("weights packed for a device");
    }
    let blocks = (k + block - 1) / block;
    let dtype = cx.dtype(a);
    let numbers = unpacked(cx, b, bits)?;
    let numbers = cx.reshape(numbers, vec![Dim::from(n), Dim::from(blocks * block)])?;
    let numbers = cx.slice_axis(numbers, 1, Dim::ZERO, Dim::from(k), 1)?;
    let per_block = vec![Dim::from(n), Dim::from(blocks)];
    let zeros = match zeros {
        Some(zeros) if cx.dtype(zeros) == DType::U8 => {
            let row = (blocks * bits + 7) / 8;
            let zeros = cx.reshape(zeros, vec![Dim::from(n), Dim::from(row)])?;
            let zeros = unpacked(cx, zeros, bits)?;
            let zeros = cx.slice_axis(zeros, 1, Dim::ZERO, Dim::from(blocks), 1)?;
            cx.cast(zeros, dtype)?
        }
        Some(zeros) => cx.reshape(zeros, per_block.clone())?,
        None => {
            let middle = cx.scalar(dtype, (1i64 << (bits - 1)) as f64);
            cx.expand(middle, per_block.clone())?
        }
    };
    let scales = cx.reshape(scales, per_block)?;
    let mut parameters = [zeros, scales];
    for v in &mut parameters {
        *v = match groups {
            Some(groups) => {
                let groups = cx.slice_axis(groups, 0, Dim::ZERO, Dim::from(k), 1)?;
                cx.add(Op::Gather { axis: 1 }, &[*v, groups])?
            }
            None => spread(cx, numbers, *v, 1, block)?,
        };
    }
    let weights = cx.cast(numbers, dtype)?;
    let weights = cx.minus(weights, parameters[0])?;
    let weights = cx.times(weights, parameters[1])?;
    let weights = cx.transpose(weights, &[1, 0])?;
    let y = matmul(cx, a, weights)?;
    bias.map_or(Ok(y), |bias| cx.plus(y, bias))
}

/// The sixteen values of four bits as floats with one bit of mantissa (bitsandbytes' FP4), over 12.
const FP4: [f64; 16] = [
    0.0,
    0.005_208_333_333,
    0.666_666_67,
    1.0,
    0.333_333_33,
    0.5,
    0.166_666_67,
    0.25,
    -0.0,
    -0.005_208_333_333,
    -0.666_666_67,
    -1.0,
    -0.333_333_33,
    -0.5,
    -0.166_666_67,
    -0.25,
];

/// The sixteen quantiles of a normal distribution (Dettmers et al. 2023, appendix E).
const NF4: [f64; 16] = [
    -1.0,
    -0.696_192_800_998_687_7,
    -0.525_073_051_452_636_7,
    -0.394_917_488_098_144_53,
    -0.284_441_381_692_886_35,
    -0.184_773_430_228_233_34,
    -0.091_050_036_251_544_95,
    0.0,
    0.079_580_299_556_255_34,
    0.160_930_201_411_247_25,
    0.246_112_301_945_686_34,
    0.337_915_241_718_292_24,
    0.440_709_829_330_444_34,
    0.562_617_003_917_694_1,
    0.722_956_836_223_602_3,
    1.0,
];

/// `a` times weights `[n, k]`, transposed or not, given as places in a table and a scale a block; of a byte
/// the high half comes first.
fn bnb4_product(cx: &mut Context) -> Built {
    let (a, b, scales) = (cx.operand(0)?, cx.operand(1)?, cx.operand(2)?);
    let (n, k, block) = (size(cx, "N")?, size(cx, "K")?, size(cx, "block_size")?);
    let count = n.checked_mul(k).ok_or("weights beyond reason")?;
    let table = match cx.int("quant_type", -1)? {
        0 => FP4,
        1 => NF4,
        other => return invalid(format!("quant_type {other}")),
    };
    let numbers = unpacked(cx, b, 4)?;
    let pairs = cx.reshape(numbers, vec![Dim::from((count + 1) / 2), Dim::from(2)])?;
    let (low, high) =
        (cx.slice_axis(pairs, 1, Dim::ZERO, Dim::ONE, 1)?, cx.slice_axis(pairs, 1, Dim::ONE, Dim::ONE, 1)?);
    let turned = cx.concat(&[high, low], 1)?;
    let flat = cx.reshape(turned, vec![Dim::from((count + 1) / 2 * 2)])?;
    let flat = cx.slice_axis(flat, 0, Dim::ZERO, Dim::from(count), 1)?;
    let dtype = cx.dtype(a);
    let table = cx.constant(Tensor::from_f64s(dtype, [16], table));
    let places = cx.cast(flat, DType::I32)?;
    let values = cx.add(Op::Gather { axis: 0 }, &[table, places])?;
    let scales = spread(cx, values, scales, 0, block)?;
    let weights = cx.times(values, scales)?;
    let weights = cx.reshape(weights, vec![Dim::from(n), Dim::from(k)])?;
    let weights = if cx.flag("transB", true)? { cx.transpose(weights, &[1, 0])? } else { weights };
    matmul(cx, a, weights)
}

/// Slices of a tensor quantized in blocks of one axis; an index outside gives zeros.
fn gather(cx: &mut Context) -> Built {
    let (mut x, indices, scales, zeros) = (cx.operand(0)?, cx.operand(1)?, cx.operand(2)?, cx.operand_if(3)?);
    let (bits, block) = (cx.int("bits", 4)?, cx.int("block_size", 128)?);
    let (along, by) = (cx.axis(x, cx.int("gather_axis", 0)?)?, cx.axis(x, cx.int("quantize_axis", 1)?)?);
    if cx.dtype(x).is_float() {
        return unsupported("blocks of floats");
    }
    let packed = cx.dtype(x) == DType::U8;
    x = if packed { unpacked(cx, x, bits)? } else { x };
    let dtype = cx.dtype(scales);
    let zeros = match zeros {
        Some(zeros) if packed => {
            let zeros = unpacked(cx, zeros, bits)?;
            let last = cx.rank(zeros) - 1;
            let size =
                cx.shape(scales).get(last).cloned().ok_or("scales with fewer axes than zero points")?;
            Some(cx.slice_axis(zeros, last, Dim::ZERO, size, 1)?)
        }
        Some(zeros) => Some(zeros),
        None if packed => {
            let middle = cx.scalar(DType::U8, (1i64 << (bits - 1)) as f64);
            let shape = cx.shape(scales);
            Some(cx.expand(middle, shape)?)
        }
        None => None,
    };
    let n = cx.dim(cx.shape(x)[along].clone(), cx.dtype(indices))?;
    let (zero, down) = (cx.like(indices, 0.0), cx.neg(n)?);
    let (above, below) = (cx.ge(indices, down)?, cx.lt(indices, n)?);
    let valid = cx.and(above, below)?;
    let safe = cx.select(valid, indices, zero)?;
    let rows = |cx: &mut Context, v: Value| cx.add(Op::Gather { axis: along as i64 }, &[v, safe]);
    // Blocks of another axis are chosen with their numbers, so that only what is used becomes a float.
    let own = along != by;
    let axis = if by > along { by + cx.rank(indices) - 1 } else { by } as i64;
    let part = |cx: &mut Context, v: Value| if own { rows(cx, v) } else { Ok(v) };
    let chosen = part(cx, x)?;
    let place = if own { axis } else { by as i64 };
    let scale = part(cx, scales)?;
    let scale = spread(cx, chosen, scale, place, block)?;
    let mut y = cx.cast(chosen, dtype)?;
    if let Some(zeros) = zeros {
        let zeros = part(cx, zeros)?;
        let zeros = spread(cx, chosen, zeros, place, block)?;
        let zeros = cx.cast(zeros, dtype)?;
        y = cx.minus(y, zeros)?;
    }
    y = cx.times(y, scale)?;
    let y = if own { y } else { rows(cx, y)? };
    let mut shape = vec![Dim::ONE; cx.rank(y)];
    for (i, d) in cx.shape(valid).into_iter().enumerate() {
        shape[along + i] = d;
    }
    let valid = cx.reshape(valid, shape)?;
    let nothing = cx.like(y, 0.0);
    cx.select(valid, y, nothing)
}
