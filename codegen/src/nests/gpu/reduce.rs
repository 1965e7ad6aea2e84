//! Reductions over the threads that share a row.
use crate::kernel::pointwise::Reduction;
use crate::nest::{Builder, Expr, Ty};

/// The threads of a block that share a row: those of one wave, or all.
#[derive(Clone, Copy)]
pub struct Team {
    /// Threads of a row.
    pub threads: i64,
    /// Threads of a wave.
    pub wave: i64,
}

impl Team {
    /// The value of every thread, and of every lane of it, combined; all threads of the row get the result.
    pub fn combine<'b>(self, b: &'b Builder, reduction: &Reduction, name: &str, value: Expr<'b>) -> Expr<'b> {
        let value = if value.ty().lanes > 1 { value.reduce(reduction.prim()) } else { value };
        let value = value.wave_reduce(reduction.prim());
        if self.threads == self.wave {
            return value;
        }
        let waves = self.threads / self.wave;
        let parts = b.shared(name, Ty::of(reduction.dtype).dtype, waves as usize);
        let (wave, lane) = (b.thread().index_div(self.wave), b.thread().index_rem(self.wave));
        b.if_(lane.eq(0), || b.store(parts, wave, value));
        b.barrier();
        (1..waves).fold(b.load(parts, 0), |sum, wave| reduction.combined(sum, b.load(parts, wave)))
    }
}
