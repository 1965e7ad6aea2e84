//! Images of few channels as GPUs read them fast: channels side by side, filled up with zeros to a number of which
//! neighbouring taps are whole packets, and their rows padded in place of the convolution.
//!
//! ```text
//! %0 = conv(%x, %w) : f16[b,64,112,112] {strides=[2, 2], pads=[3, 3, 3, 3]}        // %x: f16[b,3,224,224], 7 × 7 taps
//!
//! %0 = transpose(%x) {perm=[0, 2, 3, 1]}
//! %1 = pad(%0, 0.0) : f16[b,224,230,4] {before=[0, 0, 3, 0], after=[0, 0, 3, 1]}
//! %2 = transpose(%1) {perm=[0, 3, 1, 2]}
//! %3 = const … : f16[64,4,7,8]
//! %4 = conv(%2, %3) {strides=[2, 2], pads=[3, 0, 3, 0]}
//! ```
//! The taps of a row are one run of memory then, from an aligned place on. The grouping puts the padding into the
//! kernel that makes the image's elements halves.
use crate::Options;
use sardonyx_ir::ops::Op;
use sardonyx_ir::ops::attribute::PadMode;
use sardonyx_ir::rewrite::{Check, Match, Pat, Rule, RuleSet, Val, need, rule_if};
use sardonyx_ir::{Graph, OpBuilder, interp};
use sardonyx_tensor::{DType, Dim, Tensor};

pub(crate) fn rules() -> RuleSet {
    RuleSet::new(vec![few(false), few(true)])
}

pub(crate) fn run(g: &mut Graph, options: &Options) {
    if options.channels {
        rules().apply(g, &options.trace);
    }
}

/// Halves of a packet.
const PACKET: i64 = 8;

/// What becomes of a convolution.
struct Filled {
    op: Op,
    /// Zeros before and after in the image, its channels last.
    before: Vec<Dim>,
    after: Vec<Dim>,
    /// The weights, with zeros after them.
    weights: Tensor,
    dtype: DType,
}

fn few(bias: bool) -> Rule {
    let conv = || Op::Conv { strides: vec![], pads: vec![], dilations: vec![], group: 1 };
    if bias {
        return rule_if(
            "few_channels",
            move |[x, w, b]| Pat::apply(conv(), &[x, w, b]),
            filled,
            |[x, w, b], filled| {
                Val::apply(filled.op.clone(), &[filled.image(x), w.constant(filled.weights.clone()), b])
            },
        );
    }
    rule_if(
        "few_channels",
        move |[x, w]| Pat::apply(conv(), &[x, w]),
        filled,
        |[x, w], filled| {
            Val::apply(filled.op.clone(), &[filled.image(x), w.constant(filled.weights.clone())])
        },
    )
}

impl Filled {
    fn image<'g>(&self, x: Val<'g>) -> Val<'g> {
        let last = x.transpose(vec![0, 2, 3, 1]);
        let zero = x.constant(Tensor::from_f64s(self.dtype, [], [0.0]));
        let padded = last.pad(zero, self.before.clone(), self.after.clone(), PadMode::Constant);
        padded.transpose(vec![0, 3, 1, 2])
    }
}

fn filled(m: &Match) -> Check<Filled> {
    let Op::Conv { strides, pads, dilations, group } = m.op("conv").clone() else {
        panic!("bug: not a convolution")
    };
    let (x, w) = (m.var_type(0), m.var_type(1));
    need(x.rank() == 4 && group == 1, "not an image in one group")?;
    need(matches!(x.dtype, DType::F16 | DType::BF16), "it does not compute on halves")?;
    let given = m.constant(1)?;
    let known = |d: &Dim| d.known().ok_or("a size is not known");
    let (channels, taps, width) = (known(&w.shape[1])?, known(&w.shape[3])?, known(&x.shape[3])?);
    let columns = known(&m.ty().shape[3])?;
    let or = |list: &[i64], at: usize, default: i64| list.get(at).copied().unwrap_or(default);
    let (step, before) = (or(&strides, 1, 1), or(&pads, 1, 0));
    need(or(&dilations, 1, 1) == 1, "the taps of a row are not neighbours")?;
    need(taps > step, "no pixel is read twice")?;
    // So many channels that a step is whole packets, and so many taps that a row of them is.
    let most = [2, 4, PACKET].into_iter().find(|&c| c >= channels && c * step % PACKET == 0);
    let more = most.filter(|&c| c > channels).ok_or("the channels are not few, or packets already")?;
    let whole = |n: i64| (n + PACKET / more - 1) / (PACKET / more) * (PACKET / more);
    let row = whole((columns - 1) * step + whole(taps)).max(whole(before + width));
    need((row - whole(taps)) / step + 1 == columns, "the last columns are not read")?;
    let mut conv_pads = if pads.is_empty() { vec![0; 4] } else { pads };
    (conv_pads[1], conv_pads[3]) = (0, 0);
    let dims = |list: [i64; 4]| list.map(Dim::from).to_vec();
    let pad = Op::Pad {
        before: dims([0; 4]),
        after: dims([0, more - channels, 0, whole(taps) - taps]),
        mode: PadMode::Constant,
    };
    let zero = Tensor::from_f64s(x.dtype, [], [0.0]);
    let made = interp::eval_op(&pad, &[given.clone(), zero]).ok().and_then(|mut made| made.pop());
    Ok(Filled {
        op: Op::Conv { strides, pads: conv_pads, dilations, group },
        before: dims([0, 0, before, 0]),
        after: dims([0, 0, row - before - width, more - channels]),
        weights: made.ok_or("the weights cannot be filled up")?,
        dtype: x.dtype,
    })
}
