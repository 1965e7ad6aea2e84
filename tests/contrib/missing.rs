//! Operators that ONNX Runtime's CPU provider has and the importer has not, with the reason.

/// Domain, operator, why.
pub const MISSING: &[(&str, &str, &str)] = &[
    ("com.microsoft", "AttnLSTM", "a recurrence with an attention of its own; not built"),
    ("com.microsoft", "BeamSearch", "a search around sub-graphs with caches; not built"),
    ("com.microsoft", "BifurcationDetector", "a step of a search; not built"),
    ("com.microsoft", "GreedySearch", "as BeamSearch"),
    ("com.microsoft", "MatMulFpQ4", "its weights are packed in a form that ONNX Runtime does not document"),
    (
        "com.microsoft",
        "MaxpoolWithMask",
        "for internal use: its mask ends rows of windows, and only the mask of the first image is read",
    ),
    ("com.microsoft", "Sampling", "as BeamSearch"),
    ("com.microsoft", "SparseAttention", "attention over blocks that tables choose; not built"),
    (
        "com.microsoft",
        "SparseToDenseMatMul",
        "its operand can only be a sparse input, which has no form here",
    ),
    ("com.microsoft", "VarlenNGramHashMapping", "rows of different lengths packed into one; not built"),
    ("com.microsoft", "WhisperBeamSearch", "as BeamSearch"),
    ("com.microsoft.nchwc", "AveragePool", "as Conv of that domain"),
    (
        "com.microsoft.nchwc",
        "Conv",
        "ONNX Runtime writes it for the processor it runs on: weights in blocks whose size the file does not say",
    ),
    ("com.microsoft.nchwc", "GlobalAveragePool", "as Conv of that domain"),
    ("com.microsoft.nchwc", "GlobalMaxPool", "as Conv of that domain"),
    ("com.microsoft.nchwc", "MaxPool", "as Conv of that domain"),
    ("com.microsoft.nchwc", "ReorderInput", "as Conv of that domain"),
    ("com.microsoft.nchwc", "ReorderOutput", "as Conv of that domain"),
    ("com.microsoft.nchwc", "Upsample", "as Conv of that domain"),
];

#[test]
fn what_is_missing_is_missing() {
    let supported = sardonyx::onnx::supported();
    for (domain, op, _) in MISSING {
        assert!(!supported.iter().any(|(d, name, _)| d == domain && name == op), "{domain}::{op} is there");
    }
}
