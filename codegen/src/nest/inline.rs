//! Scalar functions of the IR written out as nest expressions.
use super::{Builder, Expr, Ty, register_dtype};
use sardonyx_ir::scalar::{Node, Prim, Rule, Scalar};
use sardonyx_tensor::DType;
use std::collections::HashMap;

impl Builder {
    /// The value of `f` on arguments whose elements are of types `dtypes`: `f16` and other narrow floats
    /// are computed in `f32`, and literals take the type of what they meet.
    ///
    /// # Panics
    /// Where a type rule of `f` does not hold.
    pub fn inline<'b>(&'b self, f: &Scalar, args: &[Expr<'b>], dtypes: &[DType]) -> Expr<'b> {
        let types = f.types(dtypes).unwrap_or_else(|e| panic!("bug: {e}"));
        let result = f.result(dtypes).unwrap_or(DType::F32);
        let lanes = args.iter().map(|a| a.ty().lanes).max().unwrap_or(1);
        Inliner { b: self, f, args, types, lanes, done: HashMap::new() }.value(f.root, result)
    }
}

struct Inliner<'a, 'b> {
    b: &'b Builder,
    f: &'a Scalar,
    args: &'a [Expr<'b>],
    types: Vec<Option<DType>>,
    lanes: u32,
    done: HashMap<(usize, DType), Expr<'b>>,
}

impl<'b> Inliner<'_, 'b> {
    /// The value of node `i`; one whose type is still open takes that of `wanted`.
    fn value(&mut self, i: usize, wanted: DType) -> Expr<'b> {
        let dtype = self.types[i].unwrap_or(wanted);
        if let Some(&e) = self.done.get(&(i, dtype)) {
            return e;
        }
        let e = match &self.f.nodes[i] {
            Node::Arg(k) => self.args[*k],
            Node::Num(x) => {
                let ty = Ty { dtype: register_dtype(dtype), lanes: self.lanes };
                self.b.constant(ty, *x)
            }
            Node::Cast(t, a) => {
                let from = self.types[*a].unwrap_or(*t);
                let x = self.value(*a, from);
                if from == *t { x } else { x.cast(*t) }
            }
            Node::Prim(p, args) => {
                let operands = if p.rule() == Rule::Select { &args[1..] } else { &args[..] };
                let open =
                    if matches!(p.rule(), Rule::Compare | Rule::Classify) { DType::F64 } else { dtype };
                let common = operands.iter().find_map(|&a| self.types[a]).unwrap_or(open);
                let mut values: Vec<Expr<'b>> = args.iter().map(|&a| self.value(a, common)).collect();
                if *p == Prim::Select {
                    values[0] = self.value(args[0], DType::Bool);
                }
                let value = self.b.prim(*p, &values);
                // Small integers wrap at every step; narrow floats round at the end only.
                let small = dtype.is_int() && self.types[i].is_some() && dtype != register_dtype(dtype);
                if small { value.cast(dtype) } else { value }
            }
        };
        self.done.insert((i, dtype), e);
        e
    }
}
