//! Recurrent networks: RNN, GRU and LSTM as ONNX defines them, sequence first.
//!
//! `x` is `[sequence, batch, input]`, `w` `[directions, gates·hidden, input]`, `r` `[directions,
//! gates·hidden, hidden]`, `bias` `[directions, 2·gates·hidden]` (of `w`, then of `r`), `seq_lens` `[batch]`,
//! states `[directions, batch, hidden]`. Gates stand in ONNX's order: `i o f c` and `z r h`.
use super::attribute::Direction;
use super::values::known;
use super::{Definition, Infer, Op};
use crate::types::Type;
use sardonyx_tensor::{DType, Dim, Tensor};

/// The attributes the three have in common.
struct Shared<'a> {
    direction: Direction,
    hidden: i64,
    activations: &'a [String],
    alpha: &'a [f64],
    beta: &'a [f64],
    clip: f64,
    /// Gates of the cell, and activations per direction.
    gates: usize,
    functions: usize,
}

impl Shared<'_> {
    fn of(op: &Op) -> Shared<'_> {
        let (direction, hidden, activations, alpha, beta, clip, gates, functions) = match op {
            Op::Rnn { direction, hidden, activations, alpha, beta, clip } => {
                (direction, hidden, activations, alpha, beta, clip, 1, 1)
            }
            Op::Gru { direction, hidden, activations, alpha, beta, clip, .. } => {
                (direction, hidden, activations, alpha, beta, clip, 3, 2)
            }
            Op::Lstm { direction, hidden, activations, alpha, beta, clip, .. } => {
                (direction, hidden, activations, alpha, beta, clip, 4, 3)
            }
            op => panic!("bug: {} is not recurrent", op.name()),
        };
        Shared {
            direction: *direction,
            hidden: *hidden,
            activations,
            alpha,
            beta,
            clip: *clip,
            gates,
            functions,
        }
    }
    fn directions(&self) -> usize {
        if self.direction == Direction::Both { 2 } else { 1 }
    }
    /// The activation functions of a direction. Fails where they are too few or unknown.
    fn functions(&self, direction: usize) -> Result<Vec<Activation>, String> {
        let count = self.functions * self.directions();
        if self.activations.len() != count {
            return Err(format!("{count} activations"));
        }
        let at = direction * self.functions;
        let function = |i: usize| {
            let name = &self.activations[i];
            let new = Activation::new(name, self.alpha.get(i).copied(), self.beta.get(i).copied());
            new.ok_or_else(|| format!("unknown activation `{name}`"))
        };
        (at..at + self.functions).map(function).collect()
    }
}

/// An activation function with its parameters.
#[derive(Clone, Copy)]
struct Activation {
    f: fn(f64, f64, f64) -> f64,
    alpha: f64,
    beta: f64,
}

impl Activation {
    fn new(name: &str, alpha: Option<f64>, beta: Option<f64>) -> Option<Activation> {
        type Row = (fn(f64, f64, f64) -> f64, f64, f64);
        let (f, a, b): Row = match name.to_ascii_lowercase().as_str() {
            "relu" => (|x, _, _| x.max(0.0), 0.0, 0.0),
            "tanh" => (|x, _, _| x.tanh(), 0.0, 0.0),
            "sigmoid" => (|x, _, _| 1.0 / (1.0 + (-x).exp()), 0.0, 0.0),
            "affine" => (|x, a, b| a * x + b, 1.0, 0.0),
            "leakyrelu" => (|x, a, _| if x < 0.0 { a * x } else { x }, 0.01, 0.0),
            "thresholdedrelu" => (|x, a, _| if x > a { x } else { 0.0 }, 1.0, 0.0),
            "scaledtanh" => (|x, a, b| a * (b * x).tanh(), 1.0, 1.0),
            "hardsigmoid" => (|x, a, b| (a * x + b).clamp(0.0, 1.0), 0.2, 0.5),
            "elu" => (|x, a, _| if x < 0.0 { a * x.exp_m1() } else { x }, 1.0, 0.0),
            "softsign" => (|x, _, _| x / (1.0 + x.abs()), 0.0, 0.0),
            "softplus" => (|x, _, _| x.max(0.0) + (-x.abs()).exp().ln_1p(), 0.0, 0.0),
            _ => return None,
        };
        Some(Activation { f, alpha: alpha.unwrap_or(a), beta: beta.unwrap_or(b) })
    }
    fn of(&self, x: f64, clip: f64) -> f64 {
        (self.f)(x.max(-clip).min(clip), self.alpha, self.beta)
    }
}

fn infer(op: &Op, cx: &mut Infer) -> Result<Vec<Type>, String> {
    let shared = Shared::of(op);
    let x = cx.operand(0).clone();
    if x.rank() != 3 || !x.dtype.is_float() {
        return Err(format!("{x} is not [sequence, batch, input]"));
    }
    if !(1..1 << 31).contains(&shared.hidden) || shared.clip.is_nan() || shared.clip < 0.0 {
        return Err(format!("hidden size {} and clip {}", shared.hidden, shared.clip));
    }
    (0..shared.directions()).try_for_each(|d| shared.functions(d).map(|_| ()))?;
    let (dirs, hidden) = (Dim::from(shared.directions()), Dim::from(shared.hidden));
    let rows = &hidden * shared.gates as i64;
    let state = vec![dirs.clone(), x.shape[1].clone(), hidden.clone()];
    let mut expected = vec![
        vec![dirs.clone(), rows.clone(), x.shape[2].clone()],
        vec![dirs.clone(), rows.clone(), hidden.clone()],
        vec![dirs.clone(), rows * 2],
        vec![x.shape[1].clone()],
        state.clone(),
    ];
    if matches!(op, Op::Lstm { .. }) {
        expected.extend([state.clone(), vec![dirs.clone(), &hidden * 3]]);
    }
    for (i, (shape, t)) in expected.iter().zip(&cx.operands()[1..]).enumerate() {
        let dtype = if i == 3 { DType::I32 } else { x.dtype };
        if t.dtype != dtype || t.rank() != shape.len() {
            return Err(format!(
                "operand {} is {t}, should be {}",
                i + 1,
                Type { dtype, shape: shape.clone() }
            ));
        }
        for (a, b) in t.shape.iter().zip(shape) {
            cx.same(a, b).map_err(|e| format!("operand {}: {t}: {e}", i + 1))?;
        }
    }
    let y = x.with_shape([&[x.shape[0].clone()], &state[..]].concat());
    let last = x.with_shape(state);
    let states = if matches!(op, Op::Lstm { .. }) { 2 } else { 1 };
    Ok([vec![y], vec![last; states]].concat())
}

/// One direction of one sequence: its weights as doubles.
struct Weights<'a> {
    w: &'a [f64],
    r: &'a [f64],
    w_bias: &'a [f64],
    r_bias: &'a [f64],
    peephole: &'a [f64],
    functions: &'a [Activation],
    clip: f64,
    hidden: usize,
}

/// `bias + matrix · v`, the matrix row-major.
fn affine(matrix: &[f64], v: &[f64], bias: &[f64]) -> Vec<f64> {
    let row = |i: usize| matrix[i * v.len()..][..v.len()].iter().zip(v).map(|(a, b)| a * b).sum::<f64>();
    bias.iter().enumerate().map(|(i, b)| b + row(i)).collect()
}

/// A step: from the input to the new hidden state and cell, in place.
type Step = fn(&Weights, bool, &[f64], &mut [f64], &mut [f64]);

fn rnn(p: &Weights, _: bool, x: &[f64], h: &mut [f64], _: &mut [f64]) {
    let (gx, gh) = (affine(p.w, x, p.w_bias), affine(p.r, h, p.r_bias));
    h.iter_mut().zip(gx.iter().zip(&gh)).for_each(|(h, (a, b))| *h = p.functions[0].of(a + b, p.clip));
}

fn gru(p: &Weights, linear_before_reset: bool, x: &[f64], h: &mut [f64], _: &mut [f64]) {
    let n = p.hidden;
    let (gx, gh) = (affine(p.w, x, p.w_bias), affine(p.r, h, p.r_bias));
    let gate = |k: usize| -> Vec<f64> {
        (k * n..k * n + n).map(|i| p.functions[0].of(gx[i] + gh[i], p.clip)).collect()
    };
    let (z, reset) = (gate(0), gate(1));
    let candidate: Vec<f64> = if linear_before_reset {
        (0..n).map(|i| gx[2 * n + i] + reset[i] * gh[2 * n + i]).collect()
    } else {
        let kept: Vec<f64> = reset.iter().zip(h.iter()).map(|(r, h)| r * h).collect();
        let gh = affine(&p.r[2 * n * n..], &kept, &p.r_bias[2 * n..]);
        (0..n).map(|i| gx[2 * n + i] + gh[i]).collect()
    };
    for i in 0..n {
        h[i] = (1.0 - z[i]) * p.functions[1].of(candidate[i], p.clip) + z[i] * h[i];
    }
}

fn lstm(p: &Weights, input_forget: bool, x: &[f64], h: &mut [f64], c: &mut [f64]) {
    let n = p.hidden;
    let (gx, gh) = (affine(p.w, x, p.w_bias), affine(p.r, h, p.r_bias));
    let [f, g, out] = [p.functions[0], p.functions[1], p.functions[2]];
    for i in 0..n {
        let at = |gate: usize| gx[gate * n + i] + gh[gate * n + i];
        let input = f.of(at(0) + p.peephole[i] * c[i], p.clip);
        let forget =
            if input_forget { 1.0 - input } else { f.of(at(2) + p.peephole[2 * n + i] * c[i], p.clip) };
        c[i] = forget * c[i] + input * g.of(at(3), p.clip);
        h[i] = f.of(at(1) + p.peephole[n + i] * c[i], p.clip) * out.of(c[i], p.clip);
    }
}

fn eval(op: &Op, x: &[Tensor], types: &[Type]) -> Result<Vec<Tensor>, String> {
    let shared = Shared::of(op);
    let (step, flag): (Step, bool) = match op {
        Op::Gru { linear_before_reset, .. } => (gru, *linear_before_reset),
        Op::Lstm { input_forget, .. } => (lstm, *input_forget),
        _ => (rnn, false),
    };
    let [sequence, batch, input] = *x[0].shape() else { panic!("bug: rank 3") };
    let (n, dirs, rows) =
        (shared.hidden as usize, shared.directions(), shared.gates * shared.hidden as usize);
    let v: Vec<Vec<f64>> = x.iter().map(Tensor::to_f64s).collect();
    let lens = x[4].to_i64s();
    let mut y = vec![0.0; sequence * dirs * batch * n];
    let (mut last_h, mut last_c) = (Vec::new(), Vec::new());
    for (d, b) in (0..dirs).flat_map(|d| (0..batch).map(move |b| (d, b))) {
        let functions = shared.functions(d)?;
        let p = Weights {
            w: &v[1][d * rows * input..][..rows * input],
            r: &v[2][d * rows * n..][..rows * n],
            w_bias: &v[3][d * 2 * rows..][..rows],
            r_bias: &v[3][d * 2 * rows + rows..][..rows],
            peephole: v.get(7).map_or(&[], |p| &p[d * 3 * n..][..3 * n]),
            functions: &functions,
            clip: shared.clip,
            hidden: n,
        };
        let length = usize::try_from(lens[b]).unwrap_or(0).min(sequence);
        let state = (d * batch + b) * n;
        let mut h = v[5][state..][..n].to_vec();
        let mut c = v.get(6).map_or(Vec::new(), |c| c[state..][..n].to_vec());
        let backwards = d == 1 || shared.direction == Direction::Reverse;
        for t in 0..length {
            let t = if backwards { length - 1 - t } else { t };
            step(&p, flag, &v[0][(t * batch + b) * input..][..input], &mut h, &mut c);
            y[((t * dirs + d) * batch + b) * n..][..n].copy_from_slice(&h);
        }
        last_h.extend(h);
        last_c.extend(c);
    }
    let results = [y, last_h, last_c].into_iter().zip(types);
    Ok(results.map(|(v, ty)| Tensor::from_f64s(ty.dtype, known(ty), v)).collect())
}

pub(super) const RECURRENT: Definition = Definition { infer, eval };
