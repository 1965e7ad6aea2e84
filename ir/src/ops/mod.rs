//! The op table: every op of the graph IR is one row of [`table`].
//!
//! `map` rows give a scalar expression of their operands, numpy-broadcast; type rule, reference value and
//! code on every target follow from it. `via` rows name a [`Definition`]: a type rule and a reference
//! value, in one of the files beside this one. From a row come the enum variant, printing and parsing, the
//! builder method that importer, rules and tests use, and the entry of the conformance suite.
pub mod attribute;
mod infer;
#[macro_use]
mod macros;
mod table;
mod trees;

#[macro_use]
mod values;

mod attention;
pub(crate) mod control;
mod conv;
mod deform;
mod detection;
mod gather;
mod images;
mod linear;
mod linear_attention;
mod lists;
mod matmul;
mod movement;
mod norm;
mod order;
mod pool;
mod random;
mod recurrent;
mod reduce;
mod resize;
mod texts;

pub use attribute::{Attribute, Constant};
pub use infer::{Infer, broadcast};
pub use table::{Op, OpBuilder, Row, TABLE};
pub(crate) use values::MAX_ELEMENTS;

use crate::types::Type;
use sardonyx_tensor::{Dim, Tensor};

/// The results of an op from its operands, given the types of the results.
pub type Eval = fn(&Op, &[Tensor], &[Type]) -> Result<Vec<Tensor>, String>;

/// What a `via` op is: its type rule and its reference value.
pub struct Definition {
    /// The types of the results, from the op's attributes and the operand types.
    pub infer: fn(&Op, &mut Infer) -> Result<Vec<Type>, String>,
    /// The results, accumulated in f64, from operands whose shapes the type rule has accepted. All
    /// dimensions in attributes and in the given result types are known. Fails where the elements have no
    /// meaning (an index out of range).
    pub eval: Eval,
}

/// The most results of an op.
const MAX_RESULTS: usize = 1 << 10;

impl Op {
    /// The types of the results. Fails where the type rule does not hold, in words that name the types.
    pub fn infer(&self, cx: &mut Infer) -> Result<Vec<Type>, String> {
        let row = self.row();
        let count = cx.operands().len();
        if count < row.required || (!row.variadic && count > row.required + row.optional) {
            return Err(format!("takes {} operands, got {count}", row.arity()));
        }
        let reference = cx.operands().iter().find(|t| t.dtype.is_reference());
        if let Some(ty) = reference.filter(|_| !self.takes_references(count)) {
            return Err(format!("{} is not defined on {ty}", self.name()));
        }
        let types = match (self.definition(), self.scalar()) {
            (Some(d), _) => (d.infer)(self, cx)?,
            (None, Some(f)) => {
                let dtypes: Vec<_> = cx.operands().iter().map(|t| t.dtype).collect();
                vec![Type { dtype: f.result(&dtypes)?, shape: cx.broadcast_all()? }]
            }
            (None, None) => panic!("bug: {} has neither a definition nor an expression", self.name()),
        };
        if types.len() > MAX_RESULTS {
            return Err(format!("{} results", types.len()));
        }
        let made = types.iter().find(|t| t.dtype.is_reference());
        let may = reference.is_some() || self.is_of_references() || matches!(self, Op::Const { .. });
        if let Some(ty) = made.filter(|_| !may && self.regions().is_empty()) {
            return Err(format!("{} gives numbers, not {ty}", self.name()));
        }
        let negative = |t: &&Type| t.shape.iter().any(|d| d.provably_le(-1));
        match types.iter().find(negative) {
            Some(t) => Err(format!("the result {t} of {} has a negative size", cx.listed())),
            None => Ok(types),
        }
    }

    /// Whether operands may be texts and lists: the op moves elements, has regions, or is pointwise, where the
    /// rules of the primitives decide, or its own type rule does.
    fn takes_references(&self, count: usize) -> bool {
        self.row().pointwise
            || self.is_of_references()
            || self.moved_operands(count).is_some()
            || !self.regions().is_empty()
    }

    /// Calls `f` with every symbolic dimension in the attributes, regions left alone.
    pub fn visit_dims(&self, f: &mut dyn FnMut(&Dim)) {
        let visit = &mut |d: &Dim| {
            f(d);
            d.clone()
        };
        if self.regions().is_empty() {
            return self.clone().map_dims(visit);
        }
        // A region is not worth a copy.
        if let Op::If { types, .. } | Op::Loop { types, .. } = self {
            types.clone().map_dims(visit);
        }
    }

    /// Whether the elements of the operands decide the sizes of the results; attributes name them.
    pub fn sizes_are_found(&self) -> bool {
        matches!(
            self,
            Op::NonZero { .. }
                | Op::Unique { .. }
                | Op::Nms { .. }
                | Op::TimeWarp { .. }
                | Op::ImageDecode { .. }
        ) || self.text_count().is_some()
            || self.list_item().is_some()
            || !self.regions().is_empty()
    }
}
