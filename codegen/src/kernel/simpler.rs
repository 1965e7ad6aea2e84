//! Convolutions that are simpler kernels: depthwise ones are windows, and those in which every output
//! reads one place of the input are matrix products of pixels, or images, with the weights.
use super::contract::{Access, Conv, Epilogue, Gemm, Operand};
use super::window::{Window, WindowOp};
use sardonyx_tensor::Dim;

impl Conv {
    /// A depthwise convolution as a window; `None` where the channels are not apart.
    pub fn as_window(&self) -> Option<Window> {
        let Operand::Strided(w) = &self.w else { return None };
        let apart = self.in_channels == 1 && self.groups > 1 && self.out_channels <= 2 && !self.transposed;
        let even = w.strides[0] == &w.strides[1] * self.out_channels;
        (apart && even).then(|| Window {
            batch: self.batch.clone(),
            channels: (self.groups * self.out_channels).into(),
            input: self.input.clone(),
            output: self.output.clone(),
            kernel: self.kernel.clone(),
            strides: self.strides.clone(),
            pads: self.pads.clone(),
            pads_end: vec![0; self.pads.len()],
            dilations: self.dilations.clone(),
            op: WindowOp::Weighted {
                w: Access { strides: [&w.strides[1..2], &w.strides[3..]].concat(), ..w.clone() },
                multiplier: self.out_channels,
            },
            x: self.x.clone(),
            epilogue: self.epilogue.clone(),
        })
    }

    /// The matrix product that this is where all taps are one: of images with one output pixel each, or of
    /// pixels whose channels stand side by side, in and out.
    pub fn as_gemm(&self) -> Option<Gemm> {
        let plain = |list: &[i64], value: i64| list.iter().all(|&x| x == value);
        if self.transposed || !plain(&self.kernel, 1) || !plain(&self.pads, 0) {
            return None;
        }
        let single = self.output.iter().all(|o| *o == 1);
        let accesses = || self.epilogue.accesses.iter().chain([&self.epilogue.out, &self.x]);
        let whole = plain(&self.strides, 1) && self.input == self.output;
        let beside = self.x.strides[1] == 1 && self.epilogue.out.strides[1] == 1;
        let even = whole && beside && accesses().all(|a| self.pixel_stride(a).is_some());
        if !(single || even) {
            return None;
        }
        // Over group, image, pixel, channel of the group.
        let matrix = |a: &Access, channels: i64| {
            let pixel = if single { Dim::ZERO } else { self.pixel_stride(a).unwrap_or_default() };
            let strides = vec![&a.strides[1] * channels, a.strides[0].clone(), pixel, a.strides[1].clone()];
            self.without_pixels(single, Access { strides, ..a.clone() })
        };
        let out = |a: &Access| matrix(a, self.out_channels);
        let weights = |w: &Access| {
            let strides = vec![w.strides[0].clone(), Dim::ZERO, w.strides[2].clone(), w.strides[1].clone()];
            let mut w = Access { strides, ..w.clone() };
            if single {
                w.strides.remove(1);
            }
            w
        };
        let batch = [self.groups.into(), self.batch.clone()];
        Some(Gemm {
            batch: if single { batch[..1].to_vec() } else { batch.to_vec() },
            m: if single { self.batch.clone() } else { Dim::product(&self.output) },
            n: self.out_channels.into(),
            k: self.in_channels.into(),
            a: Operand::Strided(matrix(&self.x, self.in_channels)),
            b: match &self.w {
                Operand::Strided(w) => Operand::Strided(weights(w)),
                packed => packed.clone(),
            },
            epilogue: Epilogue {
                accesses: self.epilogue.accesses.iter().map(out).collect(),
                f: self.epilogue.f.clone(),
                out: out(&self.epilogue.out),
            },
        })
    }

    /// The same with the taps of a row as channels of one tap, where they are one run of memory inside of the image and
    /// of the weights.
    pub fn by_runs(&self) -> Conv {
        let mut conv = self.clone();
        let (Operand::Strided(w), Some(last)) = (&mut conv.w, self.kernel.len().checked_sub(1)) else {
            return conv;
        };
        let (taps, step, inner) = (self.kernel[last], self.strides[last], self.in_channels);
        let inside = match (self.input[last].known(), self.output[last].known()) {
            (Some(input), Some(output)) => (output - 1) * step + taps <= input,
            _ => false,
        };
        let run = |strides: &[Dim], channel: usize| {
            strides[channel] == 1 && strides.last().is_some_and(|tap| *tap == inner)
        };
        let plain = !self.transposed && self.groups == 1 && self.pads[last] == 0 && self.dilations[last] == 1;
        if plain && inside && taps > 1 && run(&self.x.strides, 1) && run(&w.strides, 2) {
            conv.in_channels = inner * taps;
            conv.kernel[last] = 1;
        }
        conv
    }

    /// An access over group, image, pixel, channel without the pixel, where there is a single one.
    fn without_pixels(&self, single: bool, mut access: Access) -> Access {
        if single {
            access.strides.remove(2);
        }
        access
    }

    /// The distance of neighbouring pixels, if it is the same across rows.
    fn pixel_stride(&self, access: &Access) -> Option<Dim> {
        let (spatial, last) = (&access.strides[2..], self.output.len() - 1);
        let regular = |i: usize| spatial[i] == &spatial[i + 1] * &self.output[i + 1] || self.output[i] == 1;
        (0..last).all(regular).then(|| spatial[last].clone())
    }
}
