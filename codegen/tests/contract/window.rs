//! Pooling and depthwise convolution.
use crate::reference::{each, finish, near, place, random, run, target};
use sardonyx_codegen::kernel::contract::{Access, Epilogue};
use sardonyx_codegen::kernel::window::{Window, WindowOp};
use sardonyx_ir::scalar::Scalar;
use sardonyx_tensor::{Bindings, DType, Dim, Tensor};

/// Images, channels of the input, then per dimension.
#[derive(Clone)]
struct Sizes<'a> {
    planes: [i64; 2],
    input: &'a [i64],
    kernel: &'a [i64],
    strides: &'a [i64],
    pads: &'a [i64],
    pads_end: &'a [i64],
    dilations: &'a [i64],
    ceil: bool,
}

const PLAIN: Sizes<'static> = Sizes {
    planes: [2, 5],
    input: &[11, 37],
    kernel: &[3, 3],
    strides: &[1, 1],
    pads: &[1, 1],
    pads_end: &[1, 1],
    dilations: &[1, 1],
    ceil: false,
};

impl Sizes<'_> {
    fn window(&self, op: WindowOp, symbolic: bool, dtype: DType) -> Window {
        let input: Vec<Dim> = (0..self.input.len())
            .map(|i| if symbolic { Dim::symbol(&format!("s{i}")) } else { self.input[i].into() })
            .collect();
        let output: Vec<Dim> = input
            .iter()
            .enumerate()
            .map(|(i, d)| {
                let room =
                    d + (self.pads[i] + self.pads_end[i] - self.dilations[i] * (self.kernel[i] - 1) - 1);
                (if self.ceil { room.ceil_div(self.strides[i]) } else { room.floor_div(self.strides[i]) }) + 1
            })
            .collect();
        let batch = if symbolic { Dim::symbol("n") } else { self.planes[0].into() };
        let multiplier = if let WindowOp::Weighted { multiplier, .. } = op { multiplier } else { 1 };
        let channels = Dim::from(self.planes[1] * multiplier);
        let x = [&[batch.clone(), self.planes[1].into()], &input[..]].concat();
        let y = [&[batch.clone(), channels.clone()], &output[..]].concat();
        let floats = dtype.is_float();
        let mut bias = Access::scalar(2, dtype, y.len());
        bias.strides[1] = Dim::ONE;
        Window {
            batch,
            channels,
            kernel: self.kernel.to_vec(),
            strides: self.strides.to_vec(),
            pads: self.pads.to_vec(),
            pads_end: self.pads_end.to_vec(),
            dilations: self.dilations.to_vec(),
            op,
            x: Access::row_major(0, dtype, &x),
            epilogue: Epilogue {
                accesses: vec![bias],
                f: Scalar::build(2, |_, x| if floats { (x[0] + x[1]).max(-0.5) } else { x[0] + x[1] }),
                out: Access::row_major(3, dtype, &y),
            },
            input,
            output,
        }
    }

    fn check(&self, op: &WindowOp) {
        for symbolic in [false, true] {
            self.check_window(&self.window(op.clone(), symbolic, DType::F32));
        }
    }

    fn check_window(&self, window: &Window) {
        let mut bind = Bindings::from([("n", self.planes[0])]);
        self.input.iter().enumerate().for_each(|(i, &s)| {
            bind.set(&format!("s{i}"), s);
        });
        let value = |d: &Dim| d.eval(&bind).unwrap();
        let output: Vec<i64> = window.output.iter().map(value).collect();
        let channels = value(&window.channels);
        let taps: i64 = self.kernel.iter().product();
        let y = self.planes[0] * channels * output.iter().product::<i64>();
        let x = self.planes.iter().chain(self.input).product();
        let lens: [i64; 4] = [x, channels * taps, channels, y];
        let mut args: Vec<Tensor> =
            lens.iter().zip(1..).map(|(&n, i)| random(window.x.dtype, n as usize, i)).collect();
        let mut expected: Vec<Vec<f64>> = args.iter().map(Tensor::to_f64s).collect();
        each(&[&[self.planes[0], channels], &output[..]].concat(), |at| {
            let sum = self.reduce(window, at, &expected, &bind);
            let (place, value) = finish(&window.epilogue, sum, at, &expected, &bind);
            expected[3][place] = value;
        });
        if !matches!(window.op, WindowOp::Weighted { .. }) {
            // The weights are no argument: the others move up.
            let mut window = window.clone();
            args.remove(1);
            window.epilogue.accesses[0].arg = 1;
            window.epilogue.out.arg = 2;
            return self.compare(&window, &bind, args, &expected[3]);
        }
        self.compare(window, &bind, args, &expected[3]);
    }

    fn compare(&self, window: &Window, bind: &Bindings, mut args: Vec<Tensor>, expected: &[f64]) {
        let nest = window.nest("window", &target());
        let text = nest.to_string();
        run(nest, bind, &mut args);
        near(&text, &args[args.len() - 1].to_f64s(), expected, 1e-5);
    }

    fn reduce(&self, window: &Window, at: &[i64], buffers: &[Vec<f64>], bind: &Bindings) -> f64 {
        let (mut sum, mut most, mut count, mut padded) = (0.0, f64::NEG_INFINITY, 0.0, 0.0);
        each(self.kernel, |tap| {
            let position = |i: usize| at[2 + i] * self.strides[i] + tap[i] * self.dilations[i] - self.pads[i];
            let p: Vec<i64> = (0..tap.len()).map(position).collect();
            let within = |i: usize, more: i64| p[i] < self.input[i] + more;
            padded += f64::from(u8::from((0..p.len()).all(|i| within(i, self.pads_end[i]))));
            if !(0..p.len()).all(|i| p[i] >= 0 && within(i, 0)) {
                return;
            }
            let multiplier =
                if let WindowOp::Weighted { multiplier, .. } = window.op { multiplier } else { 1 };
            let x = buffers[0][place(&window.x, &[&[at[0], at[1] / multiplier], &p[..]].concat(), bind)];
            count += 1.0;
            most = x.max(most);
            sum += match &window.op {
                WindowOp::Weighted { w, .. } => x * buffers[1][place(w, &[&[at[1]], tap].concat(), bind)],
                WindowOp::Norm { p } => x.abs().powi(*p as i32),
                _ => x,
            };
        });
        match window.op {
            WindowOp::Max => most,
            WindowOp::Mean { padding } => sum / if padding { padded } else { count },
            _ => sum,
        }
    }
}

fn each_shape(op: &WindowOp) {
    PLAIN.check(op);
    Sizes { strides: &[2, 2], ..PLAIN }.check(op);
    Sizes { strides: &[2, 2], kernel: &[2, 2], pads: &[0; 2], pads_end: &[0; 2], ..PLAIN }.check(op);
    Sizes { strides: &[2, 2], input: &[10, 36], pads_end: &[0, 1], ceil: true, ..PLAIN }.check(op);
    Sizes { strides: &[3, 3], ceil: true, ..PLAIN }.check(op);
    Sizes { planes: [1, 40], ..PLAIN }.check(op);
    Sizes { dilations: &[2, 3], pads: &[2, 1], ..PLAIN }.check(op);
}

#[test]
fn pooling() {
    for op in [
        WindowOp::Max,
        WindowOp::Mean { padding: false },
        WindowOp::Mean { padding: true },
        WindowOp::Norm { p: 2 },
    ] {
        each_shape(&op);
        let one = [1];
        Sizes {
            input: &[50],
            kernel: &[9],
            strides: &one,
            pads: &[4],
            pads_end: &[4],
            dilations: &one,
            ..PLAIN
        }
        .check(&op);
        let ones = [1; 3];
        Sizes {
            input: &[5, 6, 7],
            kernel: &[2, 3, 2],
            strides: &[1, 2, 2],
            pads: &ones,
            pads_end: &ones,
            dilations: &ones,
            ..PLAIN
        }
        .check(&op);
    }
}

#[test]
fn pooling_of_integers() {
    for dtype in [DType::I8, DType::U8, DType::I64, DType::F64] {
        PLAIN.check_window(&PLAIN.window(WindowOp::Max, false, dtype));
    }
}

#[test]
fn depthwise_convolution() {
    for (multiplier, kernel) in [(1, [3, 3]), (2, [3, 3]), (1, [5, 5]), (1, [1, 9])] {
        let shape = [5 * multiplier, kernel[0], kernel[1]].map(Dim::from);
        let w = Access::row_major(1, DType::F32, &shape);
        let op = WindowOp::Weighted { w, multiplier };
        let sizes = Sizes { kernel: &kernel, pads: &[kernel[0] / 2, kernel[1] / 2], ..PLAIN };
        sizes.check(&op);
        Sizes { strides: &[2, 2], ..sizes.clone() }.check(&op);
        Sizes { input: &[7, 7], ..sizes }.check(&op);
    }
}
