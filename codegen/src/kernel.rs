//! Kernels: what is computed, with which layouts, and nothing about threads or loops.
pub mod attention;
pub mod contract;
mod pack;
pub mod recurrent;
pub mod window;
