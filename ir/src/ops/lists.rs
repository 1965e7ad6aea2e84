//! Ops on lists of tensors: what they compute is `sardonyx_values`, which the runtime calls too.
use super::{Definition, Infer, Op};
use crate::types::Type;
use sardonyx_tensor::{DType, Dim, Tensor};
use sardonyx_values as values;

const LIST_TYPE: fn() -> Type = || Type::scalar(DType::List);

/// Fails unless the first operand is one list.
fn check_list(cx: &Infer) -> Result<(), String> {
    if *cx.operand(0) == LIST_TYPE() { Ok(()) } else { Err(format!("{}: list[] is needed", cx.operand(0))) }
}

/// Fails unless operand `i` is one integer.
fn check_place(cx: &Infer, i: usize) -> Result<(), String> {
    let ty = cx.operand(i);
    if ty.dtype.is_int() && ty.rank() == 0 { Ok(()) } else { Err(format!("{ty}: one place is needed")) }
}

/// Fails unless the item is of the type that the op says.
fn checked(item: Tensor, results: &[Type]) -> Result<Vec<Tensor>, String> {
    let fits = |(d, &n): (&Dim, &usize)| d.known().is_none_or(|d| d == n as i64);
    let ty = &results[0];
    if item.dtype() == ty.dtype && item.rank() == ty.rank() && ty.shape.iter().zip(item.shape()).all(fits) {
        return Ok(vec![item]);
    }
    Err(format!("{}{:?} where {ty} is declared", item.dtype(), item.shape()))
}

pub(super) const LIST: Definition = Definition {
    infer: |_, _| Ok(vec![LIST_TYPE()]),
    eval: |_, x, _| Ok(vec![Tensor::from_list(x.to_vec())]),
};

pub(super) const AT: Definition = Definition {
    infer: |op, cx| {
        attributes!(op, ListAt { to, shape });
        check_list(cx)?;
        check_place(cx, 1)?;
        Ok(vec![Type { dtype: *to, shape: shape.clone() }])
    },
    eval: |_, x, results| checked(values::list_at(&x[0], &x[1])?, results),
};

pub(super) const INSERT: Definition = Definition {
    infer: |_, cx| {
        check_list(cx)?;
        check_place(cx, 2)?;
        Ok(vec![LIST_TYPE()])
    },
    eval: |_, x, _| Ok(vec![values::list_insert(&x[0], &x[1], &x[2])?]),
};

pub(super) const ERASE: Definition = Definition {
    infer: |_, cx| {
        check_list(cx)?;
        check_place(cx, 1)?;
        Ok(vec![LIST_TYPE()])
    },
    eval: |_, x, _| Ok(vec![values::list_erase(&x[0], &x[1])?]),
};

pub(super) const LENGTH: Definition = Definition {
    infer: |_, cx| {
        check_list(cx)?;
        Ok(vec![Type::scalar(DType::I64)])
    },
    eval: |_, x, _| Ok(vec![values::list_length(&x[0])]),
};

pub(super) const CONCAT: Definition = Definition {
    infer: |op, cx| {
        attributes!(op, ListConcat { to, shape });
        check_list(cx)?;
        Ok(vec![Type { dtype: *to, shape: shape.clone() }])
    },
    eval: |op, x, results| {
        attributes!(op, ListConcat { axis, stack });
        checked(values::list_concat(&x[0], *axis, *stack)?, results)
    },
};

pub(super) const SPLIT: Definition = Definition {
    infer: |op, cx| {
        attributes!(op, ListSplit { axis });
        let (x, sizes) = (cx.operand(0), cx.operand(1));
        if !sizes.dtype.is_int() || sizes.rank() > 1 || x.dtype == DType::List {
            return Err(format!("{}: a tensor with a size or a list of sizes is needed", cx.listed()));
        }
        x.axis(*axis)?;
        Ok(vec![LIST_TYPE()])
    },
    eval: |op, x, _| {
        attributes!(op, ListSplit { axis, keep });
        Ok(vec![values::list_split(&x[0], &x[1], *axis, *keep)?])
    },
};

pub(super) const MAPS: Definition = Definition {
    infer: |_, cx| {
        let (keys, rows) = (cx.operand(0), cx.operand(1));
        let lists = [keys, rows].iter().any(|t| t.dtype == DType::List);
        if keys.rank() != 1 || rows.rank() != 2 || lists {
            return Err(format!("{}: keys [n] and rows [m,n] are needed", cx.listed()));
        }
        cx.same(&keys.shape[0].clone(), &rows.shape[1].clone())?;
        Ok(vec![LIST_TYPE()])
    },
    eval: |_, x, _| Ok(vec![values::list_maps(&x[0], &x[1])?]),
};

impl Op {
    /// The shape of an item, whose sizes only the run knows.
    pub(super) fn list_item(&self) -> Option<&[Dim]> {
        match self {
            Op::ListAt { shape, .. } | Op::ListConcat { shape, .. } => Some(shape),
            _ => None,
        }
    }

    /// Whether operands or results are lists by the op's own type rule.
    pub(super) fn is_of_lists(&self) -> bool {
        matches!(
            self,
            Op::ListOf { .. }
                | Op::ListInsert { .. }
                | Op::ListErase { .. }
                | Op::ListLength { .. }
                | Op::ListSplit { .. }
                | Op::ListMaps { .. }
        ) || self.list_item().is_some()
    }
}
