//! Views: a value as strided elements of a buffer. Movement ops make views of views and copy nothing.
use crate::kernel::row_major;
use sardonyx_ir::{Op, Type};
use sardonyx_runtime::manifest::BufferIndex;
use sardonyx_tensor::Dim;

/// A value: elements of a buffer.
#[derive(Clone, PartialEq, Debug)]
pub struct View {
    /// The buffer.
    pub buffer: BufferIndex,
    /// The type of the value.
    pub ty: Type,
    /// The place of the first element, in elements.
    pub offset: Dim,
    /// One stride per dimension, in elements.
    pub strides: Vec<Dim>,
}

impl View {
    /// The whole of a buffer that holds a value of this type.
    pub fn whole(buffer: BufferIndex, ty: Type) -> View {
        let strides = row_major(&ty.shape);
        View { buffer, ty, offset: Dim::ZERO, strides }
    }
    /// Whether the elements stand in order and without gaps.
    pub fn is_contiguous(&self) -> bool {
        let expected = row_major(&self.ty.shape);
        let dims = self.ty.shape.iter().zip(self.strides.iter().zip(&expected));
        dims.into_iter().all(|(d, (s, e))| *d == Dim::ONE || s == e)
    }
    /// The result of a movement op that only changes offset and strides; `ty` is the type of the result.
    pub fn moved(&self, op: &Op, ty: &Type) -> Option<View> {
        let mut offset = self.offset.clone();
        let strides = match op {
            Op::Bind { .. } => self.strides.clone(),
            Op::Reshape { .. } => return self.reshaped(ty),
            Op::Transpose { perm } => perm.iter().map(|&p| self.strides[p as usize].clone()).collect(),
            Op::Slice { starts, steps, .. } => {
                offset += starts.iter().zip(&self.strides).map(|(start, s)| start * s).sum::<Dim>();
                steps.iter().zip(&self.strides).map(|(step, s)| s * *step).collect()
            }
            Op::Expand { .. } => {
                let lead = ty.rank() - self.ty.rank();
                let own = self.ty.shape.iter().zip(&self.strides);
                let own = own.map(|(d, s)| if *d == Dim::ONE { Dim::ZERO } else { s.clone() });
                std::iter::repeat_n(Dim::ZERO, lead).chain(own).collect()
            }
            _ => return None,
        };
        Some(View { buffer: self.buffer, ty: ty.clone(), offset, strides })
    }

    /// The same elements under another shape, where strides can say it.
    fn reshaped(&self, ty: &Type) -> Option<View> {
        let make =
            |strides| View { buffer: self.buffer, ty: ty.clone(), offset: self.offset.clone(), strides };
        if self.is_contiguous() {
            return Some(make(row_major(&ty.shape)));
        }
        // Each dimension of the old shape stands alone, or splits into dimensions of the new one.
        let mut old = self.ty.shape.iter().zip(&self.strides).filter(|(d, _)| **d != Dim::ONE).peekable();
        let mut strides = vec![Dim::ZERO; ty.rank()];
        let mut k = 0;
        while k < ty.rank() {
            if ty.shape[k] == Dim::ONE {
                k += 1;
                continue;
            }
            let (extent, stride) = old.next()?;
            let first = k;
            let mut product = Dim::ONE;
            while product != *extent {
                product *= ty.shape.get(k)?;
                k += 1;
            }
            let inner = row_major(&ty.shape[first..k]);
            inner.iter().enumerate().for_each(|(i, s)| strides[first + i] = s * stride);
        }
        old.peek().is_none().then(|| make(strides))
    }
}
