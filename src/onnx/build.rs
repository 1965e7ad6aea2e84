//! Building in the graph: single ops, and the short compositions that many import functions share.
use super::context::{Built, Context};
use super::error::invalid;
use sardonyx_ir::ops::attribute::Reduction;
use sardonyx_ir::{Op, Value, interp};
use sardonyx_tensor::{DType, Dim, Tensor};

/// The most elements of a value that is computed while importing.
const MAX_FOLDED: usize = 4096;

macro_rules! unary { ($($name:ident $Op:ident),*) => { $(
    #[allow(missing_docs)]
    pub fn $name(&mut self, x: Value) -> Built { self.add(Op::$Op {}, &[x]) }
)* } }
macro_rules! binary { ($($name:ident $Op:ident),*) => { $(
    #[allow(missing_docs)]
    pub fn $name(&mut self, a: Value, b: Value) -> Built { self.add(Op::$Op {}, &[a, b]) }
)* } }

impl Context<'_> {
    unary!(neg Neg, abs Abs, sqrt Sqrt, exp Exp, log Log, round Round, not Not, sin Sin, cos Cos);
    binary!(plus Add, minus Sub, times Mul, over Div, modulo Mod, pow Pow, min Min, max Max, eq Eq, lt Lt, le Le, gt Gt,
            ge Ge, and And);

    /// A new node. Small results of constants are computed at once, so that what follows sees their values.
    pub fn add(&mut self, op: Op, operands: &[Value]) -> Built {
        let v = self.importer.scope.graph_mut().add(op, operands)?;
        Ok(self.folded(v).unwrap_or(v))
    }

    fn folded(&mut self, v: Value) -> Option<Value> {
        let g = self.g();
        let node = g.node(v.node);
        let small = |n: &Vec<usize>| {
            n.iter().try_fold(1usize, |a, &b| a.checked_mul(b)).is_some_and(|n| n <= MAX_FOLDED)
        };
        if node.types.len() != 1 || !node.op.regions().is_empty() || matches!(node.op, Op::Const { .. }) {
            return None;
        }
        node.types[0].sizes().filter(small)?;
        let operands: Option<Vec<Tensor>> = g.operands(v.node).map(|o| g.const_value(o).cloned()).collect();
        let operands = operands?;
        let mut known = operands.iter().all(|t| small(&t.shape().to_vec()));
        let mut op = node.op.clone();
        op.map_dims(&mut |d| {
            known &= d.is_known();
            d.clone()
        });
        let mut results = known.then(|| interp::eval_op(&op, &operands).ok())??;
        Some(self.importer.scope.graph_mut().constant(results.remove(0)))
    }

    /// A constant.
    pub fn constant(&mut self, t: Tensor) -> Value {
        self.importer.scope.graph_mut().constant(t)
    }
    /// A constant without dimensions.
    pub fn scalar(&mut self, dtype: DType, x: f64) -> Value {
        self.constant(Tensor::from_f64s(dtype, [], [x]))
    }
    /// A constant i64 without dimensions.
    pub fn int_scalar(&mut self, x: i64) -> Value {
        self.constant(Tensor::scalar(x))
    }
    /// A constant without dimensions, of the element type of another value.
    pub fn like(&mut self, v: Value, x: f64) -> Value {
        let dtype = self.dtype(v);
        self.scalar(dtype, x)
    }
    /// A constant list of integers.
    pub fn int_list(&mut self, values: &[i64]) -> Value {
        self.constant(Tensor::from_slice([values.len()], values))
    }
    /// Symbolic values as an i64 tensor of rank 1.
    pub fn dims(&mut self, values: Vec<Dim>) -> Built {
        self.add(Op::Dims { values }, &[])
    }
    /// A symbolic value without dimensions, in an element type.
    pub fn dim(&mut self, value: Dim, dtype: DType) -> Built {
        let list = self.dims(vec![value])?;
        let scalar = self.reshape(list, Vec::new())?;
        self.cast(scalar, dtype)
    }
    /// Sum with a number.
    pub fn plus_number(&mut self, v: Value, x: f64) -> Built {
        let x = self.like(v, x);
        self.plus(v, x)
    }
    /// Product with a number.
    pub fn times_number(&mut self, v: Value, x: f64) -> Built {
        let x = self.like(v, x);
        self.times(v, x)
    }
    /// `a` where `c` holds, else `b`.
    pub fn select(&mut self, c: Value, a: Value, b: Value) -> Built {
        self.add(Op::Select {}, &[c, a, b])
    }
    /// The value in an element type.
    pub fn cast(&mut self, v: Value, to: DType) -> Built {
        if self.dtype(v) == to { Ok(v) } else { self.add(Op::Cast { to }, &[v]) }
    }
    /// The value in a shape of as many elements.
    pub fn reshape(&mut self, v: Value, shape: Vec<Dim>) -> Built {
        if self.g().ty(v).shape == shape { Ok(v) } else { self.add(Op::Reshape { shape }, &[v]) }
    }
    /// The value broadcast to a shape.
    pub fn expand(&mut self, v: Value, shape: Vec<Dim>) -> Built {
        if self.g().ty(v).shape == shape { Ok(v) } else { self.add(Op::Expand { shape }, &[v]) }
    }
    /// The value with its axes in another order.
    pub fn transpose(&mut self, v: Value, perm: &[usize]) -> Built {
        if perm.iter().copied().eq(0..self.rank(v)) {
            return Ok(v);
        }
        self.add(Op::Transpose { perm: perm.iter().map(|&p| p as i64).collect() }, &[v])
    }
    /// New axes of size 1 at these places of the result.
    pub fn unsqueeze(&mut self, v: Value, axes: &[usize]) -> Built {
        let mut shape = self.shape(v);
        let mut sorted = axes.to_vec();
        sorted.sort_unstable();
        for axis in sorted {
            if axis > shape.len() {
                return invalid(format!("no axis {axis} can be added to rank {}", shape.len()));
            }
            shape.insert(axis, Dim::ONE);
        }
        self.reshape(v, shape)
    }
    /// Without these axes, which have size 1.
    pub fn squeeze(&mut self, v: Value, axes: &[usize]) -> Built {
        let shape = self.shape(v);
        let kept = shape.iter().enumerate().filter(|(i, _)| !axes.contains(i)).map(|(_, d)| d.clone());
        let kept = kept.collect();
        self.reshape(v, kept)
    }
    /// The value without dimensions, if it has one element.
    pub fn as_scalar(&mut self, v: Value) -> Built {
        self.reshape(v, Vec::new())
    }
    /// `size` elements of one axis from `start` on, every `step`-th.
    pub fn slice_axis(&mut self, v: Value, axis: usize, start: Dim, size: Dim, step: i64) -> Built {
        let mut sizes = self.shape(v);
        if axis >= sizes.len() {
            return invalid(format!("{} has no axis {axis}", self.ty(v)));
        }
        if start == 0 && step == 1 && sizes[axis] == size {
            return Ok(v);
        }
        let mut starts = vec![Dim::ZERO; sizes.len()];
        let mut steps = vec![1; sizes.len()];
        (starts[axis], sizes[axis], steps[axis]) = (start, size, step);
        self.add(Op::Slice { starts, sizes, steps }, &[v])
    }
    /// Element `index` of one axis, which goes away.
    pub fn pick(&mut self, v: Value, axis: usize, index: i64) -> Built {
        let one = self.slice_axis(v, axis, Dim::from(index), Dim::ONE, 1)?;
        self.squeeze(one, &[axis])
    }
    /// One after the other along an axis.
    pub fn concat(&mut self, parts: &[Value], axis: usize) -> Built {
        match parts {
            [one] => Ok(*one),
            _ => self.add(Op::Concat { axis: axis as i64 }, parts),
        }
    }
    /// 0, 1, … along one axis of a tensor of `rank` dimensions, of which the others have size 1.
    pub fn iota(&mut self, count: Dim, dtype: DType, axis: usize, rank: usize) -> Built {
        let v = self.add(Op::Iota { count: count.clone(), to: dtype }, &[])?;
        let mut shape = vec![Dim::ONE; rank];
        if rank > 0 {
            shape[axis] = count;
        }
        self.reshape(v, shape)
    }
    /// Reduces over axes, which stay as 1.
    pub fn reduce_sum(&mut self, v: Value, axes: &[usize]) -> Built {
        self.add(Op::ReduceSum { axes: signed(axes) }, &[v])
    }
    /// As [`Context::reduce_sum`].
    pub fn reduce_mean(&mut self, v: Value, axes: &[usize]) -> Built {
        self.add(Op::ReduceMean { axes: signed(axes) }, &[v])
    }
    /// As [`Context::reduce_sum`].
    pub fn reduce_max(&mut self, v: Value, axes: &[usize]) -> Built {
        self.add(Op::ReduceMax { axes: signed(axes) }, &[v])
    }
    /// Names the elements of an integer list that only the run knows.
    pub fn bound(&mut self, list: Value, count: usize) -> Built<Vec<Dim>> {
        if let Some(dims) = self.dims_of(list) {
            return Ok(dims);
        }
        let list = self.cast(list, DType::I64)?;
        let list = self.reshape(list, vec![Dim::from(count)])?;
        let dims: Vec<Dim> = (0..count).map(|_| self.importer.symbol()).collect();
        self.add(Op::Bind { dims: dims.clone() }, &[list])?;
        Ok(dims)
    }
    /// How a scatter combines, by ONNX's name.
    pub fn reduction(&self, name: &str) -> Built<Reduction> {
        match name {
            "none" => Ok(Reduction::Replace),
            _ => Reduction::from_name(name).ok_or_else(|| format!("unknown reduction `{name}`").into()),
        }
    }
}

/// Axes as the IR's attributes have them.
pub(crate) fn signed(axes: &[usize]) -> Vec<i64> {
    axes.iter().map(|&a| a as i64).collect()
}
