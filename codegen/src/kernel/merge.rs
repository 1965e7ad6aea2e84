//! Matrix products whose batch indices are rows: `[b, s, k] · [k, n]`.
use super::contract::{Access, Gemm, Operand};
use sardonyx_tensor::Dim;

impl Gemm {
    /// The same product with those batch indices made rows that share all columns, as far as strides allow;
    /// the largest such index is the row where rows are few.
    pub fn merged(&self) -> Gemm {
        let mut gemm = self.clone();
        gemm.merge_rows();
        gemm.exchange_rows();
        gemm.merge_rows();
        gemm
    }

    fn merge_rows(&mut self) {
        while let Some(at) = self.batch.len().checked_sub(1) {
            let size = self.m.clone();
            let regular = |x: &Access| x.strides[at] == &x.strides[at + 1] * &size;
            if !self.shares_columns(at) || !self.rows().is_some_and(|mut rows| rows.all(regular)) {
                break;
            }
            self.each_row(|x| drop(x.strides.remove(at)));
            match &mut self.b {
                Operand::Strided(b) => drop(b.strides.remove(at)),
                Operand::Packed(panels) => drop(panels.strides.remove(at)),
            }
            self.m *= self.batch.remove(at);
        }
    }

    /// Whether all values of a batch index have the same columns.
    fn shares_columns(&self, at: usize) -> bool {
        match &self.b {
            Operand::Strided(b) => b.strides[at] == 0,
            Operand::Packed(panels) => panels.strides[at] == 0,
        }
    }

    /// The accesses with rows, unless the rows are packed.
    fn rows(&self) -> Option<impl Iterator<Item = &Access>> {
        let Operand::Strided(a) = &self.a else { return None };
        Some(self.epilogue.accesses.iter().chain([a, &self.epilogue.out]))
    }

    fn each_row(&mut self, f: impl Fn(&mut Access)) {
        if let Operand::Strided(a) = &mut self.a {
            f(a);
        }
        self.epilogue.accesses.iter_mut().chain([&mut self.epilogue.out]).for_each(f);
    }

    /// Lets rows and a batch index that shares the columns change places, where that gives more rows.
    fn exchange_rows(&mut self) {
        // A size that is not known may well be one: of a batch, or of a step of text generation.
        let likely = |d: &Dim| d.known().unwrap_or(8);
        let rows = self.batch.len();
        let best = (0..rows).filter(|&at| self.shares_columns(at)).max_by_key(|&at| likely(&self.batch[at]));
        let Some(at) = best.filter(|&at| likely(&self.batch[at]) > likely(&self.m)) else { return };
        if matches!(self.a, Operand::Strided(_)) {
            std::mem::swap(&mut self.batch[at], &mut self.m);
            self.each_row(|x| x.strides.swap(at, rows));
        }
    }
}
