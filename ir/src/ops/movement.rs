//! Ops that make, move or repeat elements and compute none.
use super::attribute::{PadMode, Reduction};
use super::values::{gathered, known, size};
use super::{Definition, Op};
use crate::index::{strides, walk, walk_signed};
use crate::types::Type;
use sardonyx_tensor::{DType, Dim, Tensor};

impl Op {
    /// For an op that only moves elements of its operands: which of its `count` operands hold them. The
    /// others are indices.
    pub fn moved_operands(&self, count: usize) -> Option<Vec<usize>> {
        Some(match self {
            Op::Reshape { .. } | Op::Transpose { .. } | Op::Expand { .. } | Op::Slice { .. } => vec![0],
            Op::Gather { .. } | Op::GatherElements { .. } | Op::GatherNd { .. } => vec![0],
            Op::ScatterElements { reduction: Reduction::Replace, .. }
            | Op::ScatterNd { reduction: Reduction::Replace, .. } => vec![0, 2],
            Op::Concat { .. } | Op::Pad { .. } => (0..count).collect(),
            _ => return None,
        })
    }
}

pub(super) const DIMS: Definition = Definition {
    infer: |op, _| {
        attributes!(op, Dims { values });
        Ok(vec![Type::new(DType::I64, [values.len() as i64])])
    },
    eval: |op, _, _| {
        attributes!(op, Dims { values });
        let values: Vec<i64> =
            values.iter().map(|d| d.known().expect("a dimension should be known")).collect();
        Ok(vec![Tensor::from_slice(vec![values.len()], &values)])
    },
};

pub(super) const BIND: Definition = Definition {
    infer: |op, cx| {
        attributes!(op, Bind { dims });
        let x = cx.operand(0);
        if x.dtype != DType::I64 || x.elements() != dims.len() as i64 {
            return Err(format!("{} names for {x}", dims.len()));
        }
        Ok(vec![x.clone()])
    },
    eval: |_, operands, _| Ok(vec![operands[0].clone()]),
};

pub(super) const IOTA: Definition = Definition {
    infer: |op, _| {
        attributes!(op, Iota { count, to });
        Ok(vec![Type::new(*to, [count.clone()])])
    },
    eval: |op, _, types| {
        attributes!(op, Iota { count, to });
        let n = size(count);
        let values = if to.is_float() {
            Tensor::from_f64s(*to, vec![n], (0..n).map(|i| i as f64).collect::<Vec<_>>())
        } else {
            Tensor::from_i128s(*to, vec![n], (0..n as i128).collect::<Vec<_>>())
        };
        debug_assert_eq!(types.len(), 1);
        Ok(vec![values])
    },
};

pub(super) const RESHAPE: Definition = Definition {
    infer: |op, cx| {
        attributes!(op, Reshape { shape });
        let (from, to) = (cx.operand(0).elements(), Dim::product(shape));
        cx.same(&from, &to).map_err(|e| format!("{} into [{}]: {e}", cx.operand(0), list(shape)))?;
        Ok(vec![cx.operand(0).with_shape(shape.clone())])
    },
    eval: |_, operands, types| Ok(vec![operands[0].reshaped(known(&types[0]))]),
};

fn list(dims: &[Dim]) -> String {
    dims.iter().map(Dim::to_string).collect::<Vec<_>>().join(",")
}

pub(super) const TRANSPOSE: Definition = Definition {
    infer: |op, cx| {
        attributes!(op, Transpose { perm });
        let x = cx.operand(0);
        let mut sorted = perm.clone();
        sorted.sort_unstable();
        if !sorted.iter().copied().eq(0..x.rank() as i64) {
            return Err(format!("{perm:?} does not permute the axes of {x}"));
        }
        Ok(vec![x.with_shape(perm.iter().map(|&p| x.shape[p as usize].clone()).collect())])
    },
    eval: |op, operands, types| {
        attributes!(op, Transpose { perm });
        let from = strides(operands[0].shape());
        let moved: Vec<usize> = perm.iter().map(|&p| from[p as usize]).collect();
        let shape = known(&types[0]);
        Ok(vec![gathered(&operands[0], shape.clone(), walk(&shape, &moved, 0))])
    },
};

pub(super) const EXPAND: Definition = Definition {
    infer: |op, cx| {
        attributes!(op, Expand { shape });
        let x = cx.operand(0);
        cx.broadcasts_to(&x.shape, shape)
            .map_err(|e| format!("{x} does not broadcast to [{}]: {e}", list(shape)))?;
        Ok(vec![x.with_shape(shape.clone())])
    },
    eval: |_, operands, types| {
        let shape = known(&types[0]);
        Ok(vec![gathered(&operands[0], shape.clone(), crate::interp::indices(operands[0].shape(), &shape))])
    },
};

pub(super) const SLICE: Definition = Definition {
    infer: |op, cx| {
        attributes!(op, Slice { starts, sizes, steps });
        let x = cx.operand(0);
        if [starts.len(), sizes.len(), steps.len()] != [x.rank(); 3] || steps.contains(&0) {
            return Err(format!("starts, sizes and non-zero steps for every axis of {x}"));
        }
        for (d, ((start, size), step)) in x.shape.iter().zip(starts.iter().zip(sizes).zip(steps)) {
            let (Some(n), Some(start), Some(size)) = (d.known(), start.known(), size.known()) else {
                continue;
            };
            let last = size.checked_sub(1).and_then(|k| k.checked_mul(*step)?.checked_add(start));
            let inside = (0..n).contains(&start) && last.is_some_and(|l| (0..n).contains(&l));
            if size > 0 && !inside {
                return Err(format!("{size} elements from {start} on, step {step}, of {n}"));
            }
        }
        Ok(vec![x.with_shape(sizes.clone())])
    },
    eval: |op, operands, types| {
        attributes!(op, Slice { starts, steps });
        let shape = known(&types[0]);
        let from = strides(operands[0].shape());
        if shape.contains(&0) {
            return Ok(vec![Tensor::zeros(types[0].dtype, shape)]);
        }
        let base: usize = starts.iter().zip(&from).map(|(s, f)| size(s) * f).sum();
        let moved: Vec<isize> =
            steps.iter().zip(&from).map(|(s, f)| (*s as isize).wrapping_mul(*f as isize)).collect();
        let indices = walk_signed(&shape, &moved, base as isize).map(|i| i as usize);
        Ok(vec![gathered(&operands[0], shape, indices)])
    },
};

pub(super) const CONCAT: Definition = Definition {
    infer: |op, cx| {
        attributes!(op, Concat { axis });
        let first = cx.operands().first().ok_or("needs an operand")?;
        let axis = first.axis(*axis)?;
        let mut ty = first.clone();
        for t in &cx.operands()[1..] {
            if t.rank() != ty.rank() || t.dtype != ty.dtype {
                return Err(format!("{ty} with {t}"));
            }
            for d in 0..ty.rank() {
                ty.shape[d] =
                    if d == axis { &ty.shape[d] + &t.shape[d] } else { cx.same(&ty.shape[d], &t.shape[d])? };
            }
        }
        Ok(vec![ty])
    },
    eval: |op, operands, types| {
        attributes!(op, Concat { axis });
        let shape = known(&types[0]);
        let axis = types[0].axis(*axis).expect("the type rule should have accepted the axis");
        let outer: usize = shape[..axis].iter().product();
        let width = types[0].dtype.size();
        let mut bytes = Vec::with_capacity(shape.iter().product::<usize>() * width);
        for o in 0..outer {
            for t in operands {
                let run = t.shape()[axis..].iter().product::<usize>() * width;
                bytes.extend_from_slice(&t.bytes()[o * run..(o + 1) * run]);
            }
        }
        Ok(vec![Tensor::new(types[0].dtype, shape, bytes).expect("as many elements as the shape has")])
    },
};

pub(super) const PAD: Definition = Definition {
    infer: |op, cx| {
        attributes!(op, Pad { before, after, mode });
        let x = cx.operand(0);
        if before.len() != x.rank() || after.len() != x.rank() {
            return Err(format!("amounts for every axis of {x}"));
        }
        if cx.operand(1).rank() != 0 || cx.operand(1).dtype != x.dtype {
            return Err(format!("{x} padded with {}", cx.operand(1)));
        }
        let far = |d: &Dim| d.known().is_some_and(|n| n.unsigned_abs() > 1 << 40);
        if before.iter().chain(after).any(far) {
            return Err(format!("{x} padded by {} and {}", list(before), list(after)));
        }
        if *mode != PadMode::Constant && x.shape.iter().any(|d| *d == 0) {
            return Err(format!("{x} has nothing to pad with"));
        }
        let shape = x.shape.iter().zip(before.iter().zip(after)).map(|(d, (b, a))| d + b + a).collect();
        Ok(vec![x.with_shape(shape)])
    },
    eval: |op, operands, types| {
        attributes!(op, Pad { before, mode });
        let shape = known(&types[0]);
        let before: Vec<i64> = before.iter().map(|d| d.known().expect("known amounts")).collect();
        Ok(vec![padded(&operands[0], &operands[1], &before, *mode, shape)])
    },
};

fn padded(x: &Tensor, value: &Tensor, before: &[i64], mode: PadMode, shape: Vec<usize>) -> Tensor {
    let (from, to) = (strides(x.shape()), strides(&shape));
    let (width, count) = (x.dtype().size(), shape.iter().product::<usize>());
    let mut bytes = Vec::with_capacity(count * width);
    for i in 0..count {
        let source = (0..shape.len()).try_fold(0, |sum, d| {
            let at = (i / to[d] % shape[d]) as i64 - before[d];
            Some(sum + inside(at, x.shape()[d] as i64, mode)? as usize * from[d])
        });
        bytes.extend_from_slice(match source {
            Some(s) => &x.bytes()[s * width..(s + 1) * width],
            None => value.bytes(),
        });
    }
    Tensor::new(x.dtype(), shape, bytes).expect("as many elements as the shape has")
}

/// The coordinate in `0..n` that a coordinate outside takes its element from.
fn inside(at: i64, n: i64, mode: PadMode) -> Option<i64> {
    match mode {
        _ if (0..n).contains(&at) => Some(at),
        PadMode::Constant => None,
        PadMode::Edge => Some(at.clamp(0, n - 1)),
        PadMode::Wrap => Some(at.rem_euclid(n)),
        PadMode::Reflect if n == 1 => Some(0),
        PadMode::Reflect => {
            let period = 2 * (n - 1);
            let p = at.rem_euclid(period);
            Some(p.min(period - p))
        }
    }
}

pub(super) const BITCAST: Definition = Definition {
    infer: |op, cx| {
        attributes!(op, Bitcast { to });
        let x = cx.operand(0);
        // A bool takes a byte.
        let width = |t: DType| if t == DType::Bool { 8 } else { t.bits() };
        if width(x.dtype) != width(*to) {
            return Err(format!("the bits of {x} as {to}"));
        }
        Ok(vec![x.with_dtype(*to)])
    },
    eval: |_, x, types| {
        let (ty, bytes) = (&types[0], x[0].bytes());
        let narrow = ty.dtype.bits() < 8;
        if narrow && !ty.dtype.is_float() {
            return Ok(vec![Tensor::from_i64s(ty.dtype, known(ty), bytes.iter().map(|&b| b.into()))]);
        }
        let bytes: Vec<u8> = bytes.iter().map(|&b| if narrow { b & 15 } else { b }).collect();
        Ok(vec![Tensor::new(ty.dtype, known(ty), bytes).map_err(|e| e.to_string())?])
    },
};
