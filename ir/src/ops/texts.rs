//! Ops on texts: what they compute is `sardonyx_values`, which the runtime calls too.
use super::attribute::LetterCase;
use super::{Definition, Infer, Op};
use crate::types::Type;
use sardonyx_tensor::{DType, Dim};
use sardonyx_values as values;

/// Fails unless the operands from `first` on are texts.
fn check_texts(cx: &Infer, first: usize) -> Result<(), String> {
    match cx.operands()[first..].iter().find(|t| t.dtype != DType::String) {
        Some(_) => Err(format!("{}: texts are needed", cx.listed())),
        None => Ok(()),
    }
}

/// Fails unless operand 1 is one text.
fn check_one_text(cx: &Infer) -> Result<(), String> {
    check_texts(cx, 0)?;
    if cx.operand(1).rank() == 0 { Ok(()) } else { Err(format!("{}: string[] is needed", cx.operand(1))) }
}

pub(super) const CONCAT: Definition = Definition {
    infer: |_, cx| {
        check_texts(cx, 0)?;
        Ok(vec![Type { dtype: DType::String, shape: cx.broadcast_all()? }])
    },
    eval: |_, x, _| Ok(vec![values::concat(&x[0], &x[1])?]),
};

pub(super) const SPLIT: Definition = Definition {
    infer: |op, cx| {
        attributes!(op, TextSplit { width });
        check_one_text(cx)?;
        let counts = cx.operand(0).with_dtype(DType::I64);
        let shape = [counts.shape.clone(), vec![width.clone()]].concat();
        Ok(vec![Type { dtype: DType::String, shape }, counts])
    },
    eval: |op, x, _| {
        attributes!(op, TextSplit { most });
        Ok(values::split(&x[0], x[1].texts()[0], *most).into())
    },
};

pub(super) const MATCH: Definition = Definition {
    infer: |_, cx| {
        check_one_text(cx)?;
        Ok(vec![cx.operand(0).with_dtype(DType::Bool)])
    },
    eval: |_, x, _| Ok(vec![values::matches(&x[0], x[1].texts()[0])?]),
};

pub(super) const NORMALIZE: Definition = Definition {
    infer: |op, cx| {
        attributes!(op, TextNormalize { count });
        check_texts(cx, 0)?;
        let (x, stops) = (cx.operand(0), cx.operand(1));
        let rows = x.rank() == 1 || (x.rank() == 2 && x.shape[0] == 1);
        if !rows || stops.rank() != 1 {
            return Err(format!("{}: string[n] or string[1,n] with string[m] is needed", cx.listed()));
        }
        let mut ty = x.clone();
        ty.shape[x.rank() - 1] = count.clone();
        Ok(vec![ty])
    },
    eval: |op, x, _| {
        attributes!(op, TextNormalize { case, exact });
        let case = match case {
            LetterCase::Same => values::Case::Same,
            LetterCase::Lower => values::Case::Lower,
            LetterCase::Upper => values::Case::Upper,
        };
        Ok(vec![values::normalize(&x[0], &x[1], case, *exact)?])
    },
};

pub(super) const TOKENS: Definition = Definition {
    infer: |op, cx| {
        attributes!(op, TextTokens { width });
        check_texts(cx, 0)?;
        if (cx.operand(1).rank(), cx.operand(2).rank()) != (1, 0) {
            return Err(format!("{}: patterns [n] and one text are needed", cx.listed()));
        }
        let shape = [cx.operand(0).shape.clone(), vec![width.clone()]].concat();
        Ok(vec![Type { dtype: DType::String, shape }])
    },
    eval: |op, x, _| {
        attributes!(op, TextTokens { between, least, mark });
        let least = usize::try_from(*least).unwrap_or(0);
        let how = values::Tokens { between: *between, least, mark: *mark };
        Ok(vec![values::tokens(&x[0], &x[1].texts(), x[2].texts()[0], how)?])
    },
};

pub(super) const OF_NUMBER: Definition = Definition {
    infer: |_, cx| {
        let x = cx.operand(0);
        if x.dtype.is_reference() {
            return Err(format!("{x}: numbers are needed"));
        }
        Ok(vec![x.with_dtype(DType::String)])
    },
    eval: |_, x, _| Ok(vec![values::print(&x[0])]),
};

pub(super) const TO_NUMBER: Definition = Definition {
    infer: |op, cx| {
        attributes!(op, NumberOf { to });
        check_texts(cx, 0)?;
        if to.is_reference() || *to == DType::Bool {
            return Err(format!("a text as a number of type {to}"));
        }
        Ok(vec![cx.operand(0).with_dtype(*to)])
    },
    eval: |op, x, _| {
        attributes!(op, NumberOf { to });
        Ok(vec![values::parse(&x[0], *to)?])
    },
};

pub(super) const LOOKUP: Definition = Definition {
    infer: |_, cx| {
        let [x, keys, found, default] = cx.operands() else { return Err("takes 4 operands".into()) };
        let fits = x.dtype == keys.dtype && found.dtype == default.dtype && x.dtype != DType::List;
        let ranks = (keys.rank(), found.rank(), default.rank()) == (1, 1, 0);
        if !fits || !ranks || found.dtype == DType::List {
            return Err(format!("{}: keys [n] of the type of x, values [n] and one default", cx.listed()));
        }
        let dtype = found.dtype;
        cx.same(&keys.shape[0].clone(), &found.shape[0].clone())?;
        Ok(vec![cx.operand(0).with_dtype(dtype)])
    },
    eval: |_, x, _| Ok(vec![values::lookup(&x[0], &x[1], &x[2], &x[3])?]),
};

impl Op {
    /// The size that the texts decide: how many a split or normalization gives.
    pub(super) fn text_count(&self) -> Option<&Dim> {
        match self {
            Op::TextSplit { width, .. } | Op::TextTokens { width, .. } => Some(width),
            Op::TextNormalize { count, .. } => Some(count),
            _ => None,
        }
    }

    /// Whether operands or results are texts or lists by the op's own type rule.
    pub(super) fn is_of_references(&self) -> bool {
        self.is_of_lists()
            || matches!(
                self,
                Op::TextConcat { .. }
                    | Op::TextMatch { .. }
                    | Op::NumberOf { .. }
                    | Op::TextOf { .. }
                    | Op::Lookup { .. }
            )
            || self.text_count().is_some()
    }
}
