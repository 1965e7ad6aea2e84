//! The graph passes of the Sardonyx compiler.
