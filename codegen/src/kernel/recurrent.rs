//! Recurrent layers of one direction: the recurrence over time, given the projected inputs.
//!
//! The product of the inputs with the input weights, with the biases that may be added before the
//! recurrence, is an ordinary [`super::contract::Gemm`] over all steps.
use super::contract::{Access, Operand};
use sardonyx_ir::scalar::Scalar;
use sardonyx_tensor::Dim;

/// The kind of cell, with its activations (each a function of one f32). `X` is the projected input,
/// `R` the recurrent weights; gates are in ONNX's order.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// `H = f(X + R·H)`.
    Rnn {
        /// The activation.
        f: Scalar,
    },
    /// Gates z, r, h: `z = f(X_z + R_z·H)`, `r = f(X_r + R_r·H)`, then
    /// `h = g(X_h + R_h·(r∘H) + b)`, or with `linear_before_reset` `h = g(X_h + r∘(R_h·H + b))`;
    /// `H = (1 - z)∘h + z∘H`.
    Gru {
        /// The activation of the gates.
        f: Scalar,
        /// The activation of the candidate.
        g: Scalar,
        /// Whether the reset gate comes after the product.
        linear_before_reset: bool,
        /// The recurrent bias `b` of gate h, over the hidden unit; with `linear_before_reset` it cannot be
        /// part of `X`.
        bias: Option<Access>,
    },
    /// Gates i, o, f, c: `i = f(X_i + R_i·H + P_i∘C)`, `f = f(X_f + R_f·H + P_f∘C)`,
    /// `c = g(X_c + R_c·H)`, `C = f∘C + i∘c`, `o = f(X_o + R_o·H + P_o∘C)`, `H = o∘h(C)`.
    Lstm {
        /// The activation of the gates.
        f: Scalar,
        /// The activation of the cell input.
        g: Scalar,
        /// The activation of the output.
        h: Scalar,
        /// The peepholes, over `gate (i, o, f), hidden unit`.
        peepholes: Option<Access>,
        /// Whether the forget gate is `1 - i`.
        input_forget: bool,
        /// The initial cell state, over `batch, hidden unit`; zeros without.
        initial_cell: Option<Access>,
        /// Where the last cell state goes, over `batch, hidden unit`.
        last_cell: Option<Access>,
    },
}

impl Cell {
    /// The number of gates.
    pub fn gates(&self) -> i64 {
        match self {
            Cell::Rnn { .. } => 1,
            Cell::Gru { .. } => 3,
            Cell::Lstm { .. } => 4,
        }
    }
}

/// The recurrence `H_t = cell(X_t, H_{t-1})` over the steps of a sequence, in f32. In all buffers of floats
/// the hidden units stand side by side.
#[derive(Clone, Debug, PartialEq)]
pub struct Recurrent {
    /// The cell.
    pub cell: Cell,
    /// The length of the sequences.
    pub steps: Dim,
    /// Sequences.
    pub batch: Dim,
    /// Hidden units.
    pub hidden: i64,
    /// From the last step to the first.
    pub reverse: bool,
    /// Pre-activations are limited to `-clip..clip`.
    pub clip: Option<f64>,
    /// The projected inputs with all biases, over `step, batch, gate, hidden unit`.
    pub x: Access,
    /// The recurrent weights, over `gate, hidden unit, previous hidden unit`.
    pub r: Operand,
    /// The initial state, over `batch, hidden unit`; zeros without.
    pub initial: Option<Access>,
    /// The lengths of the sequences, over `batch`: steps from there on give zeros in `y` and leave the state
    /// as it is; a reverse recurrence begins at each sequence's own last step.
    pub lengths: Option<Access>,
    /// Where the states of all steps go, over `step, batch, hidden unit`.
    pub y: Option<Access>,
    /// Where the last state goes, over `batch, hidden unit`.
    pub last: Option<Access>,
}
