#!/usr/bin/env python3
"""Makes int8 networks for speed tables and tests: ResNet-18 (QDQ, static) and a MiniLM-like encoder (dynamic).

usage: quantized.py OUT [NAME ...]     the names of NETWORKS; all without them

Published sizes, random weights with a fixed seed; quantized by onnxruntime.quantization as its documentation
recommends: u8 activations, i8 weights, for convolutions one scale per channel. Beside each NAME.onnx stands a
NAME.npz of inputs (in:NAME). Needs numpy, onnx and onnxruntime (scripts/setup installs them).
"""
import pathlib
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

OPSET = 17


class Builder:
    """Nodes and weights of a graph; every method returns the name of a value."""

    def __init__(self):
        self.rng = np.random.default_rng(0)
        self.nodes, self.weights = [], []

    def node(self, op, *inputs, **attributes):
        name = f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], name, **attributes))
        return name

    def constant(self, array):
        name = f"weight_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def normal(self, *shape, deviation):
        return self.constant((self.rng.standard_normal(shape) * deviation).astype(np.float32))

    def model(self, inputs, outputs):
        infos = [[helper.make_tensor_value_info(*entry) for entry in part] for part in (inputs, outputs)]
        graph = helper.make_graph(self.nodes, "network", *infos, self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)


def resnet18():
    """He et al. 2016, batch normalization folded into the convolutions."""
    b = Builder()

    def conv(x, channels, out, kernel, stride=1):
        w = b.normal(out, channels, kernel, kernel, deviation=(2 / (channels * kernel * kernel)) ** 0.5)
        pads = [kernel // 2] * 4
        return b.node("Conv", x, w, b.normal(out, deviation=0.1), kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=pads)

    def block(x, channels, out, stride):
        y = b.node("Relu", conv(x, channels, out, 3, stride))
        y = conv(y, out, out, 3)
        if stride != 1 or channels != out:
            x = conv(x, channels, out, 1, stride)
        return b.node("Relu", b.node("Add", y, x))

    x = b.node("Relu", conv("input", 3, 64, 7, 2))
    x = b.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    channels = 64
    for out in (64, 128, 256, 512):
        x = block(x, channels, out, 1 if out == 64 else 2)
        x = block(x, out, out, 1)
        channels = out
    x = b.node("Flatten", b.node("GlobalAveragePool", x))
    x = b.node("Gemm", x, b.normal(1000, 512, deviation=0.05), b.normal(1000, deviation=0.1), transB=1)
    outputs = [(x, TensorProto.FLOAT, ["batch", 1000])]
    return b.model([("input", TensorProto.FLOAT, ["batch", 3, 224, 224])], outputs)


def minilm(layers=6, hidden=384, heads=12, vocabulary=30522, positions=512):
    """The sizes of all-MiniLM-L6 (Wang et al. 2020), with mean pooling."""
    b = Builder()

    def linear(x, inner, outer):
        y = b.node("MatMul", x, b.normal(inner, outer, deviation=inner**-0.5))
        return b.node("Add", y, b.normal(outer, deviation=0.02))

    def norm(x):
        scale = b.constant(b.rng.uniform(0.5, 1.5, hidden).astype(np.float32))
        return b.node("LayerNormalization", x, scale, b.normal(hidden, deviation=0.02), axis=-1, epsilon=1e-12)

    def integers(*values):
        return b.constant(np.array(values, np.int64))

    def scalar(x):
        return b.constant(np.float32(x))

    def split(x, perm):
        return b.node("Transpose", b.node("Reshape", x, integers(0, 0, heads, hidden // heads)), perm=perm)

    def attention(x, mask):
        q, k, v = (split(linear(x, hidden, hidden), perm) for perm in ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]))
        scores = b.node("Div", b.node("MatMul", q, k), scalar((hidden / heads) ** 0.5))
        p = b.node("Softmax", b.node("Add", scores, mask), axis=-1)
        y = b.node("Transpose", b.node("MatMul", p, v), perm=[0, 2, 1, 3])
        return linear(b.node("Reshape", y, integers(0, 0, hidden)), hidden, hidden)

    def gelu(x):
        y = b.node("Add", b.node("Erf", b.node("Div", x, scalar(2**0.5))), scalar(1))
        return b.node("Mul", b.node("Mul", x, y), scalar(0.5))

    length = b.node("Slice", b.node("Shape", "input_ids"), integers(1), integers(2), integers(0))
    place = b.node("Slice", b.normal(1, positions, hidden, deviation=0.5), integers(0), length, integers(1))
    words = b.node("Gather", b.normal(vocabulary, hidden, deviation=1.0), "input_ids")
    kinds = b.node("Gather", b.normal(2, hidden, deviation=0.5), "token_type_ids")
    x = norm(b.node("Add", b.node("Add", words, kinds), place))
    kept = b.node("Cast", b.node("Unsqueeze", "attention_mask", integers(1, 2)), to=TensorProto.FLOAT)
    mask = b.node("Mul", b.node("Sub", scalar(1), kept), scalar(np.finfo(np.float32).min))
    for _ in range(layers):
        x = norm(b.node("Add", x, attention(x, mask)))
        x = norm(b.node("Add", x, linear(gelu(linear(x, hidden, 4 * hidden)), 4 * hidden, hidden)))
    weights = b.node("Cast", b.node("Unsqueeze", "attention_mask", integers(2)), to=TensorProto.FLOAT)
    total = b.node("ReduceSum", b.node("Mul", x, weights), integers(1), keepdims=0)
    count = b.node("ReduceSum", weights, integers(1), keepdims=0)
    y = b.node("LpNormalization", b.node("Div", total, count), axis=1, p=2)
    names = ("input_ids", "attention_mask", "token_type_ids")
    inputs = [(name, TensorProto.INT64, ["batch", "sequence"]) for name in names]
    return b.model(inputs, [(y, TensorProto.FLOAT, ["batch", hidden])])


class Images(CalibrationDataReader):
    """Random images to calibrate with."""

    def __init__(self):
        rng = np.random.default_rng(1)
        self.left = iter([{"input": rng.standard_normal((1, 3, 224, 224)).astype(np.float32)} for _ in range(4)])

    def get_next(self):
        return next(self.left, None)


def static(form):
    def quantize(source, target):
        how = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8, "per_channel": True}
        quantize_static(source, target, Images(), quant_format=form, **how)

    return quantize


def dynamic(source, target):
    quantize_dynamic(source, target, weight_type=QuantType.QInt8)


def image():
    return {"input": np.random.default_rng(2).standard_normal((1, 3, 224, 224)).astype(np.float32)}


def tokens():
    ids = np.random.default_rng(2).integers(0, 30522, (1, 128))
    return {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}


NETWORKS = {
    "resnet18_qdq": (resnet18, static(QuantFormat.QDQ), image),
    "resnet18_qoperator": (resnet18, static(QuantFormat.QOperator), image),
    "minilm_dynamic": (minilm, dynamic, tokens),
}


def main():
    if len(sys.argv) < 2 or any(name not in NETWORKS for name in sys.argv[2:]):
        sys.exit(__doc__)
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[2:] or NETWORKS:
        network, quantize, inputs = NETWORKS[name]
        with tempfile.TemporaryDirectory() as folder:
            source = pathlib.Path(folder, "float.onnx")
            onnx.save(network(), source)
            quantize(source, out / f"{name}.onnx")
        np.savez(out / f"{name}.npz", **{f"in:{key}": value for key, value in inputs().items()})
        print(f"{name}: {(out / f'{name}.onnx').stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
