//! Matrix products for libraries, with their sizes.

use sardonyx_tensor::{DType, Dim};

use super::Values;
use crate::manifest::{Matrix, Product};

/// A matrix product with its sizes, all of them positive and small enough for libraries.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct PlannedProduct {
    pub dtype: DType,
    pub out_dtype: DType,
    pub batch: i32,
    pub m: i32,
    pub n: i32,
    pub k: i32,
    /// The operands and the result.
    pub matrices: [PlannedMatrix; 3],
}

/// Where a batch of matrices is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct PlannedMatrix {
    pub arg: usize,
    /// Bytes before the first element.
    pub start: usize,
    /// Bytes up to the end of the last element.
    pub end: usize,
    /// Elements from a row (or column) to the next.
    pub pitch: i32,
    /// Elements from a matrix to the next.
    pub slice: i64,
    pub columns: bool,
}

/// The product with its sizes; `None` where a symbol has no value, or libraries do not take it.
pub(crate) fn resolve(product: &Product, values: &Values) -> Option<PlannedProduct> {
    let size = |dim: &Dim| dim.eval_with(values).ok().and_then(|size| i32::try_from(size).ok());
    let sizes = [&product.batch, &product.m, &product.n, &product.k].map(size);
    let [Some(batch), Some(m), Some(n), Some(k)] = sizes else { return None };
    if [batch, m, n, k].iter().any(|&size| size < 1) || product.out.columns {
        return None;
    }
    let matrix = |matrix: &Matrix, rows: i32, columns: i32, dtype: DType| {
        let (lines, length) = if matrix.columns { (columns, rows) } else { (rows, columns) };
        place(matrix, [batch, lines, length].map(i64::from), dtype.size(), values)
    };
    let a = matrix(&product.a, m, k, product.dtype)?;
    let b = matrix(&product.b, k, n, product.dtype)?;
    let out = matrix(&product.out, m, n, product.out_dtype)?;
    let (dtype, out_dtype) = (product.dtype, product.out_dtype);
    Some(PlannedProduct { dtype, out_dtype, batch, m, n, k, matrices: [a, b, out] })
}

/// Matrices of so many lines of neighbouring elements.
fn place(
    matrix: &Matrix,
    [batch, lines, length]: [i64; 3],
    size: usize,
    values: &Values,
) -> Option<PlannedMatrix> {
    let value = |dim: &Dim| dim.eval_with(values).ok().filter(|&value| value >= 0);
    let (offset, slice) = (value(&matrix.offset)?, value(&matrix.slice)?);
    let pitch = if lines == 1 { length } else { value(&matrix.pitch)? };
    if pitch < length {
        return None;
    }
    let whole = (batch - 1).checked_mul(slice)?.checked_add((lines - 1).checked_mul(pitch)?)?;
    let bytes = |elements: i64| usize::try_from(elements).ok()?.checked_mul(size);
    let end = bytes(offset.checked_add(whole)?.checked_add(length)?)?;
    let (start, pitch) = (bytes(offset)?, i32::try_from(pitch).ok()?);
    Some(PlannedMatrix { arg: matrix.arg, start, end, pitch, slice, columns: matrix.columns })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_those_of_the_last_elements() {
        let matrix = |arg, pitch: i64, columns| {
            let (offset, pitch, slice) = (Dim::from(2), Dim::from(pitch), Dim::from(100));
            Matrix { arg, offset, pitch, slice, columns }
        };
        let mut product = Product {
            dtype: DType::F16,
            out_dtype: DType::F32,
            batch: Dim::from(2),
            m: Dim::symbol("m"),
            n: Dim::from(4),
            k: Dim::from(5),
            a: matrix(0, 6, false),
            b: matrix(1, 5, true),
            out: matrix(2, 4, false),
        };
        let at = |product: &Product, m: i64| resolve(product, &|name| (name == "m").then_some(m));
        let found = at(&product, 3).expect("the sizes should be known");
        assert_eq!(found.matrices.clone().map(|matrix| matrix.start), [4, 4, 8]);
        assert_eq!(
            found.matrices.map(|matrix| matrix.end),
            [(2 + 100 + 12 + 5) * 2, (2 + 100 + 15 + 5) * 2, (2 + 100 + 8 + 4) * 4]
        );
        assert_eq!(resolve(&product, &|_| None), None);
        for m in [0, -1, i64::MAX] {
            assert_eq!(at(&product, m), None);
        }
        product.a.pitch = Dim::from(4);
        assert_eq!(at(&product, 3), None, "rows overlap");
        product.a.pitch = Dim::from(i64::MAX);
        assert_eq!(at(&product, 3), None);
    }
}
