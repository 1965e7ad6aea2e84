//! The graph IR of the Sardonyx compiler: types, op table, text form, reference interpreter, rewrite rules.
pub mod erf;
pub mod scalar;
