//! Recurrent layers.
use crate::reference::{evaluate, near, place, random, run, target};
use sardonyx_codegen::kernel::contract::{Access, Operand};
use sardonyx_codegen::kernel::recurrent::{Cell, Recurrent};
use sardonyx_ir::scalar::Scalar;
use sardonyx_tensor::{Bindings, DType, Dim, Tensor};

const F32: DType = DType::F32;

fn sigmoid() -> Scalar {
    Scalar::build(1, |_, x| x[0].sigmoid())
}

fn tanh() -> Scalar {
    Scalar::build(1, |_, x| x[0].tanh())
}

fn matrix(arg: usize, shape: &[Dim]) -> Access {
    Access::row_major(arg, F32, shape)
}

/// The arguments: x, r, initial state, then what `cell` adds, the lengths, and y, the last states.
struct Case {
    steps: i64,
    batch: i64,
    hidden: i64,
    reverse: bool,
    lengths: Option<Vec<i64>>,
}

impl Case {
    fn check(&self, cell: &Cell) {
        for symbolic in [false, true] {
            for constant in [false, true] {
                self.check_layer(cell.clone(), symbolic, constant);
            }
        }
    }

    fn check_layer(&self, mut cell: Cell, symbolic: bool, constant: bool) {
        let size = |name: &str, n: i64| if symbolic { Dim::symbol(name) } else { n.into() };
        let (steps, batch, hidden) = (size("s", self.steps), size("b", self.batch), Dim::from(self.hidden));
        let gates = cell.gates();
        let [s, n, h] = [self.steps, self.batch, self.hidden];
        let state = [batch.clone(), hidden.clone()];
        let floats = |count: i64, seed: u64| random(F32, count as usize, seed);
        let mut args = vec![floats(s * n * gates * h, 1), floats(gates * h * h, 2), floats(n * h, 3)];
        match &mut cell {
            Cell::Gru { bias: Some(bias), .. } => {
                *bias = matrix(args.len(), std::slice::from_ref(&hidden));
                args.push(floats(h, 4));
            }
            Cell::Lstm { peepholes: Some(p), initial_cell, .. } => {
                *p = matrix(args.len(), &[3.into(), hidden.clone()]);
                *initial_cell = Some(matrix(args.len() + 1, &state));
                args.extend([floats(3 * h, 4), floats(n * h, 5)]);
            }
            _ => {}
        }
        let lengths = self.lengths.as_ref().map(|l| {
            args.push(Tensor::from_i64s(DType::I32, [l.len()], l.iter().copied()));
            Access::row_major(args.len() - 1, DType::I32, std::slice::from_ref(&batch))
        });
        let y = matrix(args.len(), &[steps.clone(), batch.clone(), hidden.clone()]);
        let last = matrix(args.len() + 1, &state);
        args.extend([floats(s * n * h, 6), floats(n * h, 7)]);
        if let Cell::Lstm { last_cell, .. } = &mut cell {
            *last_cell = Some(matrix(args.len(), &state));
            args.push(floats(n * h, 8));
        }
        let mut layer = Recurrent {
            cell,
            hidden: self.hidden,
            reverse: self.reverse,
            clip: Some(0.9),
            x: matrix(0, &[steps.clone(), batch.clone(), gates.into(), hidden.clone()]),
            r: Operand::Strided(matrix(1, &[gates.into(), hidden.clone(), hidden])),
            initial: Some(matrix(2, &state)),
            lengths,
            y: Some(y),
            last: Some(last),
            steps,
            batch,
        };
        let bind = Bindings::from([("s", s), ("b", n)]);
        let mut expected: Vec<Vec<f64>> = args.iter().map(Tensor::to_f64s).collect();
        (0..n).for_each(|sequence| self.reference(&layer, sequence, &mut expected, &bind));
        if constant {
            args[1] = layer.pack(&args[1], &target()).unwrap().tensor();
        }
        let nest = layer.nest("recurrent", &target());
        run(nest, &bind, &mut args);
        for access in [&layer.y, &layer.last].into_iter().flatten() {
            near("recurrent", &args[access.arg].to_f64s(), &expected[access.arg], 1e-5);
        }
        if let Cell::Lstm { last_cell: Some(c), .. } = &layer.cell {
            near("cells", &args[c.arg].to_f64s(), &expected[c.arg], 1e-5);
        }
    }

    /// One sequence, as the definition of the cells says.
    fn reference(&self, layer: &Recurrent, n: i64, data: &mut [Vec<f64>], bind: &Bindings) {
        let units = 0..self.hidden;
        let get = |data: &[Vec<f64>], a: &Access, at: &[i64]| data[a.arg][place(a, at, bind)];
        let (initial, y, last) =
            (layer.initial.as_ref().unwrap(), layer.y.as_ref().unwrap(), layer.last.as_ref().unwrap());
        let mut state: Vec<f64> = units.clone().map(|u| get(data, initial, &[n, u])).collect();
        let mut cells = vec![0.0; state.len()];
        if let Cell::Lstm { initial_cell: Some(c), .. } = &layer.cell {
            cells = units.clone().map(|u| get(data, c, &[n, u])).collect();
        }
        let length = self.lengths.as_ref().map_or(self.steps, |l| l[n as usize]);
        for step in 0..self.steps {
            if step >= length {
                units.clone().for_each(|u| data[y.arg][place(y, &[step, n, u], bind)] = 0.0);
                continue;
            }
            let time = if layer.reverse { length - 1 - step } else { step };
            state = self.step(layer, n, time, &state, &mut cells, data, bind);
            units.clone().for_each(|u| data[y.arg][place(y, &[time, n, u], bind)] = state[u as usize]);
        }
        units.clone().for_each(|u| data[last.arg][place(last, &[n, u], bind)] = state[u as usize]);
        if let Cell::Lstm { last_cell: Some(c), .. } = &layer.cell {
            units.for_each(|u| data[c.arg][place(c, &[n, u], bind)] = cells[u as usize]);
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn step(
        &self,
        layer: &Recurrent,
        n: i64,
        time: i64,
        state: &[f64],
        cells: &mut [f64],
        data: &[Vec<f64>],
        bind: &Bindings,
    ) -> Vec<f64> {
        let get = |a: &Access, at: &[i64]| data[a.arg][place(a, at, bind)];
        let Operand::Strided(weights) = &layer.r else { panic!("packed already") };
        let clip = layer.clip.unwrap_or(f64::INFINITY);
        let product = |gate: i64, u: usize, state: &[f64]| -> f64 {
            state.iter().zip(0..).map(|(s, k)| s * get(weights, &[gate, u as i64, k])).sum()
        };
        let call = |f: &Scalar, gate: i64, u: usize, more: f64| {
            evaluate(f, &[(get(&layer.x, &[time, n, gate, u as i64]) + more).clamp(-clip, clip)])
        };
        let all = 0..state.len();
        match &layer.cell {
            Cell::Rnn { f } => all.map(|u| call(f, 0, u, product(0, u, state))).collect(),
            Cell::Gru { f, g, linear_before_reset, bias } => {
                let r: Vec<f64> = all.clone().map(|u| call(f, 1, u, product(1, u, state))).collect();
                let reset: Vec<f64> = r.iter().zip(state).map(|(r, s)| r * s).collect();
                let new = |u: usize| {
                    let z = call(f, 0, u, product(0, u, state));
                    let bias = bias.as_ref().map_or(0.0, |b| get(b, &[u as i64]));
                    let more = if *linear_before_reset {
                        r[u] * (product(2, u, state) + bias)
                    } else {
                        product(2, u, &reset) + bias
                    };
                    (1.0 - z) * call(g, 2, u, more) + z * state[u]
                };
                all.map(new).collect()
            }
            Cell::Lstm { f, g, h, peepholes, input_forget, .. } => {
                let peep =
                    |gate: i64, u: usize| peepholes.as_ref().map_or(0.0, |p| get(p, &[gate, u as i64]));
                let mut new = |u: usize| {
                    let i = call(f, 0, u, product(0, u, state) + peep(0, u) * cells[u]);
                    let forget = if *input_forget {
                        1.0 - i
                    } else {
                        call(f, 2, u, product(2, u, state) + peep(2, u) * cells[u])
                    };
                    cells[u] = forget * cells[u] + i * call(g, 3, u, product(3, u, state));
                    call(f, 1, u, product(1, u, state) + peep(1, u) * cells[u]) * evaluate(h, &[cells[u]])
                };
                all.map(&mut new).collect()
            }
        }
    }
}

fn each_case(cell: &Cell) {
    let plain = |steps, batch, hidden| Case { steps, batch, hidden, reverse: false, lengths: None };
    plain(3, 1, 5).check(cell);
    plain(4, 7, 33).check(cell);
    Case { reverse: true, ..plain(5, 40, 16) }.check(cell);
    for reverse in [false, true] {
        Case { reverse, lengths: Some(vec![4, 0, 2]), ..plain(4, 3, 20) }.check(cell);
    }
}

#[test]
fn rnn() {
    each_case(&Cell::Rnn { f: tanh() });
}

#[test]
fn gru() {
    let bias = Some(Access::scalar(0, F32, 1));
    each_case(&Cell::Gru { f: sigmoid(), g: tanh(), linear_before_reset: false, bias: None });
    each_case(&Cell::Gru { f: sigmoid(), g: tanh(), linear_before_reset: true, bias });
}

#[test]
fn lstm() {
    let plain = Cell::Lstm {
        f: sigmoid(),
        g: tanh(),
        h: tanh(),
        peepholes: None,
        input_forget: false,
        initial_cell: None,
        last_cell: None,
    };
    each_case(&plain);
    let Cell::Lstm { f, g, h, .. } = plain else { return };
    let peepholes = Some(Access::scalar(0, F32, 2));
    each_case(&Cell::Lstm { f, g, h, peepholes, input_forget: true, initial_cell: None, last_cell: None });
}
