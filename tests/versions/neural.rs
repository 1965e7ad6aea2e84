//! Windows, normalizations, recurrent layers, products and losses.
use super::case::{Case, Expected};
use super::{LAST, UNRELEASED, list, op, scalar};
use sardonyx_tensor::DType::{Bool, F32, I8, I32, I64};
use sardonyx_tensor::Tensor;

/// A case over images of two dimensions with a window of 3 by 2.
fn window(name: &'static str, since: i64, until: i64) -> Case {
    op(name, since, until).ints("kernel_shape", &[3, 2])
}

fn windows() -> Vec<Case> {
    let image = |c: Case| c.x(F32, &[1, 2, 7, 6]);
    let mut all = Vec::new();
    for name in ["AveragePool", "MaxPool", "LpPool"] {
        // Rounding up and gaps in the window, by the version that brought them.
        let (up, gaps) = match name {
            "AveragePool" => (10, 19),
            "MaxPool" => (10, 10),
            _ => (18, 18),
        };
        all.extend([
            image(window(name, 7, LAST)).out(F32),
            image(window(name, 7, LAST).ints("strides", &[2, 2]).ints("pads", &[1, 0, 1, 1])).out(F32),
            image(window(name, 7, LAST).ints("strides", &[2, 2]).text("auto_pad", "SAME_UPPER")).out(F32),
            image(window(name, 7, LAST).ints("strides", &[2, 2]).text("auto_pad", "SAME_LOWER")).out(F32),
            image(window(name, 7, LAST).ints("strides", &[2, 2]).text("auto_pad", "VALID")).out(F32),
            image(window(name, up, LAST).ints("strides", &[2, 2]).int("ceil_mode", 1)).out(F32),
            image(window(name, gaps, LAST).ints("dilations", &[2, 3])).out(F32),
            image(window(name, gaps, LAST).ints("dilations", &[2, 1]).ints("pads", &[1, 1, 0, 0])).out(F32),
        ]);
    }
    let padded =
        |since| window("AveragePool", since, LAST).ints("pads", &[1, 1, 1, 1]).int("count_include_pad", 1);
    all.extend([
        image(padded(7)).out(F32),
        // A window that begins in the padding on the right is no window since version 19.
        image(padded(19).ints("strides", &[3, 2]).int("ceil_mode", 1)).out(F32),
        image(padded(19).ints("dilations", &[2, 2])).out(F32),
        image(window("LpPool", 7, LAST).int("p", 3)).out(F32),
        image(window("MaxPool", 8, LAST).ints("strides", &[2, 2])).outs(&[F32, I64]),
        image(window("MaxPool", 8, LAST).int("storage_order", 1)).outs(&[F32, I64]),
        window("MaxPool", 12, LAST).x(I8, &[1, 1, 5, 5]).out(I8),
        image(op("GlobalAveragePool", 7, LAST)).out(F32),
        image(op("GlobalMaxPool", 7, LAST)).out(F32),
        image(op("GlobalLpPool", 7, LAST)).out(F32),
        image(op("GlobalLpPool", 7, LAST).int("p", 3)).out(F32),
        op("MaxUnpool", 9, LAST)
            .ints("kernel_shape", &[2, 2])
            .ints("strides", &[2, 2])
            .x(F32, &[1, 1, 2, 2])
            .input(Tensor::from_slice([1, 1, 2, 2], &[5i64, 7, 13, 15]))
            .out(F32),
        op("MaxUnpool", 9, LAST)
            .ints("kernel_shape", &[2, 2])
            .ints("strides", &[2, 2])
            .x(F32, &[1, 1, 2, 2])
            .input(Tensor::from_slice([1, 1, 2, 2], &[5i64, 7, 13, 15]))
            // In a larger one ONNX Runtime counts indices in the result, ONNX in what the window says.
            .constant(list(&[1, 1, 4, 4]))
            .out(F32),
    ]);
    all
}

fn convolutions() -> Vec<Case> {
    let conv = |since: i64| op("Conv", since, LAST);
    let up = || op("ConvTranspose", 7, LAST);
    vec![
        conv(7).x(F32, &[1, 2, 6, 5]).w(F32, &[3, 2, 3, 3]).w(F32, &[3]).out(F32),
        conv(7).int("group", 2).ints("strides", &[2, 1]).x(F32, &[1, 2, 6, 5]).w(F32, &[4, 1, 3, 3]).out(F32),
        conv(7)
            .ints("dilations", &[2, 1])
            .ints("pads", &[1, 0, 1, 2])
            .x(F32, &[1, 2, 6, 5])
            .w(F32, &[3, 2, 3, 3])
            .out(F32),
        conv(7)
            .text("auto_pad", "SAME_UPPER")
            .ints("strides", &[2, 2])
            .x(F32, &[1, 2, 6, 5])
            .w(F32, &[3, 2, 3, 3])
            .out(F32),
        conv(7)
            .text("auto_pad", "SAME_LOWER")
            .ints("strides", &[2, 2])
            .x(F32, &[1, 2, 6, 5])
            .w(F32, &[3, 2, 3, 3])
            .out(F32),
        conv(7).x(F32, &[1, 2, 9]).x(F32, &[3, 2, 3]).out(F32),
        up().x(F32, &[1, 2, 3, 3]).w(F32, &[2, 3, 3, 3]).w(F32, &[3]).out(F32),
        up().ints("strides", &[2, 2])
            .ints("pads", &[1, 0, 1, 1])
            .x(F32, &[1, 2, 3, 3])
            .w(F32, &[2, 3, 3, 3])
            .out(F32),
        up().ints("strides", &[2, 2])
            .ints("output_padding", &[1, 1])
            .x(F32, &[1, 2, 3, 3])
            .w(F32, &[2, 3, 3, 3])
            .out(F32),
        up().ints("strides", &[2, 2])
            .ints("output_shape", &[6, 7])
            .x(F32, &[1, 2, 3, 3])
            .w(F32, &[2, 3, 3, 3])
            .out(F32),
        up().ints("strides", &[2, 2])
            .text("auto_pad", "SAME_UPPER")
            .x(F32, &[1, 2, 3, 3])
            .w(F32, &[2, 1, 3, 3])
            .out(F32),
        op("DeformConv", 19, LAST)
            .x(F32, &[1, 1, 3, 3])
            .x(F32, &[1, 1, 2, 2])
            .x(F32, &[1, 8, 2, 2])
            .w(F32, &[1])
            .x(F32, &[1, 4, 2, 2])
            .out(F32),
        op("Col2Im", 18, LAST).x(F32, &[1, 4, 9]).constant(list(&[4, 4])).constant(list(&[2, 2])).out(F32),
        op("Col2Im", 18, LAST)
            .ints("strides", &[2, 2])
            .ints("pads", &[1, 1, 1, 1])
            .x(F32, &[1, 4, 9])
            .constant(list(&[4, 4]))
            .constant(list(&[2, 2]))
            .out(F32),
    ]
}

fn normalizations() -> Vec<Case> {
    let positive = |n: usize| Tensor::from_f64s(F32, [n], (0..n).map(|i| 0.5 + i as f64 * 0.25));
    let batch = |since: i64, until: i64| {
        let c = op("BatchNormalization", since, until).float("epsilon", 1e-3).x(F32, &[2, 3, 4]);
        c.w(F32, &[3]).w(F32, &[3]).w(F32, &[3]).constant(positive(3))
    };
    let group = |since: i64, until: i64, of: usize| {
        op("GroupNormalization", since, until)
            .int("num_groups", 2)
            .x(F32, &[2, 4, 3])
            .w(F32, &[of])
            .w(F32, &[of])
            .out(F32)
    };
    vec![
        batch(7, LAST).out(F32),
        batch(7, 8).int("spatial", 1).out(F32),
        // Each element of a batch with statistics of its own.
        op("BatchNormalization", 7, 8)
            .int("spatial", 0)
            .x(F32, &[2, 3, 4])
            .w(F32, &[3, 4])
            .w(F32, &[3, 4])
            .w(F32, &[3, 4])
            .constant(Tensor::from_f64s(F32, [3, 4], (0..12).map(|i| 0.5 + f64::from(i))))
            .out(F32),
        batch(14, LAST).int("training_mode", 1).float("momentum", 0.8).outs(&[F32, F32, F32]),
        op("InstanceNormalization", 7, LAST).x(F32, &[2, 3, 4]).w(F32, &[3]).w(F32, &[3]).out(F32),
        op("LRN", 7, LAST).int("size", 3).x(F32, &[1, 5, 2, 2]).out(F32),
        op("LRN", 7, LAST)
            .int("size", 3)
            .float("alpha", 0.5)
            .float("beta", 0.6)
            .float("bias", 2.0)
            .x(F32, &[1, 5, 2, 2])
            .out(F32),
        op("LpNormalization", 7, LAST).x(F32, &[2, 3]).out(F32),
        op("LpNormalization", 7, LAST).int("p", 1).int("axis", 0).x(F32, &[2, 3]).out(F32),
        op("MeanVarianceNormalization", 9, LAST).x(F32, &[2, 3, 2, 2]).out(F32).within(1e-4, 1e-4),
        op("MeanVarianceNormalization", 9, LAST)
            .ints("axes", &[0, 2])
            .x(F32, &[2, 3, 2])
            .out(F32)
            .within(1e-4, 1e-4),
        // Scale and bias are of groups in version 18 and of channels since 21.
        group(18, 20, 2),
        group(21, LAST, 4),
        op("LayerNormalization", 17, LAST).int("axis", 1).x(F32, &[2, 3, 4]).w(F32, &[3, 4]).out(F32),
        op("LayerNormalization", 17, LAST)
            .x(F32, &[2, 3, 4])
            .w(F32, &[4])
            .w(F32, &[4])
            .outs(&[F32, F32, F32]),
        op("RMSNormalization", 23, LAST).x(F32, &[2, 3, 4]).w(F32, &[4]).out(F32),
        op("RMSNormalization", 23, LAST).int("axis", 1).x(F32, &[2, 3, 4]).w(F32, &[3, 4]).out(F32),
    ]
}

/// Outside training nothing is dropped; what the mask says changed with version 10, and the ratio and the mode
/// became operands with version 12.
fn dropouts() -> Vec<Case> {
    let off = || Tensor::from_i64s(Bool, [], [0]);
    vec![
        op("Dropout", 7, 11).float("ratio", 0.3).x(F32, &[2, 3]).out(F32),
        op("Dropout", 10, 11).float("ratio", 0.3).x(F32, &[2, 3]).outs(&[F32, Bool]),
        op("Dropout", 7, 9).x(F32, &[2, 3]).outs(&[F32, F32]),
        op("Dropout", 12, LAST).x(F32, &[2, 3]).outs(&[F32, Bool]),
        op("Dropout", 12, LAST).int("seed", 3).x(F32, &[2, 3]).constant(scalar(0.3)).out(F32),
        op("Dropout", 12, LAST).x(F32, &[2, 3]).constant(scalar(0.3)).constant(off()).outs(&[F32, Bool]),
    ]
}

fn recurrent() -> Vec<Case> {
    let mut all = Vec::new();
    for (name, gates) in [("RNN", 1), ("GRU", 3), ("LSTM", 4)] {
        for (direction, d) in [("forward", 1), ("reverse", 1), ("bidirectional", 2)] {
            let c = op(name, 7, LAST).int("hidden_size", 3).text("direction", direction).x(F32, &[4, 2, 5]);
            let c = c.w(F32, &[d, gates * 3, 5]).w(F32, &[d, gates * 3, 3]).w(F32, &[d, gates * 6]);
            all.push(c.outs(&[F32, F32]));
        }
        // Batches come first with `layout` since version 14.
        let c = op(name, 14, LAST).int("hidden_size", 3).int("layout", 1).x(F32, &[2, 4, 5]);
        let c = c.w(F32, &[1, gates * 3, 5]).w(F32, &[1, gates * 3, 3]).outs(&[F32, F32]);
        all.push(c.refused("layout == 1"));
        let c = op(name, 7, LAST).int("hidden_size", 3).float("clip", 0.3).x(F32, &[4, 2, 5]);
        let c = c.w(F32, &[1, gates * 3, 5]).w(F32, &[1, gates * 3, 3]).none();
        all.push(c.input(Tensor::from_slice([2], &[4i32, 2])).x(F32, &[1, 2, 3]).outs(&[F32, F32]));
    }
    let c = op("GRU", 7, LAST).int("hidden_size", 3).int("linear_before_reset", 1).x(F32, &[4, 2, 5]);
    all.push(c.w(F32, &[1, 9, 5]).w(F32, &[1, 9, 3]).w(F32, &[1, 18]).outs(&[F32, F32]));
    let c = op("LSTM", 7, LAST).int("hidden_size", 3).int("input_forget", 1).x(F32, &[4, 2, 5]);
    all.push(c.w(F32, &[1, 12, 5]).w(F32, &[1, 12, 3]).w(F32, &[1, 24]).outs(&[F32, F32, F32]));
    all
}

fn attentions() -> Vec<Case> {
    let of = |c: Case| c.x(F32, &[1, 2, 3, 4]).x(F32, &[1, 2, 5, 4]).x(F32, &[1, 2, 5, 4]);
    let flat = op("Attention", 23, LAST).int("q_num_heads", 2).int("kv_num_heads", 1);
    let cached = |c: Case| of(c).x(F32, &[3, 7]).x(F32, &[1, 2, 2, 4]).x(F32, &[1, 2, 2, 4]);
    let turned = |c: Case| c.x(F32, &[1, 2, 3, 4]).w(F32, &[6, 2]).w(F32, &[6, 2]);
    let places = Tensor::from_slice([1, 3], &[0i64, 2, 5]);
    vec![
        of(op("Attention", 23, LAST)).out(F32),
        of(op("Attention", 23, LAST).int("is_causal", 1).float("scale", 0.3)).out(F32),
        of(op("Attention", 23, LAST).float("softcap", 2.0)).x(F32, &[3, 5]).out(F32),
        of(op("Attention", 23, LAST)).x(Bool, &[3, 5]).out(F32),
        flat.x(F32, &[1, 3, 8]).x(F32, &[1, 5, 4]).x(F32, &[1, 5, 4]).out(F32),
        cached(op("Attention", 23, LAST)).outs(&[F32, F32, F32]),
        // Lengths of keys without padding came with version 24.
        of(op("Attention", 24, LAST)).none().none().none().constant(list(&[4])).out(F32),
        turned(op("RotaryEmbedding", 23, LAST)).input(places.clone()).out(F32),
        turned(op("RotaryEmbedding", 23, LAST).int("interleaved", 1)).input(places).out(F32),
    ]
}

/// Operators of the newest opset, which ONNX Runtime does not read.
fn states() -> Vec<Case> {
    let convolved = || op("CausalConvWithState", 27, 27).x(F32, &[1, 2, 5]).w(F32, &[2, 1, 3]);
    let of = |rule: &str| {
        let c = op("LinearAttention", 27, 27).text("update_rule", rule).int("q_num_heads", 2);
        c.int("kv_num_heads", 2).x(F32, &[1, 3, 8]).x(F32, &[1, 3, 8]).x(F32, &[1, 3, 6])
    };
    let mut all = vec![
        convolved().outs(&[F32, F32]),
        convolved().text("activation", "silu").w(F32, &[2]).x(F32, &[1, 2, 2]).outs(&[F32, F32]),
        of("linear").outs(&[F32, F32]),
        of("gated").x(F32, &[1, 2, 4, 3]).x(F32, &[1, 3, 8]).outs(&[F32, F32]),
        of("delta").none().none().x(F32, &[1, 3, 2]).outs(&[F32, F32]),
        of("gated_delta").none().x(F32, &[1, 3, 2]).x(F32, &[1, 3, 2]).outs(&[F32, F32]),
    ];
    all.iter_mut().for_each(|c| c.expected = Expected::Refused(UNRELEASED));
    all
}

fn products() -> Vec<Case> {
    let mut all = vec![
        op("MatMul", 7, LAST).x(F32, &[2, 3, 4]).x(F32, &[4, 5]).out(F32),
        op("MatMul", 7, LAST).x(F32, &[4]).w(F32, &[2, 4, 5]).out(F32),
        op("MatMul", 9, LAST).x(I32, &[3, 4]).x(I32, &[4, 2]).out(I32),
        op("Gemm", 7, LAST).x(F32, &[3, 4]).w(F32, &[4, 5]).w(F32, &[5]).out(F32),
        op("Gemm", 7, LAST)
            .float("alpha", 0.5)
            .float("beta", 2.0)
            .int("transA", 1)
            .int("transB", 1)
            .x(F32, &[4, 3])
            .w(F32, &[5, 4])
            .w(F32, &[3, 1])
            .out(F32),
        op("Gemm", 11, LAST).x(F32, &[3, 4]).w(F32, &[4, 5]).out(F32),
        op("Det", 11, LAST).x(F32, &[2, 3, 3]).out(F32),
    ];
    for equation in ["ij,jk->ik", "bij,bkj", "ii->i", "...ij->...j", "i,j->ji", "ij,ij->"] {
        let c = op("Einsum", 12, LAST).text("equation", equation);
        let c = match equation {
            "ij,jk->ik" => c.x(F32, &[2, 3]).x(F32, &[3, 4]),
            "bij,bkj" => c.x(F32, &[2, 3, 4]).x(F32, &[2, 5, 4]),
            "ii->i" => c.x(F32, &[3, 3]),
            "...ij->...j" => c.x(F32, &[2, 3, 4]),
            "i,j->ji" => c.x(F32, &[2]).x(F32, &[3]),
            _ => c.x(F32, &[2, 3]).x(F32, &[2, 3]),
        };
        all.push(c.out(F32));
    }
    all
}

fn losses() -> Vec<Case> {
    let target = || Tensor::from_slice([3], &[1i64, 0, 3]);
    let mut all = Vec::new();
    for reduction in ["mean", "sum", "none"] {
        for ignored in [false, true] {
            let likelihood = op("NegativeLogLikelihoodLoss", 12, LAST);
            let entropy = op("SoftmaxCrossEntropyLoss", 12, LAST);
            let with = |c: Case| {
                let c = c.text("reduction", reduction);
                if ignored { c.int("ignore_index", 0) } else { c }
            };
            all.push(with(likelihood).x(F32, &[3, 4]).input(target()).w(F32, &[4]).out(F32));
            let c = with(entropy).x(F32, &[3, 4]).input(target());
            all.push(if ignored { c.outs(&[F32, F32]) } else { c.w(F32, &[4]).out(F32) });
        }
    }
    all
}

fn detections() -> Vec<Case> {
    let boxes = || {
        let of =
            [[0.0f32, 0.0, 1.0, 1.0], [0.0, 0.1, 1.0, 1.1], [0.0, 10.0, 1.0, 11.0], [0.0, 0.4, 1.0, 1.4]];
        Tensor::from_slice([1, 4, 4], &of.concat())
    };
    let scores = || Tensor::from_slice([1, 1, 4], &[0.9f32, 0.75, 0.6, 0.95]);
    let suppressed = |c: Case| {
        let c = c.input(boxes()).input(scores()).constant(list(&[3]));
        c.constant(Tensor::from_slice([1], &[0.5f32])).constant(Tensor::from_slice([1], &[0.0f32])).out(I64)
    };
    let places = || Tensor::from_slice([2, 4], &[0.0f32, 0.0, 4.0, 4.0, 1.0, 1.0, 6.0, 5.0]);
    let aligned = |c: Case| {
        let c = c.int("output_height", 2).int("output_width", 3).int("sampling_ratio", 2);
        c.x(F32, &[1, 2, 7, 7]).input(places()).constant(list(&[0, 0])).out(F32)
    };
    let numbered = Tensor::from_slice([2, 5], &[0.0f32, 0.0, 0.0, 4.0, 4.0, 0.0, 1.0, 1.0, 6.0, 5.0]);
    vec![
        suppressed(op("NonMaxSuppression", 10, LAST)),
        suppressed(op("NonMaxSuppression", 10, LAST).int("center_point_box", 1)),
        op("NonMaxSuppression", 10, LAST).input(boxes()).input(scores()).out(I64),
        // Half a pixel is taken off by default since version 16.
        aligned(op("RoiAlign", 10, LAST)),
        aligned(op("RoiAlign", 10, LAST).text("mode", "max").float("spatial_scale", 0.5)),
        aligned(op("RoiAlign", 16, LAST).text("coordinate_transformation_mode", "output_half_pixel")),
        op("MaxRoiPool", 7, LAST)
            .ints("pooled_shape", &[2, 2])
            .x(F32, &[1, 2, 7, 7])
            .input(numbered)
            .out(F32),
    ]
}

pub fn cases() -> Vec<Case> {
    let groups = [
        windows(),
        convolutions(),
        normalizations(),
        dropouts(),
        recurrent(),
        attentions(),
        states(),
        products(),
        losses(),
        detections(),
    ];
    groups.into_iter().flatten().collect()
}
