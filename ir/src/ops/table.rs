//! The rows of the op table.
//!
//! A row: variant, name, required operands `| optional` operands `; variadic ..`, attributes with their
//! defaults (`_` is the type's), then `map` with the scalar expression or `via` with the definition.
use super::attribute::*;
use super::{
    Definition, attention, control, conv, deform, detection, gather, images, linear, linear_attention, lists,
    matmul, movement, norm, order, pool, random, recurrent, reduce, resize, texts, trees,
};
use crate::graph::Graph;
use crate::scalar::{Expr, Scalar};
use crate::text::{Parser, Result};
use crate::types::Type;
use sardonyx_tensor::{DType, Dim};
use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// What the table says of an op beside its meaning.
#[derive(Debug)]
pub struct Row {
    name: &'static str,
    /// The names of all operands in order: required, optional, variadic.
    pub operands: &'static [&'static str],
    /// The number of operands that must be there.
    pub required: usize,
    /// The number of operands that may follow.
    pub optional: usize,
    /// Whether any number of operands may follow.
    pub variadic: bool,
    /// The names and Rust types of the attributes.
    pub attributes: &'static [(&'static str, &'static str)],
    /// Whether a scalar expression defines it.
    pub pointwise: bool,
    /// That expression.
    pub expression: &'static str,
    /// The documentation of the row.
    pub about: &'static str,
}

impl Row {
    /// The name in the text form.
    pub fn name(&self) -> &'static str {
        self.name.trim_end_matches('_')
    }
    /// How many operands, in words.
    pub fn arity(&self) -> String {
        match (self.variadic, self.optional) {
            (true, _) => format!("{} or more", self.required),
            (false, 0) => self.required.to_string(),
            (false, n) => format!("{} to {}", self.required, self.required + n),
        }
    }
}

static LEAF: Row = Row {
    name: "leaf",
    operands: &[],
    required: 0,
    optional: 0,
    variadic: false,
    attributes: &[],
    pointwise: false,
    expression: "",
    about: "",
};

/// Inputs and constants, whose types are given and not inferred.
mod leaf {
    use super::*;
    pub(super) const INPUT: Definition = Definition {
        infer: |_, _| panic!("bug: the type of an input is given"),
        eval: |_, _, _| panic!("bug: the value of an input is given"),
    };
    pub(super) const CONST: Definition = Definition {
        infer: |op, _| {
            let Op::Const { value } = op else { panic!("bug: not a constant") };
            Ok(vec![Type::new(value.tensor().dtype(), value.tensor().shape().iter().map(|&n| n as i64))])
        },
        eval: |op, _, _| {
            let Op::Const { value } = op else { panic!("bug: not a constant") };
            Ok(vec![value.tensor().clone()])
        },
    };
}

impl Op {
    /// A constant with these elements.
    pub fn constant(tensor: sardonyx_tensor::Tensor) -> Op {
        Op::Const { value: Constant::new(tensor) }
    }
}

/// Prints attributes as `{name=value, …}`; those with their default value and regions are left out.
struct AttributeList<'a> {
    out: &'a mut String,
    empty: bool,
}

impl<'a> AttributeList<'a> {
    fn new(out: &'a mut String) -> AttributeList<'a> {
        AttributeList { out, empty: true }
    }
    fn add<A: Attribute>(&mut self, name: &str, value: &A, default: &A) {
        if value.region().is_some() || value == default {
            return;
        }
        self.out.push_str(if self.empty { " {" } else { ", " });
        self.empty = false;
        self.out.push_str(name);
        self.out.push('=');
        value.print(self.out);
    }
    fn close(self) {
        if !self.empty {
            self.out.push('}');
        }
    }
}

fn gelu_tanh<'b>(x: Expr<'b>) -> Expr<'b> {
    let inner = (x + 0.044715 * (x * x * x)) * (2.0 / PI).sqrt();
    0.5 * x * (1.0 + inner.tanh())
}

ops! {
    // --- Arithmetic ------------------------------------------------------------------------------
    Add        add        (a, b)       {}                          map a + b;
    Sub        sub        (a, b)       {}                          map a - b;
    Mul        mul        (a, b)       {}                          map a * b;
    /// Integers: toward zero.
    Div        div        (a, b)       {}                          map a / b;
    /// The remainder with the sign of the divisor (ONNX Mod with `fmod=0`).
    Mod        modulo     (a, b)       {}                          map a.modulo(b);
    /// The remainder with the sign of the dividend (ONNX Mod with `fmod=1`).
    Rem        rem        (a, b)       {}                          map a.rem(b);
    Pow        pow        (a, b)       {}                          map a.pow(b);
    Min        min        (a, b)       {}                          map a.min(b);
    Max        max        (a, b)       {}                          map a.max(b);
    Neg        neg        (x)          {}                          map -x;
    Abs        abs        (x)          {}                          map x.abs();
    Sign       sign       (x)          {}                          map x.sign();
    Floor      floor      (x)          {}                          map x.floor();
    Ceil       ceil       (x)          {}                          map x.ceil();
    /// To the nearest integer, ties to even.
    Round      round      (x)          {}                          map x.round();
    Reciprocal reciprocal (x)          {}                          map 1.0 / x;
    Sqrt       sqrt       (x)          {}                          map x.sqrt();
    Rsqrt      rsqrt      (x)          {}                          map 1.0 / x.sqrt();
    Exp        exp        (x)          {}                          map x.exp();
    Log        log        (x)          {}                          map x.log();
    Sin        sin        (x)          {}                          map x.sin();
    Cos        cos        (x)          {}                          map x.cos();
    Tan        tan        (x)          {}                          map x.tan();
    Asin       asin       (x)          {}                          map x.asin();
    Acos       acos       (x)          {}                          map x.acos();
    Atan       atan       (x)          {}                          map x.atan();
    Sinh       sinh       (x)          {}                          map x.sinh();
    Cosh       cosh       (x)          {}                          map x.cosh();
    Tanh       tanh       (x)          {}                          map x.tanh();
    Asinh      asinh      (x)          {}                          map x.asinh();
    Acosh      acosh      (x)          {}                          map x.acosh();
    Atanh      atanh      (x)          {}                          map x.atanh();
    Erf        erf        (x)          {}                          map x.erf();
    // --- Comparison, logic, bits, choice ---------------------------------------------------------
    Eq         eq         (a, b)       {}                          map a.eq(b);
    Lt         lt         (a, b)       {}                          map a.lt(b);
    Le         le         (a, b)       {}                          map a.le(b);
    Gt         gt         (a, b)       {}                          map a.gt(b);
    Ge         ge         (a, b)       {}                          map a.ge(b);
    /// Bitwise on integers, as `or`, `xor` and `not`.
    And        and        (a, b)       {}                          map a.and(b);
    Or         or         (a, b)       {}                          map a.or(b);
    Xor        xor        (a, b)       {}                          map a.xor(b);
    Not        not        (x)          {}                          map x.not();
    ShiftLeft  shift_left (a, b)       {}                          map a.shl(b);
    ShiftRight shift_right (a, b)      {}                          map a.shr(b);
    IsNan      is_nan     (x)          {}                          map x.is_nan();
    IsInf      is_inf     (x)          {}                          map x.is_inf();
    /// `a` where `c` holds, else `b`.
    Select     select     (c, a, b)    {}                          map c.select(a, b);
    /// To integers toward zero, to bool by `!= 0`.
    Cast       cast       (x)          { to: DType = (DType::F32) }  map x.cast(to);
    Clip       clip       (x)          { min: f64 = (f64::NEG_INFINITY), max: f64 = (f64::INFINITY) } map x.max(min).min(max);
    // --- Activations -----------------------------------------------------------------------------
    Relu       relu       (x)          {}                          map x.max(0.0);
    LeakyRelu  leaky_relu (x)          { alpha: f64 = 0.01 }       map x.lt(0.0).select(x * alpha, x);
    Prelu      prelu      (x, slope)   {}                          map x.lt(0.0).select(x * slope, x);
    ThresholdedRelu thresholded_relu (x) { alpha: f64 = 1.0 }      map x.gt(alpha).select(x, 0.0);
    Elu        elu        (x)          { alpha: f64 = 1.0 }        map x.lt(0.0).select(x.expm1() * alpha, x);
    /// Klambauer et al. 2017.
    Selu       selu       (x)          { alpha: f64 = 1.673_263_192_176_818_8, gamma: f64 = 1.050_701_022_148_132_3 } map (x.le(0.0).select(x.expm1() * alpha, x)) * gamma;
    Celu       celu       (x)          { alpha: f64 = 1.0 }        map x.max(0.0) + ((x / alpha).expm1() * alpha).min(0.0);
    Sigmoid    sigmoid    (x)          {}                          map x.sigmoid();
    HardSigmoid hard_sigmoid (x)       { alpha: f64 = 0.2, beta: f64 = 0.5 } map (x * alpha + beta).max(0.0).min(1.0);
    HardSwish  hard_swish (x)          {}                          map x * (x * (1.0 / 6.0) + 0.5).max(0.0).min(1.0);
    Softplus   softplus   (x)          {}                          map x.max(0.0) + (-x.abs()).exp().log1p();
    Softsign   softsign   (x)          {}                          map x / (1.0 + x.abs());
    /// `x * sigmoid(alpha * x)`: SiLU for `alpha` 1, quick GELU for 1.702.
    Silu       silu       (x)          { alpha: f64 = 1.0 }        map x / (1.0 + (-(x * alpha)).exp());
    Mish       mish       (x)          {}                          map x * (x.max(0.0) + (-x.abs()).exp().log1p()).tanh();
    /// `x Φ(x)` (Hendrycks & Gimpel 2016).
    Gelu       gelu       (x)          {}                          map 0.5 * x * (1.0 + (x * FRAC_1_SQRT_2).erf());
    /// Its tanh approximation.
    GeluTanh   gelu_tanh  (x)          {}                          map gelu_tanh(x);
    Shrink     shrink     (x)          { bias: f64 = 0.0, lambda: f64 = 0.5 } map x.lt(-lambda).select(x + bias, x.gt(lambda).select(x - bias, 0.0));
    /// The same bits as a type of the same width.
    Bitcast    bitcast    (x)          { to: DType = (DType::I32) } via movement::BITCAST;
    // --- Shapes and movement ---------------------------------------------------------------------
    /// Symbolic values as an i64 tensor of rank 1.
    Dims       dims       ()           { values: Vec<Dim> = _ }    via movement::DIMS;
    /// `x` (i64, flat), whose elements only the run knows, under the names that `dims` gives them.
    Bind       bind       (x)          { dims: Vec<Dim> = _ }      via movement::BIND;
    /// 0, 1, … `count - 1`.
    Iota       iota       ()           { count: Dim = 0, to: DType = (DType::I64) } via movement::IOTA;
    Reshape    reshape    (x)          { shape: Vec<Dim> = _ }     via movement::RESHAPE;
    Transpose  transpose  (x)          { perm: Vec<i64> = _ }      via movement::TRANSPOSE;
    /// Numpy broadcast to `shape`.
    Expand     expand     (x)          { shape: Vec<Dim> = _ }     via movement::EXPAND;
    /// `sizes[i]` elements of axis i from `starts[i]` on, every `steps[i]`-th (negative: backwards).
    Slice      slice      (x)          { starts: Vec<Dim> = _, sizes: Vec<Dim> = _, steps: Vec<i64> = _ } via movement::SLICE;
    Concat     concat     (; xs ..)    { axis: i64 = 0 }           via movement::CONCAT;
    /// `value` is a scalar; negative amounts crop.
    Pad        pad        (x, value)   { before: Vec<Dim> = _, after: Vec<Dim> = _, mode: PadMode = _ } via movement::PAD;
    // --- Reductions ------------------------------------------------------------------------------
    /// Over `axes` (none: over nothing), which stay as 1.
    ReduceSum  reduce_sum  (x)         { axes: Vec<i64> = _ }      via reduce::SUM;
    ReduceMean reduce_mean (x)         { axes: Vec<i64> = _ }      via reduce::MEAN;
    ReduceMax  reduce_max  (x)         { axes: Vec<i64> = _ }      via reduce::MAX;
    ReduceMin  reduce_min  (x)         { axes: Vec<i64> = _ }      via reduce::MIN;
    ReduceProd reduce_prod (x)         { axes: Vec<i64> = _ }      via reduce::PROD;
    // --- Contractions ----------------------------------------------------------------------------
    /// Numpy's: ranks of 2 or more, batch dimensions broadcast; integers wrap.
    Matmul     matmul     (a, b)       {}                          via matmul::MATMUL;
    /// `x` `[n,c,…]`, `w` `[oc,c/group,k…]`, `bias` `[oc]`; `pads` all begins, then all ends.
    Conv       conv       (x, w | bias) { strides: Vec<i64> = _, pads: Vec<i64> = _, dilations: Vec<i64> = _, group: i64 = 1 } via conv::CONV;
    /// Of 8-bit integers of any signedness, summed exactly in i32 (which wraps).
    IntegerMatmul integer_matmul (a, b) {}                         via matmul::INTEGER_MATMUL;
    /// Of 8-bit integers of any signedness, as `conv` but summed in i32; what is padded has the value `pad`, a scalar of `x`'s type (0).
    IntegerConv integer_conv (x, w | pad) { strides: Vec<i64> = _, pads: Vec<i64> = _, dilations: Vec<i64> = _, group: i64 = 1 } via conv::INTEGER_CONV;
    /// `w` `[c,oc/group,k…]`; `pads` crop the result, `output_padding` extends its ends.
    ConvTranspose conv_transpose (x, w | bias) { strides: Vec<i64> = _, pads: Vec<i64> = _, dilations: Vec<i64> = _, output_padding: Vec<i64> = _, group: i64 = 1 } via conv::CONV_TRANSPOSE;
    /// Taps moved by `offset` `[n,2·offset_group·k…,oh,ow]` (y, x) and weighted by `mask` `[n,offset_group·k…,oh,ow]`; two spatial dimensions.
    DeformConv deform_conv (x, w, offset | bias, mask) { strides: Vec<i64> = _, pads: Vec<i64> = _, dilations: Vec<i64> = _, group: i64 = 1, offset_group: i64 = 1 } via deform::DEFORM_CONV;
    /// `q` `[b,h,s,d]`, `k` `[b,g,t,d]`, `v` `[b,g,t,e]`, `h` a multiple of `g`; the mask broadcasts to `[b,h,s,t]`, a float that is added or a bool that keeps. `softcap` 0 is none. Causal: key `j` is visible to query `i` where `j <= i + t - s`. A query that sees no key gives zeros.
    Attention  attention  (q, k, v | mask) { scale: f64 = 1.0, causal: bool = false, softcap: f64 = 0.0 } via attention::ATTENTION;
    /// `q` `[b,t,h,d]`, `k` `[b,t,g,d]`, `v` `[b,t,g,e]`, `state` `[b,g,d,e]`, `h` a multiple of `g`; `decay` `[b,t,g,d]` or `[b,t,g,1]`, as logarithms, `beta` `[b,t,g,1]`. A step multiplies the state by `exp(decay)` and adds `k ⊗ v`, with `delta` `beta · k ⊗ (v - stateᵀ k)`; `y` is `scale · stateᵀ q`. Results `y` `[b,t,h,e]` and the last state.
    LinearAttention linear_attention (q, k, v, state | decay, beta) { delta: bool = false, scale: f64 = 1.0 } via linear_attention::LINEAR_ATTENTION;
    // --- Windows ---------------------------------------------------------------------------------
    /// `ceil`: a window may hang over the end if it starts before it.
    MaxPool    max_pool   (x)          { kernel: Vec<i64> = _, strides: Vec<i64> = _, pads: Vec<i64> = _, dilations: Vec<i64> = _, ceil: bool = false } via pool::MAX;
    /// Also the places of the maxima in the flattened `x`, its spatial dimensions counted column-major if asked.
    MaxPoolIndices max_pool_indices (x) { kernel: Vec<i64> = _, strides: Vec<i64> = _, pads: Vec<i64> = _, dilations: Vec<i64> = _, ceil: bool = false, column_major: bool = false } via pool::MAX_INDICES;
    AvgPool    avg_pool   (x)          { kernel: Vec<i64> = _, strides: Vec<i64> = _, pads: Vec<i64> = _, dilations: Vec<i64> = _, ceil: bool = false, count_include_pad: bool = false } via pool::AVERAGE;
    /// `(Σ |x|^p)^(1/p)`.
    LpPool     lp_pool    (x)          { kernel: Vec<i64> = _, strides: Vec<i64> = _, pads: Vec<i64> = _, dilations: Vec<i64> = _, ceil: bool = false, p: i64 = 2 } via pool::LP;
    // --- Softmax and normalization ---------------------------------------------------------------
    Softmax    softmax    (x)          { axis: i64 = (-1) }        via norm::SOFTMAX;
    LogSoftmax log_softmax (x)         { axis: i64 = (-1) }        via norm::LOG_SOFTMAX;
    /// Over the last `axes` axes, to which the parameters broadcast.
    LayerNorm  layer_norm (x, scale | bias) { axes: i64 = 1, epsilon: f64 = 1e-5 } via norm::LAYER;
    RmsNorm    rms_norm   (x, scale)   { axes: i64 = 1, epsilon: f64 = 1e-5 } via norm::RMS;
    /// Parameters are `[c]`, as those of `group_norm` and `batch_norm`.
    InstanceNorm instance_norm (x, scale, bias) { epsilon: f64 = 1e-5 } via norm::INSTANCE;
    GroupNorm  group_norm (x, scale, bias) { groups: i64 = 1, epsilon: f64 = 1e-5 } via norm::GROUP;
    BatchNorm  batch_norm (x, scale, bias, mean, var) { epsilon: f64 = 1e-5 } via norm::BATCH;
    /// Over `size` neighbouring channels (Krizhevsky et al. 2012).
    Lrn        lrn        (x)          { size: i64 = 1, alpha: f64 = 1e-4, beta: f64 = 0.75, bias: f64 = 1.0 } via norm::LRN;
    // --- Indexing --------------------------------------------------------------------------------
    /// Indices are i64 or i32; negative ones count from the end.
    Gather     gather     (x, indices) { axis: i64 = 0 }           via gather::GATHER;
    GatherElements gather_elements (x, indices) { axis: i64 = 0 }  via gather::GATHER_ELEMENTS;
    GatherNd   gather_nd  (x, indices) { batch_dims: i64 = 0 }     via gather::GATHER_ND;
    ScatterElements scatter_elements (x, indices, updates) { axis: i64 = 0, reduction: Reduction = _ } via gather::SCATTER_ELEMENTS;
    ScatterNd  scatter_nd (x, indices, updates) { reduction: Reduction = _ } via gather::SCATTER_ND;
    /// The axis stays as 1.
    ArgMax     arg_max    (x)          { axis: i64 = 0, last: bool = false } via order::ARG_MAX;
    ArgMin     arg_min    (x)          { axis: i64 = 0, last: bool = false } via order::ARG_MIN;
    /// Values and i64 indices; equal elements in order.
    TopK       top_k      (x)          { axis: i64 = (-1), k: Dim = 1, largest: bool = true, sorted: bool = true } via order::TOP_K;
    CumSum     cumsum     (x)          { axis: i64 = 0, exclusive: bool = false, reverse: bool = false } via order::CUM_SUM;
    CumProd    cumprod    (x)          { axis: i64 = 0, exclusive: bool = false, reverse: bool = false } via order::CUM_PROD;
    /// The coordinates of what is not zero, `[rank, count]`; `count` is a new symbol.
    NonZero    non_zero   (x)          { count: Dim = _ }          via order::NON_ZERO;
    /// Slices along `axis` that differ, where each is first, which of them each slice of `x` is, how often each is. Sorted, or in order of appearance; `count` is a new symbol.
    Unique     unique     (x)          { axis: i64 = 0, sorted: bool = true, count: Dim = _ } via order::UNIQUE;
    /// Non-maximum suppression: `boxes` `[b,n,4]` (two opposite corners y, x, or with `centers` x, y, width, height), `scores` `[b,c,n]`, then scalars: i64 most boxes a class, least overlap to suppress, score to exceed. Rows `[count,3]` of batch, class, box; `count` is a new symbol.
    Nms        nms        (boxes, scores, most, iou, threshold) { centers: bool = false, count: Dim = _ } via detection::NMS;
    /// ONNX RoiAlign: `rois` `[k,4]` as x, y of two corners, `batch_indices` `[k]`; without `half_pixel` regions are at least a pixel large.
    RoiAlign   roi_align  (x, rois, batch_indices) { mode: RegionPooling = _, height: i64 = 1, width: i64 = 1, sampling_ratio: i64 = 0, spatial_scale: f64 = 1.0, half_pixel: bool = true } via detection::ROI_ALIGN;
    /// `rois` `[k,5]`: batch index, then x, y of two corners.
    MaxRoiPool max_roi_pool (x, rois)  { height: i64 = 1, width: i64 = 1, spatial_scale: f64 = 1.0 } via detection::MAX_ROI_POOL;
    /// Dynamic time warping: the cheapest path through `costs` `[m,n]` from the first to the last, as i32 rows and columns `[2,count]`; `count` is a new symbol.
    TimeWarp   time_warp  (costs)      { count: Dim = _ }          via order::TIME_WARP;
    // --- Trees -----------------------------------------------------------------------------------
    /// An ensemble of trees on rows `x` `[rows,features]`. A node is four i32 in `nodes` `[n,4]`: the feature that has to be `<=` its element of `splits`, whether NaN passes, the node that follows where it does and that where not; both stand after it, and `-1 - i` is leaf `i`. `roots` `[trees]`; leaf `i` has elements `leaves[i]` to `leaves[i+1]` of `targets` and `weights`. Result `[rows,outputs]`: the sum, minimum or maximum of a target's weights in the leaves reached, 0 without any.
    Trees      trees      (x, nodes, splits, roots, leaves, targets, weights) { outputs: i64 = 1, reduction: Reduction = (Reduction::Add) } via trees::TREES;
    // --- Linear algebra, random numbers ----------------------------------------------------------
    Det        det        (x)          {}                          via linear::DET;
    /// NaN where a matrix has none.
    Inverse    inverse    (x)          {}                          via linear::INVERSE;
    /// Complex numbers are the last dimension, of size 2, or 1 if they are real. `x` is cut or filled with zeros to `length`. One-sided: half the spectrum `length / 2 + 1` of a real signal; its inverse gives a real signal.
    Dft        dft        (x)          { axis: i64 = (-2), length: Dim = _, inverse: bool = false, onesided: bool = false } via linear::DFT;
    RandomUniform random_uniform ()    { shape: Vec<Dim> = _, low: f64 = 0.0, high: f64 = 1.0, seed: i64 = 0, to: DType = (DType::F32) } via random::UNIFORM;
    RandomNormal random_normal ()      { shape: Vec<Dim> = _, mean: f64 = 0.0, scale: f64 = 1.0, seed: i64 = 0, to: DType = (DType::F32) } via random::NORMAL;
    // --- Sampling --------------------------------------------------------------------------------
    /// ONNX Resize. A scale of 0 is that of the sizes; `roi` is empty or all starts, then all ends. `scale` and `region` stand in their place where only the run knows them.
    Resize     resize     (x | scale, region) { sizes: Vec<Dim> = _, scales: Vec<f64> = _, mode: Interpolation = _, coordinates: Coordinates = _, nearest: Nearest = _, cubic_coeff: f64 = (-0.75), exclude_outside: bool = false, antialias: bool = false, extrapolation: f64 = 0.0, roi: Vec<f64> = _ } via resize::RESIZE;
    /// `grid` `[n,…,spatial]` in -1…1, innermost coordinate first.
    GridSample grid_sample (x, grid)   { mode: Interpolation = (Interpolation::Linear), padding: Padding = _, align_corners: bool = false } via resize::GRID_SAMPLE;
    // --- Recurrence ------------------------------------------------------------------------------
    /// Results `y` `[s,dirs,b,h]` and the last state `[dirs,b,h]`; one activation per direction.
    Rnn        rnn        (x, w, r, bias, seq_lens, h0) { direction: Direction = _, hidden: i64 = 1, activations: Vec<String> = _, alpha: Vec<f64> = _, beta: Vec<f64> = _, clip: f64 = (f64::INFINITY) } via recurrent::RECURRENT;
    /// As `rnn`, two activations per direction; `bias` `[dirs,6h]`, gates `z r h`.
    Gru        gru        (x, w, r, bias, seq_lens, h0) { direction: Direction = _, hidden: i64 = 1, activations: Vec<String> = _, alpha: Vec<f64> = _, beta: Vec<f64> = _, clip: f64 = (f64::INFINITY), linear_before_reset: bool = false } via recurrent::RECURRENT;
    /// As `rnn`, three activations per direction, also the last cell; `bias` `[dirs,8h]`, gates `i o f c`, `peephole` `[dirs,3h]`.
    Lstm       lstm       (x, w, r, bias, seq_lens, h0, c0, peephole) { direction: Direction = _, hidden: i64 = 1, activations: Vec<String> = _, alpha: Vec<f64> = _, beta: Vec<f64> = _, clip: f64 = (f64::INFINITY), input_forget: bool = false } via recurrent::RECURRENT;
    // --- Texts -----------------------------------------------------------------------------------
    /// Each text of `a` with that of `b` behind it, numpy-broadcast.
    TextConcat text_concat (a, b)      {}                          via texts::CONCAT;
    /// The parts between delimiters, at most `most` + 1 (negative: any number), as `[…,width]` with empty texts behind shorter lists, and their number `[…]`. An empty delimiter: any white space.
    TextSplit  text_split (x, delimiter) { most: i64 = (-1), width: Dim = _ } via texts::SPLIT;
    /// Whether a pattern fits the whole text.
    TextMatch  text_match (x, pattern) {}                          via texts::MATCH;
    /// `x` `[n]` or `[1,n]` without the texts in `stops` `[m]` (compared without regard to case unless `exact`), in a case; one empty text where none is left.
    TextNormalize text_normalize (x, stops) { case: LetterCase = _, exact: bool = false, count: Dim = _ } via texts::NORMALIZE;
    /// The tokens of each text, `[…,width]` with `pad` behind shorter lists: the longest matches of the patterns `[n]`, or with `between` what is left between them (an empty one: all characters). Those shorter than `least` characters go; with `mark` a text's tokens begin with U+0002 and end with U+0003.
    TextTokens text_tokens (x, patterns, pad) { between: bool = true, least: i64 = 1, mark: bool = false, width: Dim = _ } via texts::TOKENS;
    /// Numbers as texts: 8 significant digits of a float, 17 of an `f64`.
    TextOf     text_of    (x)          {}                          via texts::OF_NUMBER;
    /// Texts as numbers; fails where one is none.
    NumberOf   number_of  (x)          { to: DType = (DType::F32) } via texts::TO_NUMBER;
    /// The value at the place of the first equal key of `keys` `[n]`, for each element; `default` where there is none.
    Lookup     lookup     (x, keys, values, default) {}            via texts::LOOKUP;
    // --- Pictures --------------------------------------------------------------------------------
    /// The picture in the bytes of a file `[n]` (u8; BMP, JPEG, JPEG 2000, PNG, PNM, TIFF or WebP), u8 `[height,width,channels]`; height and width are new symbols.
    ImageDecode image_decode (bytes) { form: PixelForm = _, height: Dim = _, width: Dim = _ } via images::DECODE;
    // --- Lists -----------------------------------------------------------------------------------
    /// A list of these tensors or lists, `[]`.
    ListOf     list_of    (; items ..) {}                          via lists::LIST;
    /// The item at a place, which may count from the end, of this type; sizes that are not known are new symbols.
    ListAt     list_at    (list, index) { to: DType = (DType::F32), shape: Vec<Dim> = _ } via lists::AT;
    /// With an item before the one at a place, or behind all.
    ListInsert list_insert (list, item, index) {}                  via lists::INSERT;
    /// Without the item at a place.
    ListErase  list_erase (list, index) {}                         via lists::ERASE;
    /// The number of items.
    ListLength list_length (list)      {}                          via lists::LENGTH;
    /// All items along an axis, a new one with `stack`; `to` and `shape` as of `list_at`.
    ListConcat list_concat (list)      { axis: i64 = 0, stack: bool = false, to: DType = (DType::F32), shape: Vec<Dim> = _ } via lists::CONCAT;
    /// The parts of `x` along `axis`, of the sizes `[n]` or of one size `[]`; without the axis unless `keep`.
    ListSplit  list_split (x, sizes)   { axis: i64 = 0, keep: bool = true } via lists::SPLIT;
    /// A list with a map for each row of `rows` `[m,n]`: the list of `keys` `[n]` and the row.
    ListMaps   list_maps  (keys, rows) {}                          via lists::MAPS;
    // --- Regions ---------------------------------------------------------------------------------
    /// The results of one of two graphs on the captures; `types` are declared where the branches' differ.
    If         if_        (cond ; captures ..) { then: Box<Graph> = _, otherwise: Box<Graph> = _, types: Vec<Type> = _ } via control::IF;
    /// At most `trip` times while `cond`: `body(i, cond, carried.., captures..)` gives `cond`, the carried values, and rows of the results that are stacked. Operands: the carried values, then the captures.
    Loop       loop_      (trip, cond ; values ..) { body: Box<Graph> = _, carried: i64 = 0, types: Vec<Type> = _ } via control::LOOP;
    /// The results of a graph that becomes one kernel; made by the grouping pass only.
    Fused      fused      (; inputs ..) { body: Box<Graph> = _ }    via control::FUSED;
}
