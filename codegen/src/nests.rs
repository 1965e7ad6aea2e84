//! Kernels written out as loops.
pub mod attention;
mod attention_few;
pub mod conv;
pub mod conv_shape;
pub mod dot;
mod dot_rows;
pub mod gemm;
pub mod map;
mod neighbours;
mod point;
pub mod recurrent;
mod recurrent_cell;
pub mod rows;
pub mod special;
pub mod tile;
mod transpose;
pub mod window;
pub mod write;
