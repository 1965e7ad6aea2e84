//! Pooling and attention: contractions beside matrix products and convolutions.
use super::contraction::{Call, Geometry};
use super::trace::Why;
use super::{Lowerer, View};
use crate::kernel::Kernel;
use crate::kernel::attention::Attention;
use crate::kernel::contract::Access;
use crate::kernel::window::{Window, WindowOp};
use sardonyx_ir::Op;
use sardonyx_ir::scalar::Scalar;
use sardonyx_tensor::{DType, Dim};

impl Lowerer<'_> {
    /// Pooling with its epilogue; the loops, and operations per element of the result.
    pub(super) fn pool(&mut self, call: &mut Call<'_>, operands: &[View]) -> Result<(Kernel, Dim), Why> {
        let (kernel, strides, pads, dilations, op) = match call.g.op(call.wire) {
            Op::MaxPool { kernel, strides, pads, dilations, .. } => {
                (kernel, strides, pads, dilations, WindowOp::Max)
            }
            Op::AvgPool { kernel, strides, pads, dilations, count_include_pad, .. } => {
                (kernel, strides, pads, dilations, WindowOp::Mean { padding: *count_include_pad })
            }
            Op::LpPool { kernel, strides, pads, dilations, p, .. } => {
                let old = &call.epilogue;
                let (count, root) = (old.accesses.len(), 1.0 / *p as f64);
                call.epilogue.f = Scalar::build(count + 1, |b, x| {
                    let mut args = x.to_vec();
                    args[0] = if *p == 1 { x[0] } else { x[0].pow(root) };
                    b.inline(&old.f, &args)
                });
                (kernel, strides, pads, dilations, WindowOp::Norm { p: *p })
            }
            op => panic!("bug: {} is no pooling", op.name()),
        };
        let x = &operands[0].ty;
        let geometry = Geometry::new(kernel.len(), strides, pads, dilations);
        let shape = &call.g.ty(call.wire).shape;
        let (channels, output) = (shape[1].clone(), shape[2..].to_vec());
        let window = Window {
            batch: x.shape[0].clone(),
            channels,
            input: x.shape[2..].to_vec(),
            output,
            kernel: kernel.clone(),
            strides: geometry.strides,
            pads: geometry.pads,
            pads_end: geometry.pads_end,
            dilations: geometry.dilations,
            op,
            x: self.access_of(call, &operands[0]),
            epilogue: call.epilogue.clone(),
        };
        Ok((Kernel::Window(window), Dim::from(kernel.iter().product::<i64>())))
    }

    /// Attention, which has no epilogue.
    pub(super) fn attention(&mut self, call: &mut Call<'_>, operands: &[View]) -> Result<(Kernel, Dim), Why> {
        let Op::Attention { scale, causal, softcap } = call.g.op(call.wire) else {
            panic!("bug: not an attention")
        };
        if operands[0].ty.dtype == DType::F64 {
            return Err("attention of f64 has no kernel".into());
        }
        if !call.is_plain() {
            return Err("attention followed by other ops".into());
        }
        let known = |d: &Dim| d.known().ok_or("attention of heads whose size is not known");
        let (q, k, v) = (&operands[0].ty.shape, &operands[1].ty.shape, &operands[2].ty.shape);
        let mask = operands.get(3).map(|mask| {
            let mask = &self.rooted(mask);
            let arg = self.argument(call, mask, true);
            let own = mask.ty.shape.iter().zip(&mask.strides);
            let own = own.map(|(d, s)| if *d == Dim::ONE { Dim::ZERO } else { s.clone() });
            let lead = std::iter::repeat_n(Dim::ZERO, 4 - mask.ty.rank());
            Access {
                arg,
                dtype: mask.ty.dtype,
                offset: mask.offset.clone(),
                strides: lead.chain(own).collect(),
            }
        });
        let [qa, ka, va] = [0, 1, 2].map(|i| self.access_of(call, &operands[i]));
        let attention = Attention {
            batch: q[0].clone(),
            heads: q[1].clone(),
            group: q[1].exact_div(&k[1]).and_then(|g| g.known()).ok_or("heads that are no groups")?,
            queries: q[2].clone(),
            keys: k[2].clone(),
            head: known(&q[3])?,
            value: known(&v[3])?,
            scale: *scale,
            softcap: (*softcap != 0.0).then_some(*softcap),
            causal: causal.then(|| &k[2] - &q[2]),
            q: qa,
            k: ka,
            v: va,
            mask,
            out: call.epilogue.out.clone(),
        };
        let flops = &k[2] * 4;
        Ok((Kernel::Attention(attention), flops))
    }
}
