//! The element types of ONNX's operators: a case of each operator again in every type that its newest version takes.
use super::case::Case;
use super::table::{Operator, Table};
use sardonyx_tensor::DType::{
    self, BF16, F8E4M3FN, F8E4M3FNUZ, F8E5M2, F8E5M2FNUZ, F16, F32, F64, I2, I4, I8, I16, I32, I64, U2, U4,
    U8, U16, U32, U64,
};
use std::collections::BTreeSet;

/// Names for types that often come together.
const GROUPS: &[(&str, &[DType])] = &[
    ("float", &[F16, F32, F64]),
    ("int", &[I8, I16, I32, I64]),
    ("uint", &[U8, U16, U32, U64]),
    ("f8", &[F8E4M3FN, F8E4M3FNUZ, F8E5M2, F8E5M2FNUZ]),
    ("int2…4", &[I2, U2, I4, U4]),
];

/// What the names stand for.
pub fn legend() -> String {
    let text = |(name, all): &(&str, &[DType])| {
        let all: Vec<&str> = all.iter().map(|t| t.name()).collect();
        format!("`{name}`: {}", all.join(", "))
    };
    GROUPS.iter().map(text).collect::<Vec<_>>().join("; ")
}

/// Types as a list of groups and single ones.
pub fn listed(types: &BTreeSet<DType>) -> String {
    let (mut left, mut names) = (types.clone(), Vec::new());
    for (name, all) in GROUPS {
        if all.iter().all(|t| left.contains(t)) {
            left.retain(|t| !all.contains(t));
            names.push(*name);
        }
    }
    names.extend(left.iter().map(|t| t.name()));
    if names.is_empty() { "–".into() } else { names.join(", ") }
}

/// Operators of which only the one operand changes its type.
const ALONE: &[&str] = &["GridSample", "Resize", "Upsample"];

/// Types of which the operators have cases of their own, or which only say a shape.
const OTHERWISE: &[(&str, &[DType])] = &[
    ("BitCast", &[]),
    ("RandomNormalLike", &[F16, F64, BF16]),
    ("RandomUniformLike", &[F16, F64, BF16]),
    // Of what is done with a sequence of bf16, ONNX has nothing yet.
    ("SplitToSequence", &[F16, F64, I8, I16, I32, I64, U8, U16, U32, U64, DType::Bool, DType::String]),
    ("TfIdfVectorizer", &[I32]),
];

/// The operator's types that no case has yet, each with a case that has it.
pub fn others(name: &str, operator: &Operator, cases: &[Case]) -> Vec<Case> {
    let Some(newest) = operator.versions.iter().rev().find(|v| !v.gone) else { return Vec::new() };
    let own: Vec<&Case> = cases.iter().filter(|c| c.op == name && c.until >= newest.since).collect();
    let dtype = |c: &Case| c.dtype(operator.place);
    let have: BTreeSet<DType> = own.iter().filter_map(|c| dtype(c)).collect();
    let fit = |c: &&&Case| operator.place.is_some() && !c.has_graph() && dtype(c).is_some();
    let float = own.iter().find(|c| fit(c) && dtype(c) == Some(F32));
    let Some(case) = float.or_else(|| own.iter().find(fit)) else { return Vec::new() };
    let from = dtype(case).expect("the case should have a type");
    let missing = newest.types.difference(&have);
    let wanted = |t: &&DType| OTHERWISE.iter().find(|row| row.0 == name).is_none_or(|row| row.1.contains(*t));
    let alone = operator.place.filter(|_| ALONE.contains(&name));
    let at = newest.last.min(case.until);
    missing.filter(wanted).map(|&to| (*case).clone().at(at).retyped(from, to, alone)).collect()
}

/// Those of all operators.
pub fn all_others(table: &Table, cases: &[Case]) -> Vec<Case> {
    table.iter().flat_map(|(name, operator)| others(name, operator, cases)).collect()
}
