//! Determinants and inverses of matrices by elimination with row exchanges: a work item is one matrix.
use super::Special;
use crate::nest::{Buf, Builder, Expr, Ty};
use sardonyx_tensor::{DType, Dim};

const F64: Ty = Ty { dtype: DType::F64, lanes: 1 };

/// Rows of a matrix in scratch memory.
struct Rows<'b> {
    b: &'b Builder,
    buf: Buf,
    /// Rows, of which the first as many columns are brought to the identity.
    n: Dim,
    /// Columns.
    width: Dim,
}

impl<'b> Rows<'b> {
    fn new(b: &'b Builder, n: &Dim, width: Dim) -> Rows<'b> {
        let buf = b.scratch("rows", DType::F64, n * &width);
        Rows { b, buf, n: n.clone(), width }
    }
    fn at(&self, row: Expr<'b>, column: Expr<'b>) -> Expr<'b> {
        row * self.b.dim(&self.width) + column
    }
    fn get(&self, row: Expr<'b>, column: Expr<'b>) -> Expr<'b> {
        self.b.load(self.buf, self.at(row, column))
    }
    fn set(&self, row: Expr<'b>, column: Expr<'b>, value: Expr<'b>) {
        self.b.store(self.buf, self.at(row, column), value);
    }

    /// Brings the left columns to the identity, or to a triangle; the determinant.
    fn eliminate(&self, whole: bool) -> Expr<'b> {
        let b = self.b;
        let determinant = b.var(b.constant(F64, 1.0));
        b.for_(0, &self.n, |column| {
            let (pivot, most) = (b.var(column), b.var(self.get(column, column).abs()));
            b.for_(column + 1, &self.n, |row| {
                let size = self.get(row, column).abs();
                // The last of equal ones, as in the reference.
                let better = size.ge(most.get());
                pivot.update(|p| better.select(row, p));
                most.update(|m| better.select(size, m));
            });
            let (pivot, sign) = (pivot.get(), pivot.get().eq(column).select(b.constant(F64, 1.0), -1.0));
            b.for_(column, &self.width, |k| {
                let (upper, lower) = (self.get(column, k), self.get(pivot, k));
                self.set(pivot, k, upper);
                self.set(column, k, lower);
            });
            let scale = self.get(column, column);
            determinant.update(|d| d * scale * sign);
            b.for_(column, &self.width, |k| {
                let k = b.dim(&self.width) - 1 - (k - column);
                self.set(column, k, scale.eq(0.0).select(b.constant(F64, 0.0), self.get(column, k) / scale));
            });
            b.for_(if whole { b.int(0) } else { column + 1 }, &self.n, |row| {
                b.if_(row.ne(column), || {
                    let factor = self.get(row, column);
                    b.for_(column, &self.width, |k| {
                        self.set(row, k, self.get(row, k) - factor * self.get(column, k));
                    });
                });
            });
        });
        determinant.get()
    }
}

/// The first element of the work item's matrix, and the number of rows.
fn matrix<'b>(s: &'b Special<'_>) -> (Expr<'b>, Dim) {
    let shape = &s.operands[0].shape;
    let n = shape[shape.len() - 1].clone();
    (s.b.grid() * s.b.dim(&(&n * &n)), n)
}

pub(super) fn det(s: &Special<'_>) -> Dim {
    let b = &s.b;
    let (first, n) = matrix(s);
    let rows = Rows::new(b, &n, n.clone());
    b.for_(0, &(&n * &n), |i| {
        b.store(rows.buf, i, b.load(s.inputs[0], first + i).cast(DType::F64));
    });
    let determinant = rows.eliminate(false);
    b.store(s.outputs[0], b.grid(), determinant.cast(Ty::of(s.results[0].dtype).dtype));
    s.results[0].elements()
}

/// The rows beside the identity; NaN where a matrix has no inverse.
pub(super) fn inverse(s: &Special<'_>) -> Dim {
    let b = &s.b;
    let (first, n) = matrix(s);
    let rows = Rows::new(b, &n, &n * 2);
    let size = b.dim(&n);
    b.for_(0, &n, |i| {
        b.for_(0, &n, |j| {
            rows.set(i, j, b.load(s.inputs[0], first + i * size + j).cast(DType::F64));
            rows.set(i, size + j, i.eq(j).select(b.constant(F64, 1.0), 0.0));
        });
    });
    let singular = rows.eliminate(true).eq(0.0);
    b.for_(0, &n, |i| {
        b.for_(0, &n, |j| {
            let value = singular.select(b.constant(F64, f64::NAN), rows.get(i, size + j));
            b.store(s.outputs[0], first + i * size + j, value.cast(Ty::of(s.results[0].dtype).dtype));
        });
    });
    Dim::product(&s.results[0].shape[..s.results[0].rank() - 2])
}
