//! Masks whose value at row `i` and column `j` depends on `j - i` only, as causal masks do.
use crate::pattern::number;
use sardonyx_ir::ops::Op;
use sardonyx_ir::{Graph, Value};
use sardonyx_tensor::{DType, Dim, Tensor};

/// A bool tensor that is `j <= i + offset` in its last two axes, `i` and `j`; or the opposite.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Band {
    /// Whether it is that, and not the opposite.
    pub lower: bool,
    pub offset: Dim,
}

/// The band that a bool value is.
pub(super) fn band(g: &Graph, v: Value) -> Option<Band> {
    let operand = |i| g.operand(v.node, i);
    match g.op(v) {
        Op::Reshape { .. } | Op::Expand { .. } => {
            same_matrix(g, v, operand(0)).then(|| band(g, operand(0)))?
        }
        Op::Not {} => band(g, operand(0)).map(|b| Band { lower: !b.lower, ..b }),
        Op::Le {} => below(line(g, operand(0))?.minus(&line(g, operand(1))?)),
        Op::Ge {} => below(line(g, operand(1))?.minus(&line(g, operand(0))?)),
        Op::Lt {} => below(line(g, operand(0))?.minus(&line(g, operand(1))?).plus_number(1)),
        Op::Gt {} => below(line(g, operand(1))?.minus(&line(g, operand(0))?).plus_number(1)),
        Op::Slice { starts, steps, .. } => {
            let [.., row, column] = &starts[..] else { return None };
            let inner = band(g, operand(0)).filter(|_| steps.iter().all(|s| *s == 1))?;
            Some(Band { offset: inner.offset + row - column, ..inner })
        }
        Op::Const { value } if value.tensor().dtype() == DType::Bool => of_constant(value.tensor()),
        _ => None,
    }
}

/// Whether the last two axes are those of the operand.
fn same_matrix(g: &Graph, v: Value, operand: Value) -> bool {
    let (a, b) = (&g.ty(v).shape, &g.ty(operand).shape);
    a.len() >= 2 && b.len() >= 2 && a[a.len() - 2..] == b[b.len() - 2..]
}

/// Where `x <= 0`.
fn below(x: Line) -> Option<Band> {
    match (x.row, x.column) {
        (-1, 1) => Some(Band { lower: true, offset: -x.constant }),
        (1, -1) => Some(Band { lower: false, offset: x.constant - 1 }),
        _ => None,
    }
}

/// The band where a float mask is 0, if it is at most `hidden` elsewhere.
pub(super) fn band_of_numbers(t: &Tensor, hidden: f64) -> Option<Band> {
    let numbers = t.to_f64s();
    let plain = numbers.iter().all(|&x| x == 0.0 || x <= hidden);
    let seen = || numbers.iter().map(|&x| f64::from(u8::from(x == 0.0)));
    plain.then(|| of_constant(&Tensor::from_f64s(DType::Bool, t.shape(), seen())))?
}

fn of_constant(t: &Tensor) -> Option<Band> {
    let [leading @ .., rows, columns] = t.shape() else { return None };
    if leading.iter().any(|&n| n != 1) || *columns == 0 {
        return None;
    }
    let first = t.bytes().first()?;
    let same = |row: &[u8]| row.iter().take_while(|x| *x == first).count();
    let lengths: Vec<usize> = t.bytes().chunks_exact(*columns).map(same).collect();
    // A row that begins as all rows do and ends otherwise says where the border is.
    let row = lengths.iter().position(|&n| n > 0 && n < *columns)?;
    let offset = lengths[row] as i64 - 1 - row as i64;
    let lower = *first != 0;
    let holds = (0..*rows).all(|i| {
        (0..*columns).all(|j| (t.bytes()[i * columns + j] != 0) == ((j as i64 <= i as i64 + offset) == lower))
    });
    holds.then(|| Band { lower, offset: offset.into() })
}

/// An integer tensor that is `row * i + column * j + constant`.
#[derive(Clone, Debug)]
struct Line {
    row: i64,
    column: i64,
    constant: Dim,
}

impl Line {
    fn constant(constant: Dim) -> Line {
        Line { row: 0, column: 0, constant }
    }
    fn plus(&self, other: &Line) -> Line {
        let constant = &self.constant + &other.constant;
        Line { row: self.row + other.row, column: self.column + other.column, constant }
    }
    fn minus(&self, other: &Line) -> Line {
        self.plus(&Line { row: -other.row, column: -other.column, constant: -&other.constant })
    }
    fn plus_number(mut self, n: i64) -> Line {
        self.constant += n;
        self
    }
}

fn line(g: &Graph, v: Value) -> Option<Line> {
    if let Some([constant]) = g.fact(v).map(Vec::as_slice) {
        return Some(Line::constant(constant.clone()));
    }
    if let Some(x) = number(g, v).filter(|x| x.fract() == 0.0 && x.abs() < 1e15) {
        return Some(Line::constant((x as i64).into()));
    }
    let operand = |i| g.operand(v.node, i);
    match g.op(v) {
        Op::Iota { .. } => Some(Line { row: 0, column: 1, constant: Dim::ZERO }),
        Op::Add {} => Some(line(g, operand(0))?.plus(&line(g, operand(1))?)),
        Op::Sub {} => Some(line(g, operand(0))?.minus(&line(g, operand(1))?)),
        Op::Neg {} => Some(Line::constant(Dim::ZERO).minus(&line(g, operand(0))?)),
        Op::Cast { to } if *to != DType::Bool => line(g, operand(0)),
        Op::Expand { .. } => line(g, operand(0)),
        Op::Reshape { .. } => {
            let inner = line(g, operand(0))?;
            let (from, to) = (long_axis(g, operand(0))?, long_axis(g, v)?);
            let coefficient = if from == 1 { inner.column } else { inner.row };
            let (row, column) = if to == 1 { (0, coefficient) } else { (coefficient, 0) };
            Some(Line { row, column, constant: inner.constant })
        }
        Op::Const { value } => {
            let all = value.tensor().to_i64s();
            let even = value.tensor().dtype().is_int() && all.windows(2).all(|p| p[1] - p[0] == 1);
            let column = (even && all.len() > 1).then(|| long_axis(g, v))??;
            let (row, column) = if column == 1 { (0, 1) } else { (1, 0) };
            Some(Line { row, column, constant: all[0].into() })
        }
        _ => None,
    }
}

/// If one axis at most is longer than 1 and it is the last or the one before: 1 for the last, else 0.
fn long_axis(g: &Graph, v: Value) -> Option<usize> {
    let shape = &g.ty(v).shape;
    let mut long = (0..shape.len()).filter(|&i| shape[i] != Dim::ONE);
    let axis = long.next()?;
    let from_end = shape.len() - axis;
    (long.next().is_none() && from_end <= 2).then_some(2 - from_end)
}
