//! Attention.
use crate::reference::{each, near, place, random, run, target};
use sardonyx_codegen::kernel::attention::Attention;
use sardonyx_codegen::kernel::contract::Access;
use sardonyx_tensor::{Bindings, DType, Dim, Tensor};

const F32: DType = DType::F32;

/// Batch, query heads, heads per key head, queries, keys, size of keys and of values.
#[derive(Clone, Copy)]
struct Sizes([i64; 7]);

impl Sizes {
    /// Attention over `[batch, sequence, head, element]` buffers.
    fn attention(self, symbolic: bool) -> Attention {
        let Sizes([b, h, group, q, k, head, value]) = self;
        let size = |name: &str, n: i64| if symbolic { Dim::symbol(name) } else { n.into() };
        let (batch, queries, keys) = (size("b", b), size("q", q), size("k", k));
        let access = |arg: usize, sequence: &Dim, heads: i64, elements: i64| {
            let shape = [batch.clone(), sequence.clone(), heads.into(), elements.into()];
            let mut access = Access::row_major(arg, F32, &shape);
            access.strides.swap(1, 2);
            access
        };
        Attention {
            q: access(0, &queries, h, head),
            k: access(1, &keys, h / group, head),
            v: access(2, &keys, h / group, value),
            mask: None,
            out: access(3, &queries, h, value),
            heads: h.into(),
            group,
            head,
            value,
            scale: 1.0 / (head as f64).sqrt(),
            softcap: None,
            causal: None,
            batch,
            queries,
            keys,
        }
    }

    fn check(self, change: impl Fn(&mut Attention)) {
        for symbolic in [false, true] {
            let mut attention = self.attention(symbolic);
            change(&mut attention);
            self.check_attention(&attention);
        }
    }

    fn check_attention(self, attention: &Attention) {
        let Sizes([b, h, group, q, k, head, value]) = self;
        let bind = Bindings::from([("b", b), ("q", q), ("k", k)]);
        let mut args = vec![
            random(F32, (b * q * h * head) as usize, 1),
            random(F32, (b * k * h / group * head) as usize, 2),
            random(F32, (b * k * h / group * value) as usize, 3),
        ];
        if let Some(mask) = &attention.mask {
            let count = (b * h * q * k) as usize;
            args.push(match mask.dtype {
                DType::Bool => Tensor::from_f64s(
                    DType::Bool,
                    [count],
                    (0..count).map(|i| f64::from(u8::from(i % 7 != 2))),
                ),
                dtype => random(dtype, count, 4),
            });
        }
        args.push(random(F32, (b * q * h * value) as usize, 5));
        let data: Vec<Vec<f64>> = args.iter().map(Tensor::to_f64s).collect();
        let mut expected = data[attention.out.arg].clone();
        each(&[b, h, q], |at| {
            let scores: Vec<f64> = (0..k).map(|j| self.score(attention, at, j, &data, &bind)).collect();
            let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> =
                scores.iter().map(|s| if most.is_finite() { (s - most).exp() } else { 0.0 }).collect();
            let sum: f64 = weights.iter().sum();
            for e in 0..value {
                let v = |j: i64| data[2][place(&attention.v, &[at[0], at[1] / group, j, e], &bind)];
                let total: f64 = weights.iter().zip(0..).map(|(w, j)| w * v(j)).sum();
                expected[place(&attention.out, &[at, &[e]].concat(), &bind)] =
                    if sum == 0.0 { 0.0 } else { total / sum };
            }
        });
        let nest = attention.nest("attention", &target());
        let text = nest.to_string();
        run(nest, &bind, &mut args);
        near(&text, &args[attention.out.arg].to_f64s(), &expected, 2e-5);
    }

    fn score(self, a: &Attention, at: &[i64], j: i64, data: &[Vec<f64>], bind: &Bindings) -> f64 {
        let group = self.0[2];
        let product = |d: i64| {
            data[0][place(&a.q, &[at, &[d]].concat(), bind)]
                * data[1][place(&a.k, &[at[0], at[1] / group, j, d], bind)]
        };
        let mut score = (0..a.head).map(product).sum::<f64>() * a.scale;
        if let Some(cap) = a.softcap {
            score = (score / cap).tanh() * cap;
        }
        if let Some(mask) = &a.mask {
            let x = data[mask.arg][place(mask, &[at, &[j]].concat(), bind)];
            score += if mask.dtype != DType::Bool {
                x
            } else if x == 0.0 {
                f64::NEG_INFINITY
            } else {
                0.0
            };
        }
        let seen = a.causal.as_ref().is_none_or(|offset| j <= at[2] + offset.eval(bind).unwrap());
        if seen { score } else { f64::NEG_INFINITY }
    }
}

const SHAPES: [Sizes; 5] = [
    Sizes([1, 2, 1, 128, 128, 64, 64]),
    Sizes([2, 4, 2, 30, 150, 20, 24]),
    Sizes([1, 3, 1, 70, 300, 33, 7]),
    Sizes([2, 2, 2, 1, 40, 16, 16]),
    Sizes([1, 4, 4, 5, 129, 80, 80]),
];

#[test]
fn sizes_and_shared_heads() {
    SHAPES.iter().for_each(|s| s.check(|_| {}));
}

#[test]
fn causal_and_capped() {
    for s in SHAPES {
        s.check(|a| a.causal = Some(&a.keys - &a.queries));
        s.check(|a| {
            a.causal = Some(Dim::ZERO);
            a.softcap = Some(0.5);
        });
    }
    SHAPES[1].check(|a| a.causal = Some((-3).into()));
}

#[test]
fn masks() {
    for s in &SHAPES[1..] {
        for dtype in [DType::Bool, F32, DType::F16] {
            // Of heads, queries and keys; of keys alone.
            for kind in [1, 2] {
                s.check(|a| {
                    let shape = [a.batch.clone(), a.heads.clone(), a.queries.clone(), a.keys.clone()];
                    let mut mask = Access::row_major(3, dtype, &shape);
                    if kind > 0 {
                        mask.strides[..2].fill(Dim::ZERO);
                    }
                    if kind > 1 {
                        mask.strides[2] = Dim::ZERO;
                    }
                    a.mask = Some(mask);
                    a.out.arg = 4;
                });
            }
        }
    }
}
