//! LSTM, GRU and RNN: optional operands filled in, batch-first layout turned.
use super::super::context::{Built, Context};
use super::super::error::invalid;
use super::{Row, many};
use sardonyx_ir::ops::attribute::Direction;
use sardonyx_ir::{Op, Value};
use sardonyx_tensor::{DType, Dim};

pub(super) const ROWS: &[Row] = &[
    many("GRU", 7, |cx| recurrent(cx, Cell::Gru)),
    many("LSTM", 7, |cx| recurrent(cx, Cell::Lstm)),
    many("RNN", 7, |cx| recurrent(cx, Cell::Rnn)),
];

#[derive(Clone, Copy, PartialEq)]
enum Cell {
    Rnn,
    Gru,
    Lstm,
}

impl Cell {
    fn gates(self) -> i64 {
        match self {
            Cell::Rnn => 1,
            Cell::Gru => 3,
            Cell::Lstm => 4,
        }
    }
    fn activations(self) -> &'static [&'static str] {
        match self {
            Cell::Rnn => &["Tanh"],
            Cell::Gru => &["Sigmoid", "Tanh"],
            Cell::Lstm => &["Sigmoid", "Tanh", "Tanh"],
        }
    }
}

fn recurrent(cx: &mut Context, cell: Cell) -> Built<Vec<Value>> {
    let (w, r) = (cx.operand(1)?, cx.operand(2)?);
    layers(cx, cell, w, r)
}

/// `com.microsoft.DynamicQuantizeLSTM`: weights `[dirs, in, 4h]` in bytes. They become floats; ONNX Runtime
/// rounds the input and every state to bytes besides.
pub(super) fn quantized_lstm(cx: &mut Context) -> Built<Vec<Value>> {
    let mut weights = Vec::new();
    for (bytes, scale) in [(1, 8), (2, 10)] {
        let (bytes, zero) = (cx.operand(bytes)?, cx.operand(scale + 1)?);
        let mut parameters = [cx.operand(scale)?, zero];
        for v in &mut parameters {
            // One of a direction, or one of each of its columns.
            *v = match cx.rank(*v) {
                1 => cx.unsqueeze(*v, &[1, 2])?,
                2 => cx.unsqueeze(*v, &[1])?,
                _ => return invalid(format!("parameters {} of weights", cx.ty(*v))),
            };
        }
        let [scale, zero] = parameters;
        let (wide, zero) = (cx.cast(bytes, DType::F32)?, cx.cast(zero, DType::F32)?);
        let moved = cx.minus(wide, zero)?;
        let floats = cx.times(moved, scale)?;
        let floats = cx.ranked(floats, 3)?;
        weights.push(cx.transpose(floats, &[0, 2, 1])?);
    }
    layers(cx, Cell::Lstm, weights[0], weights[1])
}

/// The layers with these weights, the other operands in ONNX's order.
fn layers(cx: &mut Context, cell: Cell, w: Value, r: Value) -> Built<Vec<Value>> {
    let mut x = cx.operand(0)?;
    let batch_first = cx.flag("layout", false)?;
    if batch_first {
        x = cx.transpose(x, &[1, 0, 2])?;
    }
    let shape = cx.shape(x);
    let [steps, batch, _] = shape.as_slice() else {
        return invalid(format!("{} is not [sequence, batch, input]", cx.ty(x)));
    };
    let (steps, batch) = (steps.clone(), batch.clone());
    let hidden = match (cx.int_if("hidden_size")?, cx.shape(r).last().and_then(Dim::known)) {
        (Some(n), _) | (None, Some(n)) => n,
        _ => return invalid("the hidden size is missing"),
    };
    let direction = match cx.string("direction", "forward")?.as_str() {
        "forward" => Direction::Forward,
        "reverse" => Direction::Reverse,
        "bidirectional" => Direction::Both,
        other => return invalid(format!("unknown direction `{other}`")),
    };
    let dirs = if direction == Direction::Both { 2 } else { 1 };
    let bias = filled(cx, 3, x, &[dirs.into(), Dim::from(hidden) * (2 * cell.gates())])?;
    let lengths = match cx.operand_if(4)? {
        Some(v) => cx.cast(v, DType::I32)?,
        None => {
            let all = cx.dim(steps, DType::I32)?;
            cx.expand(all, vec![batch.clone()])?
        }
    };
    let state = [dirs.into(), batch, hidden.into()];
    let mut operands = vec![x, w, r, bias, lengths, initial(cx, 5, x, &state, batch_first)?];
    if cell == Cell::Lstm {
        operands.push(initial(cx, 6, x, &state, batch_first)?);
        operands.push(filled(cx, 7, x, &[dirs.into(), Dim::from(hidden) * 3])?);
    }
    let op = cell_op(cx, cell, direction, hidden, dirs as usize)?;
    let v = cx.add(op, &operands)?;
    let ports = if cell == Cell::Lstm { 3 } else { 2 };
    let mut results: Vec<Value> = (0..ports).map(|p| v.port(p)).collect();
    if batch_first {
        results[0] = cx.transpose(results[0], &[2, 0, 1, 3])?;
        for state in &mut results[1..] {
            *state = cx.transpose(*state, &[1, 0, 2])?;
        }
    }
    Ok(results)
}

/// Operand `i`, or zeros of this shape.
fn filled(cx: &mut Context, i: usize, x: Value, shape: &[Dim]) -> Built {
    match cx.operand_if(i)? {
        Some(v) => Ok(v),
        None => {
            let zero = cx.like(x, 0.0);
            cx.expand(zero, shape.to_vec())
        }
    }
}

fn initial(cx: &mut Context, i: usize, x: Value, shape: &[Dim], batch_first: bool) -> Built {
    match cx.operand_if(i)? {
        Some(v) if batch_first => cx.transpose(v, &[1, 0, 2]),
        _ => filled(cx, i, x, shape),
    }
}

fn cell_op(cx: &Context, cell: Cell, direction: Direction, hidden: i64, dirs: usize) -> Built<Op> {
    let default =
        || cell.activations().iter().map(|s| s.to_string()).cycle().take(cell.activations().len() * dirs);
    let activations =
        cx.strings("activations")?.filter(|a| !a.is_empty()).unwrap_or_else(|| default().collect());
    let alpha = cx.floats("activation_alpha")?.unwrap_or_default();
    let beta = cx.floats("activation_beta")?.unwrap_or_default();
    let clip = match cx.float("clip", 0.0)? {
        0.0 => f64::INFINITY,
        clip => clip,
    };
    Ok(match cell {
        Cell::Rnn => Op::Rnn { direction, hidden, activations, alpha, beta, clip },
        Cell::Gru => {
            let linear_before_reset = cx.flag("linear_before_reset", false)?;
            Op::Gru { direction, hidden, activations, alpha, beta, clip, linear_before_reset }
        }
        Cell::Lstm => {
            let input_forget = cx.flag("input_forget", false)?;
            Op::Lstm { direction, hidden, activations, alpha, beta, clip, input_forget }
        }
    })
}
