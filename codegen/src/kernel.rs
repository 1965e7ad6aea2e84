//! Kernels: what is computed, with which layouts, and nothing about threads or loops.
pub mod attention;
pub mod contract;
pub mod recurrent;
pub mod window;
