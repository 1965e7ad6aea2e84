//! Convolutions.
use crate::reference::{each, finish, near, place, random, run, target};
use sardonyx_codegen::kernel::contract::{Access, Conv, Epilogue, Operand};
use sardonyx_ir::scalar::Scalar;
use sardonyx_tensor::{Bindings, DType, Dim, Tensor};

/// Sizes of a convolution: images, groups, channels of a group in and out, then per dimension.
struct Sizes<'a> {
    batch: i64,
    groups: i64,
    channels: [i64; 2],
    input: &'a [i64],
    kernel: &'a [i64],
    strides: &'a [i64],
    pads: &'a [i64],
    pads_end: &'a [i64],
    dilations: &'a [i64],
    transposed: bool,
}

impl Sizes<'_> {
    fn output(&self, i: usize, input: &Dim) -> Dim {
        let reach = self.dilations[i] * (self.kernel[i] - 1) + 1;
        let pads = self.pads[i] + self.pads_end[i];
        if self.transposed {
            (input - 1) * self.strides[i] + reach - pads
        } else {
            (input + (pads - reach)).floor_div(self.strides[i]) + 1
        }
    }

    /// The convolution, with `name` for each spatial input size.
    fn conv(&self, symbolic: bool) -> Conv {
        let size = |i: usize| if symbolic { Dim::symbol(&format!("s{i}")) } else { self.input[i].into() };
        let input: Vec<Dim> = (0..self.input.len()).map(size).collect();
        let output: Vec<Dim> = input.iter().enumerate().map(|(i, d)| self.output(i, d)).collect();
        let batch = if symbolic { Dim::symbol("n") } else { self.batch.into() };
        let shape = |channels: i64, spatial: &[Dim]| {
            [&[batch.clone(), (self.groups * channels).into()], spatial].concat()
        };
        let [ic, oc] = self.channels;
        let (x, y) = (shape(ic, &input), shape(oc, &output));
        let mut bias = Access::scalar(2, DType::F32, y.len());
        bias.strides[1] = Dim::ONE;
        Conv {
            groups: self.groups,
            in_channels: ic,
            out_channels: oc,
            kernel: self.kernel.to_vec(),
            strides: self.strides.to_vec(),
            pads: self.pads.to_vec(),
            dilations: self.dilations.to_vec(),
            transposed: self.transposed,
            x: Access::row_major(0, DType::F32, &x),
            w: Operand::Strided(Conv::weights(
                1,
                DType::F32,
                self.groups,
                oc,
                ic,
                self.kernel,
                self.transposed,
            )),
            epilogue: Epilogue {
                accesses: vec![bias, Access::row_major(3, DType::F32, &y)],
                f: Scalar::build(3, |_, x| (x[0] + x[1]).max(-0.5) + x[2]),
                out: Access::row_major(4, DType::F32, &y),
            },
            batch,
            input,
            output,
        }
    }

    /// The convolution with the channels innermost, in and out.
    fn check_channels_last(&self) {
        for symbolic in [false, true] {
            let mut conv = self.conv(symbolic);
            let turn = |access: &mut Access, channels: i64| {
                let rank = access.strides.len();
                let channel = Dim::from(channels * self.groups);
                access.strides[2..].iter_mut().for_each(|s| *s *= &channel);
                access.strides[1] = if rank > 1 { Dim::ONE } else { Dim::ZERO };
            };
            turn(&mut conv.x, self.channels[0]);
            turn(&mut conv.epilogue.out, self.channels[1]);
            turn(&mut conv.epilogue.accesses[1], self.channels[1]);
            self.check_conv(&conv);
        }
    }

    /// The convolution of bytes.
    fn check_integers(&self) {
        let mut conv = self.conv(true);
        conv.x.dtype = DType::U8;
        let Operand::Strided(w) = &mut conv.w else { return };
        w.dtype = DType::I8;
        conv.epilogue.out.dtype = DType::I32;
        conv.epilogue.accesses.iter_mut().for_each(|a| a.dtype = DType::I32);
        conv.epilogue.f = Scalar::build(3, |_, x| x[0] + x[1] + x[2]);
        self.check_conv(&conv);
    }

    fn check(&self) {
        self.check_conv(&self.conv(false));
        self.check_conv(&self.conv(true));
    }

    fn check_conv(&self, conv: &Conv) {
        let mut bind = Bindings::from([("n", self.batch)]);
        self.input.iter().enumerate().for_each(|(i, &s)| {
            bind.set(&format!("s{i}"), s);
        });
        let value = |d: &Dim| d.eval(&bind).unwrap();
        let output: Vec<i64> = conv.output.iter().map(value).collect();
        let [ic, oc] = self.channels;
        let y = self.batch * self.groups * oc * output.iter().product::<i64>();
        let x = self.batch * self.groups * ic * self.input.iter().product::<i64>();
        let w = self.groups * ic * oc * self.kernel.iter().product::<i64>();
        let lens = [x, w, self.groups * oc, y, y];
        let Operand::Strided(weights) = &conv.w else { panic!("packed already") };
        let [bias, more] = &conv.epilogue.accesses[..] else { panic!("other accesses") };
        let dtypes = [conv.x.dtype, weights.dtype, bias.dtype, more.dtype, conv.epilogue.out.dtype];
        let args: Vec<Tensor> =
            lens.iter().zip(dtypes).zip(1..).map(|((&n, t), i)| random(t, n as usize, i)).collect();
        let mut expected: Vec<Vec<f64>> = args.iter().map(Tensor::to_f64s).collect();
        each(&[&[self.batch, self.groups * oc], &output[..]].concat(), |at| {
            let (g, c) = (at[1] / oc, at[1] % oc);
            let mut sum = 0.0;
            each(&[&[ic], self.kernel].concat(), |tap| {
                if let Some(position) = self.position(&at[2..], &tap[1..]) {
                    let x = place(&conv.x, &[&[at[0], g * ic + tap[0]], &position[..]].concat(), &bind);
                    let w = place(weights, &[&[g, c], tap].concat(), &bind);
                    sum += expected[0][x] * expected[1][w];
                }
            });
            let (place, value) = finish(&conv.epilogue, sum, at, &expected, &bind);
            expected[4][place] = value;
        });
        for constant in [true, false] {
            let (mut args, mut conv) = (args.clone(), conv.clone());
            if constant && conv.as_window().is_none() {
                args[1] = conv.pack(&args[1], &target()).unwrap().tensor();
            }
            let nest = conv.nest("conv", &target());
            let text = nest.to_string();
            run(nest, &bind, &mut args);
            // Rounding grows with the number of products.
            let products = ic * self.kernel.iter().product::<i64>();
            near(&text, &args[4].to_f64s(), &expected[4], 1e-5 + 2e-8 * products as f64);
        }
    }

    /// The input position that an output sees through a tap.
    fn position(&self, output: &[i64], tap: &[i64]) -> Option<Vec<i64>> {
        let at = |i: usize| {
            let p = if self.transposed {
                let q = output[i] + self.pads[i] - tap[i] * self.dilations[i];
                (q % self.strides[i] == 0).then_some(q / self.strides[i])?
            } else {
                output[i] * self.strides[i] + tap[i] * self.dilations[i] - self.pads[i]
            };
            (0..self.input[i]).contains(&p).then_some(p)
        };
        (0..output.len()).map(at).collect()
    }
}

const PLAIN: Sizes<'static> = Sizes {
    batch: 2,
    groups: 1,
    channels: [5, 13],
    input: &[11, 19],
    kernel: &[3, 3],
    strides: &[1, 1],
    pads: &[1, 1],
    pads_end: &[1, 1],
    dilations: &[1, 1],
    transposed: false,
};

#[test]
fn padded_and_strided() {
    PLAIN.check();
    Sizes { channels: [500, 30], input: &[5, 6], ..PLAIN }.check();
    PLAIN.check_channels_last();
    Sizes { strides: &[2, 2], channels: [20, 6], groups: 2, ..PLAIN }.check_channels_last();
    Sizes { strides: &[2, 2], ..PLAIN }.check();
    Sizes { strides: &[1, 3], pads: &[0, 2], ..PLAIN }.check();
    Sizes { pads: &[2, 0], pads_end: &[0, 3], dilations: &[2, 3], ..PLAIN }.check();
    Sizes {
        channels: [3, 64],
        input: &[37, 41],
        kernel: &[7, 7],
        strides: &[2, 2],
        pads: &[3, 3],
        pads_end: &[3, 3],
        ..PLAIN
    }
    .check();
    Sizes {
        channels: [3, 20],
        input: &[32, 32],
        kernel: &[16, 16],
        strides: &[16, 16],
        pads: &[0, 0],
        pads_end: &[0, 0],
        ..PLAIN
    }
    .check();
}

#[test]
fn pointwise() {
    let pointwise = Sizes { kernel: &[1, 1], pads: &[0, 0], pads_end: &[0, 0], ..PLAIN };
    Sizes { channels: [40, 70], ..pointwise }.check();
    Sizes { channels: [40, 70], input: &[8, 8], ..pointwise }.check();
    Sizes { channels: [17, 9], strides: &[2, 2], ..pointwise }.check();
    Sizes { channels: [17, 9], input: &[3, 2], ..pointwise }.check();
    Sizes { channels: [17, 9], input: &[1, 1], groups: 2, ..pointwise }.check();
    Sizes { channels: [17, 9], ..pointwise }.check_channels_last();
}

#[test]
fn grouped_and_of_other_ranks() {
    Sizes { groups: 3, channels: [4, 7], ..PLAIN }.check();
    Sizes { groups: 5, channels: [1, 1], ..PLAIN }.check();
    Sizes { groups: 3, channels: [1, 2], ..PLAIN }.check();
    Sizes { groups: 3, channels: [1, 2], ..PLAIN }.check_integers();
    PLAIN.check_integers();
    Sizes { groups: 3, channels: [1, 5], ..PLAIN }.check();
    let line = Sizes {
        input: &[70],
        kernel: &[5],
        strides: &[2],
        pads: &[2],
        pads_end: &[1],
        dilations: &[1],
        ..PLAIN
    };
    line.check();
    let strides = [1, 2, 1];
    Sizes {
        input: &[4, 9, 17],
        kernel: &[2, 3, 3],
        strides: &strides,
        pads: &[1; 3],
        pads_end: &[0; 3],
        dilations: &[1; 3],
        ..PLAIN
    }
    .check();
}

#[test]
fn transposed() {
    let transposed = Sizes { transposed: true, input: &[6, 9], ..PLAIN };
    transposed.check();
    Sizes { strides: &[2, 2], ..transposed }.check();
    Sizes { strides: &[2, 2], kernel: &[4, 4], ..transposed }.check();
    Sizes { strides: &[2, 3], pads_end: &[0, -1], groups: 2, ..transposed }.check();
    Sizes { strides: &[2, 3], dilations: &[2, 2], ..transposed }.check();
    Sizes { strides: &[3, 2], kernel: &[2, 1], pads: &[0, 0], pads_end: &[0, 0], ..transposed }.check();
    Sizes {
        transposed: true,
        input: &[20],
        kernel: &[4],
        strides: &[2],
        pads: &[1],
        pads_end: &[1],
        dilations: &[1],
        ..PLAIN
    }
    .check();
}
