//! How the results of a tile reach memory: through the epilogue's function, in registers, or where the
//! function is long or the layout awkward, in loops over a copy of the tile in scratch memory.
use super::tile::{Shape, Tile};
use crate::kernel::contract::{Access, Epilogue};
use crate::nest::{Buf, Builder, Expr, register_dtype};
use sardonyx_ir::scalar::{Node, Prim, Scalar};
use sardonyx_tensor::{DType, Dim};
use std::rc::Rc;

/// Functions of at most this many primitives are computed in registers, once for each vector of a tile.
const LIGHT: usize = 8;

/// The buffers of a kernel, by argument number.
pub struct Args(Vec<Buf>);

impl Args {
    /// Declares the arguments of these accesses, which number them without gaps: inputs, then outputs.
    pub fn declare(b: &Builder, inputs: &[(usize, DType)], outputs: &[(usize, DType)]) -> Args {
        let count = inputs.iter().chain(outputs).map(|a| a.0 + 1).max().unwrap_or(0);
        let buf = |arg: usize| {
            let find = |list: &[(usize, DType)]| list.iter().find(|a| a.0 == arg).map(|a| a.1);
            match (find(outputs), find(inputs)) {
                (Some(dtype), _) => b.output(&format!("arg{arg}"), dtype),
                (None, Some(dtype)) => b.input(&format!("arg{arg}"), dtype),
                (None, None) => panic!("bug: argument {arg} of a kernel is not used"),
            }
        };
        Args((0..count).map(buf).collect())
    }

    /// The buffer of an argument.
    pub fn buf(&self, arg: usize) -> Buf {
        self.0[arg]
    }
}

/// The index of an access' element.
pub fn index<'b>(b: &'b Builder, access: &Access, at: &[Expr<'b>]) -> Expr<'b> {
    let terms = access.strides.iter().zip(at).filter(|(s, _)| **s != 0);
    terms.fold(b.dim(&access.offset), |sum, (stride, &i)| sum + i * b.dim(stride))
}

/// How an element's place depends on its column.
#[derive(Clone)]
pub enum Column<'b> {
    /// Not at all.
    Same,
    /// Neighbouring columns stand side by side.
    Contiguous,
    /// Any other way: the distance from column 0.
    Map(Rc<dyn Fn(Expr<'b>) -> Expr<'b> + 'b>),
}

impl<'b> Column<'b> {
    /// Columns `stride` apart.
    pub fn stride(b: &'b Builder, stride: &Dim) -> Column<'b> {
        match stride.known() {
            Some(0) => Column::Same,
            Some(1) => Column::Contiguous,
            _ => {
                let stride = stride.clone();
                Column::Map(Rc::new(move |j| j * b.dim(&stride)))
            }
        }
    }

    fn offset(&self, j: Expr<'b>) -> Option<Expr<'b>> {
        match self {
            Column::Same => None,
            Column::Contiguous => Some(j),
            Column::Map(f) => Some(f(j)),
        }
    }
}

/// The elements of a buffer that meet those of a matrix of results.
#[derive(Clone)]
pub struct View<'b> {
    /// The buffer.
    pub buf: Buf,
    /// Where row 0, column 0 stands.
    pub base: Expr<'b>,
    /// The distance between rows.
    pub row: Expr<'b>,
    /// The columns.
    pub column: Column<'b>,
}

impl<'b> View<'b> {
    /// The matrix of the last two indices of an access, the others fixed.
    pub fn matrix(b: &'b Builder, args: &Args, access: &Access, leading: &[Expr<'b>]) -> View<'b> {
        let rank = access.strides.len();
        let column = Column::stride(b, &access.strides[rank - 1]);
        View {
            buf: args.buf(access.arg),
            base: index(b, access, leading),
            row: b.dim(&access.strides[rank - 2]),
            column,
        }
    }

    fn index(&self, i: Expr<'b>, j: Expr<'b>) -> Expr<'b> {
        let row = self.base + i * self.row;
        self.column.offset(j).map_or(row, |j| row + j)
    }
}

/// Where a tile stands in the matrix of results, and how much of it exists.
pub struct Spot<'b> {
    /// The first row.
    pub row: Expr<'b>,
    /// The first column.
    pub column: Expr<'b>,
    /// Rows from the first on that exist, unless all do.
    pub rows: Option<Expr<'b>>,
    /// Columns from the first on that exist, unless all do.
    pub columns: Option<Expr<'b>>,
}

/// Writes tiles through an epilogue.
pub struct Writer<'a, 'b> {
    b: &'b Builder,
    f: &'a Scalar,
    dtypes: Vec<DType>,
    loads: Vec<View<'b>>,
    out: View<'b>,
    result: DType,
    stage: Option<Buf>,
    /// Which columns are stored, where not all of a tile are; only with an awkward layout.
    pub keep: Option<Rc<dyn Fn(Expr<'b>) -> Expr<'b> + 'b>>,
}

impl<'a, 'b> Writer<'a, 'b> {
    /// Whether a function is so long that it is computed in a loop over the tile.
    pub fn is_heavy(f: &Scalar) -> bool {
        let weight = |n: &Node| match n {
            Node::Prim(
                Prim::Add
                | Prim::Sub
                | Prim::Mul
                | Prim::Min
                | Prim::Max
                | Prim::Neg
                | Prim::Abs
                | Prim::Round
                | Prim::Select,
                _,
            ) => 1,
            Node::Prim(Prim::Lt | Prim::Le | Prim::Eq | Prim::Div, _) => 1,
            Node::Prim(..) => LIGHT + 1,
            _ => 0,
        };
        f.nodes.iter().map(weight).sum::<usize>() > LIGHT
    }

    /// The writer of an epilogue of sums of type `sum`; `view` makes the view of an access. `stage` is
    /// scratch memory for a tile, from [`Writer::stage`].
    pub fn new(
        b: &'b Builder,
        epilogue: &'a Epilogue,
        sum: DType,
        stage: Option<Buf>,
        view: impl Fn(&Access) -> View<'b>,
    ) -> Writer<'a, 'b> {
        let dtypes =
            std::iter::once(sum).chain(epilogue.accesses.iter().map(|a| register_dtype(a.dtype))).collect();
        let loads = epilogue.accesses.iter().map(&view).collect();
        let result = register_dtype(epilogue.out.dtype);
        Writer { b, f: &epilogue.f, dtypes, loads, out: view(&epilogue.out), result, stage, keep: None }
    }

    /// Scratch memory for one tile, where the epilogue needs it: its function is heavy, or some access has
    /// columns that are not side by side.
    pub fn stage(
        b: &Builder,
        epilogue: &Epilogue,
        sum: DType,
        shape: Shape,
        flat: impl Fn(&Access) -> bool,
    ) -> Option<Buf> {
        let awkward = !epilogue.accesses.iter().chain([&epilogue.out]).all(flat);
        (Self::is_heavy(&epilogue.f) || awkward).then(|| b.scratch("tile", sum, shape.rows * shape.width()))
    }

    fn is_flat(&self) -> bool {
        let flat = |v: &View<'b>| !matches!(v.column, Column::Map(_));
        self.loads.iter().all(flat) && matches!(self.out.column, Column::Contiguous)
    }

    /// Stores a tile.
    pub fn write(&self, tile: &Tile<'b>, spot: &Spot<'b>) {
        let (b, shape) = (self.b, tile.shape);
        let Some(stage) = self.stage else { return self.write_registers(tile, spot) };
        tile.spill(b, stage, |r| b.int(r * shape.width()));
        let rows = spot.rows.map_or(b.int(shape.rows), |rows| rows.min(shape.rows));
        if self.is_flat() {
            b.for_(0, rows, |r| {
                b.for_step(crate::nest::LoopKind::Serial, 0, shape.width(), i64::from(shape.lanes), |j| {
                    let mask = spot.columns.map(|n| b.first_lanes(n - j, shape.lanes));
                    let sum = b.load_lanes(stage, r * shape.width() + j, shape.lanes);
                    self.vector(sum, spot.row + r, spot.column + j, mask);
                });
            });
        } else {
            let columns = spot.columns.map_or(b.int(shape.width()), |n| n.min(shape.width()));
            b.for_(0, rows, |r| {
                b.vectorize(0, columns, |j| {
                    let column = spot.column + j;
                    let store = || self.element(b.load(stage, r * shape.width() + j), spot.row + r, column);
                    match &self.keep {
                        Some(keep) => b.if_(keep(column), store),
                        None => store(),
                    }
                });
            });
        }
    }

    fn write_registers(&self, tile: &Tile<'b>, spot: &Spot<'b>) {
        let (b, shape) = (self.b, tile.shape);
        let masks = shape.masks(b, spot.columns);
        for r in 0..shape.rows {
            let row = || {
                for v in 0..shape.vectors {
                    let j = spot.column + v * i64::from(shape.lanes);
                    self.vector(tile.at(r, v).get(), spot.row + r, j, masks[v as usize]);
                }
            };
            match spot.rows {
                Some(rows) if r > 0 => b.if_(rows.gt(r), row),
                _ => row(),
            }
        }
    }

    /// Stores a vector of results of one row.
    pub fn vector(&self, sum: Expr<'b>, i: Expr<'b>, j: Expr<'b>, mask: Option<Expr<'b>>) {
        let (b, lanes) = (self.b, sum.ty().lanes);
        let load = |view: &View<'b>| match (&view.column, mask) {
            (Column::Same, _) => b.load(view.buf, view.index(i, j)).splat(lanes),
            (_, Some(mask)) => b.load_masked(view.buf, view.index(i, j), mask),
            (_, None) => b.load_lanes(view.buf, view.index(i, j), lanes),
        };
        let value = self.value(sum, load).splat(lanes);
        match mask {
            Some(mask) => b.store_masked(self.out.buf, self.out.index(i, j), value, mask),
            None => b.store(self.out.buf, self.out.index(i, j), value),
        }
    }

    /// Stores one result.
    pub fn element(&self, sum: Expr<'b>, i: Expr<'b>, j: Expr<'b>) {
        let value = self.value(sum, |view| self.b.load(view.buf, view.index(i, j)));
        self.b.store(self.out.buf, self.out.index(i, j), value);
    }

    fn value(&self, sum: Expr<'b>, load: impl Fn(&View<'b>) -> Expr<'b>) -> Expr<'b> {
        let args: Vec<Expr<'b>> = std::iter::once(sum).chain(self.loads.iter().map(load)).collect();
        let value = self.b.inline(self.f, &args, &self.dtypes);
        if value.ty().dtype == self.result { value } else { value.cast(self.result) }
    }
}
