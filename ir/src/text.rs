//! The text form of a graph: `parse(&print(g))` gives the same graph back.
//!
//! ```text
//! graph(%x: f32[b,128], %"w:0": f32[128,64]) {
//!   %0 = matmul(%x, %"w:0") : f32[b,64]        // /dense/MatMul
//!   %1 = mul(%0, 0.5) : f32[b,64]
//!   return %1 as "y"
//! }
//! ```
//! Scalar constants stand in place as literals where their type is that of another operand. Constants of
//! up to [`Constant::PRINTED`](crate::ops::Constant::PRINTED) elements are listed; larger ones print as
//! `opaque(hash)` and parse as seeded stand-ins of that hash.
mod parser;
mod printer;

pub use parser::{ParseError, Parser, Result, parse};
pub use printer::{print, print_region};

/// A hash of bytes that does not change between versions (FNV-1a, 64 bits).
pub fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |h, &b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

/// Whether a name stands without quotes.
fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.')
        && !name.starts_with(|c: char| c.is_ascii_digit())
}
