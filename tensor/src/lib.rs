//! Element types, symbolic dimensions and tensors of the Sardonyx compiler.
