//! Contractions compiled for this machine equal plain loops in double precision.
mod attention;
#[path = "../common/mod.rs"]
mod common;
mod conv;
mod gemm;
mod recurrent;
mod reference;
mod window;
