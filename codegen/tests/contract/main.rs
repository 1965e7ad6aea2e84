//! Contractions compiled for this machine equal plain loops in double precision.
#![allow(clippy::unwrap_used)]
mod attention;
#[path = "../common/mod.rs"]
mod common;
mod conv;
mod gemm;
mod recurrent;
mod reference;
mod window;
