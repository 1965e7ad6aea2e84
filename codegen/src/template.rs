//! Kernels as HIP text written by hand: `codegen/templates/*.hip` with the headers of `codegen/device/`, their
//! parameters filled in here.
//!
//! A template serves the kernels whose layouts it was written for; for the others there is none.
mod attention;
mod conv;
mod flash;
mod gemm;
mod gemv;
mod text;
mod tile;
mod window;

use crate::kernel::Kernel;
use crate::target::GpuSpec;
use crate::unit::Template;

/// The template for a kernel on a GPU, where one applies.
pub fn instantiate(kernel: &Kernel, name: &str, gpu: &GpuSpec) -> Option<Template> {
    match kernel {
        Kernel::Gemm(gemm) => gemm::template(gemm, name, gpu),
        Kernel::Attention(attention) => {
            flash::template(attention, name, gpu).or_else(|| attention::template(attention, name, gpu))
        }
        Kernel::Conv(conv) => match (conv.as_window(), conv.as_gemm()) {
            (Some(window), _) => window::template(&window, name, gpu),
            (None, Some(gemm)) => {
                gemm::template(&gemm, name, gpu).or_else(|| conv::template(conv, name, gpu))
            }
            (None, None) => conv::template(conv, name, gpu),
        },
        Kernel::Window(window) => window::template(window, name, gpu),
        _ => None,
    }
}
