//! Emitters: nests printed as source text of a platform.
pub mod llvm;
