//! Copies a matrix so that its rows become columns, in squares of a vector's size where its rows are
//! contiguous.
use super::tile::transposed;
use crate::nest::{Buf, Builder, Expr, LoopKind};

/// A matrix to be copied to `to[column][row]`.
pub struct Transpose<'a, 'b> {
    /// The builder.
    pub b: &'b Builder,
    /// The matrix.
    pub from: Buf,
    /// Where a row begins.
    pub row: &'a dyn Fn(Expr<'b>) -> Expr<'b>,
    /// The distance of the elements of a row.
    pub stride: Expr<'b>,
    /// Rows that exist; the columns of others hold anything.
    pub rows: Expr<'b>,
    /// Columns.
    pub columns: Expr<'b>,
    /// What is stored of an element or a vector of elements.
    pub map: &'a dyn Fn(Expr<'b>) -> Expr<'b>,
    /// The result; it needs room for as many columns as fill whole vectors.
    pub to: Buf,
    /// The distance of columns in `to`: at least the rows that fill whole vectors.
    pub width: i64,
    /// Elements in a vector.
    pub lanes: u32,
}

impl<'b> Transpose<'_, 'b> {
    /// Copies.
    pub fn copy(&self) {
        if self.stride.as_int() == Some(1) { self.squares() } else { self.elements() }
    }

    fn squares(&self) {
        let (b, lanes) = (self.b, i64::from(self.lanes));
        let last = self.rows - 1;
        b.for_step(LoopKind::Serial, 0, self.rows, lanes, |i| {
            let rows: Vec<Expr<'b>> = (0..lanes).map(|l| (self.row)((i + l).min(last))).collect();
            b.for_step(LoopKind::Serial, 0, self.columns, lanes, |j| {
                let mask = b.first_lanes(self.columns - j, self.lanes);
                let square =
                    rows.iter().map(|r| (self.map)(b.load_masked(self.from, *r + j, mask))).collect();
                for (l, column) in transposed(b, square).into_iter().enumerate() {
                    b.store(self.to, (j + l as i64) * self.width + i, column);
                }
            });
        });
    }

    fn elements(&self) {
        let b = self.b;
        b.for_(0, self.rows, |i| {
            let row = (self.row)(i);
            b.vectorize(0, self.columns, |j| {
                b.store(self.to, j * self.width + i, (self.map)(b.load(self.from, row + j * self.stride)));
            });
        });
    }
}
