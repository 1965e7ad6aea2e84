//! Rules for products written with flattened batches, as einsum is by TensorFlow: batch axes are split again,
//! and what stands between a product and its operands moves to where rules and kernels expect it.
use sardonyx_ir::ops::Op;
use sardonyx_ir::rewrite::{Check, Rule, need, rule_if};
use sardonyx_ir::{OpBuilder, Value};
use sardonyx_tensor::Dim;

pub(super) fn rules() -> Vec<Rule> {
    vec![split_batch(), split_transpose(), squeezed_transpose(), matmul_transpose(), reshape_pad()]
}

/// `reshape(matmul(a, b))` that splits the batch axis is the product of operands with split batches.
fn split_batch() -> Rule {
    rule_if(
        "split_batch",
        |[a, b]| a.matmul(b).reshape(vec![]),
        |m| {
            let (a, b, to) = (&m.var_type(0).shape, &m.var_type(1).shape, &m.ty().shape);
            need(a.len() == 3 && b.len() == 3 && a[0] == b[0] && to.len() > 3, "no flattened batch")?;
            let (batch, matrix) = to.split_at(to.len() - 2);
            need(matrix == [a[1].clone(), b[2].clone()], "the matrices are reshaped")?;
            let split = |shape: &[Dim]| [batch, &shape[1..]].concat();
            Ok((split(a), split(b)))
        },
        |[a, b], (left, right)| a.reshape(left.clone()).matmul(b.reshape(right.clone())),
    )
}

fn perm_of(op: &Op) -> &[i64] {
    let Op::Transpose { perm } = op else { panic!("bug: not a transpose") };
    perm
}

/// A reshape that only splits the axes of a transpose splits them before it.
fn split_transpose() -> Rule {
    rule_if(
        "split_transpose",
        |[x]| x.transpose(vec![]).reshape(vec![]),
        |m| {
            let perm = perm_of(m.op("transpose"));
            let from = &m.var_type(0).shape;
            let moved: Vec<&Dim> = perm.iter().map(|&p| &from[p as usize]).collect();
            let groups = groups(&moved, &m.ty().shape).ok_or("it does more than split axes")?;
            let wide =
                |group: &Vec<usize>| group.iter().filter(|&&i| m.ty().shape[i] != Dim::ONE).count() > 1;
            need(groups.iter().any(wide), "it only adds axes of 1")?;
            // Where each axis of x stands after the transpose, and the result's axes it became.
            let place = |axis: usize| perm.iter().position(|&p| p as usize == axis).expect("a permutation");
            let order: Vec<usize> = (0..from.len()).flat_map(|axis| groups[place(axis)].clone()).collect();
            let shape: Vec<Dim> = order.iter().map(|&i| m.ty().shape[i].clone()).collect();
            let back =
                |i: usize| order.iter().position(|&o| o == i).expect("every axis is in a group") as i64;
            Ok((shape, (0..order.len()).map(back).collect::<Vec<i64>>()))
        },
        |[x], (shape, perm)| x.reshape(shape.clone()).transpose(perm.clone()),
    )
}

/// The consecutive axes of `to` that each axis of `from` became, if that is all a reshape does.
fn groups(from: &[&Dim], to: &[Dim]) -> Option<Vec<Vec<usize>>> {
    let mut next = 0;
    let mut groups = Vec::with_capacity(from.len());
    for d in from {
        let (mut group, mut product) = (vec![next], to.get(next)?.clone());
        next += 1;
        while product != **d {
            product *= to.get(next)?;
            group.push(next);
            next += 1;
        }
        groups.push(group);
    }
    groups.last_mut()?.extend(next..to.len());
    to[next..].iter().all(|d| *d == Dim::ONE).then_some(groups)
}

/// A transpose between reshapes does without axes of 1.
fn squeezed_transpose() -> Rule {
    rule_if(
        "squeezed_transpose",
        |[x]| x.transpose(vec![]).reshape(vec![]),
        |m| {
            let (g, v) = (m.graph(), m.var(0));
            let Op::Reshape { shape } = g.op(v) else { return Err("no reshape before it".into()) };
            let kept: Vec<usize> = (0..shape.len()).filter(|&i| shape[i] != Dim::ONE).collect();
            need(kept.len() < shape.len(), "no axes of 1")?;
            let place = |p: &i64| kept.iter().position(|&k| k as i64 == *p).map(|i| i as i64);
            let perm: Vec<i64> = perm_of(m.op("transpose")).iter().filter_map(place).collect();
            let squeezed: Vec<Dim> = kept.iter().map(|&i| shape[i].clone()).collect();
            Ok((g.operand(v.node, 0), squeezed, perm, m.ty().shape.clone()))
        },
        |[x], (source, squeezed, perm, shape): &(Value, Vec<Dim>, Vec<i64>, Vec<Dim>)| {
            x.other(*source).reshape(squeezed.clone()).transpose(perm.clone()).reshape(shape.clone())
        },
    )
}

/// A transposed product of two computed matrices is the product of their transposes, which strides express.
fn matmul_transpose() -> Rule {
    rule_if(
        "matmul_transpose",
        |[a, b]| a.matmul(b).transpose(vec![]),
        |m| -> Check<[Vec<i64>; 2]> {
            need(m.constant(0).is_err() && m.constant(1).is_err(), "a weight")?;
            let swap = |rank: usize| {
                let mut perm: Vec<i64> = (0..rank as i64).collect();
                perm.swap(rank - 2, rank - 1);
                perm
            };
            need(perm_of(m.op("transpose")) == swap(m.ty().rank()), "other axes move")?;
            Ok([0, 1].map(|i| swap(m.var_type(i).rank())))
        },
        |[a, b], [left, right]| b.transpose(right.clone()).matmul(a.transpose(left.clone())),
    )
}

/// Axes of 1 that are added or removed after a pad are so before it.
fn reshape_pad() -> Rule {
    rule_if(
        "reshape_pad",
        |[x, value]| x.pad(value, vec![], vec![], Default::default()).reshape(vec![]),
        |m| {
            let Op::Pad { before, after, mode } = m.op("pad") else { panic!("bug: not a pad") };
            let (from, to) = (&m.var_type(0).shape, &m.ty().shape);
            let padded = |i: &usize| before[*i] != Dim::ZERO || after[*i] != Dim::ZERO;
            let wide = |i: &usize| padded(i) || from[*i] != Dim::ONE;
            let kept: Vec<usize> = (0..from.len()).filter(wide).collect();
            let result = |i: usize| &from[i] + &before[i] + &after[i];
            let stays = kept.iter().map(|&i| result(i)).eq(to.iter().filter(|d| **d != Dim::ONE).cloned());
            need(stays && kept.iter().all(|&i| result(i) != Dim::ONE), "more than axes of 1 change")?;
            let mut next = kept.iter();
            let places: Vec<Option<usize>> =
                to.iter().map(|d| if *d == Dim::ONE { None } else { next.next().copied() }).collect();
            let spread = |of: &[Dim], none: Dim| -> Vec<Dim> {
                places.iter().map(|p| p.map_or(none.clone(), |i| of[i].clone())).collect()
            };
            Ok((spread(from, Dim::ONE), spread(before, Dim::ZERO), spread(after, Dim::ZERO), *mode))
        },
        |[x, value], (shape, before, after, mode)| {
            x.reshape(shape.clone()).pad(value, before.clone(), after.clone(), *mode)
        },
    )
}
