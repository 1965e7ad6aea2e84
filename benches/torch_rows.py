#!/usr/bin/env python3
"""The rows of torch_baseline.py: networks with random weights, and single operations at sizes that fill a GPU.

usage: torch_rows.py export FOLDER ROW...          writes ROW.onnx, ROW.npz (in:NAME) and ROW.expected.npy, in f32
       torch_rows.py measure MODE FOLDER ROW...    times PyTorch on cuda:0 in fp16; MODE is eager or a mode of torch.compile

Prints a JSON line per row. Needs torch, torchvision, transformers and onnx.
"""
import dataclasses
import json
import math
import pathlib
import statistics
import sys
import time
import traceback
import warnings

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "models"))

MIB = 1 << 20


@dataclasses.dataclass
class Operation:
    """One operation: its ONNX node, PyTorch's function of f16 tensors, and what it has to do at least."""

    function: callable
    node: str
    shapes: list
    attributes: dict = dataclasses.field(default_factory=dict)
    opset: int = 20
    flops: int = 0
    modes: tuple = ("eager", "default")


def attention(causal):
    shape = (4, 16, 4096, 128)
    flops = 4 * math.prod(shape) * shape[2] // (2 if causal else 1)
    function = lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=causal)
    return Operation(function, "Attention", [shape] * 3, {"is_causal": int(causal)}, 23, flops, ("eager",))


def product(m, n, k):
    return Operation(torch.matmul, "MatMul", [(m, k), (k, n)], flops=2 * m * n * k, modes=("eager",))


LONG = (128 * MIB,)
ROWS = (65536, 2048)

OPERATIONS = {
    "copy_256mib": Operation(torch.clone, "Identity", [LONG], modes=("eager",)),
    "gelu_256mib": Operation(F.gelu, "Gelu", [LONG]),
    "add_256mib": Operation(torch.add, "Add", [LONG] * 2),
    "softmax_256mib": Operation(lambda x: x.softmax(-1), "Softmax", [ROWS], {"axis": -1}),
    "layer_norm_256mib": Operation(
        lambda x, w, b: F.layer_norm(x, (ROWS[1],), w, b), "LayerNormalization", [ROWS, ROWS[1:], ROWS[1:]], {"axis": -1}
    ),
    "sum_256mib": Operation(lambda x: x.sum(-1, keepdim=True), "ReduceSum", [ROWS]),
    "transpose_256mib": Operation(
        lambda x: x.transpose(1, 2).contiguous(), "Transpose", [(64, 1024, 2048)], {"perm": [0, 2, 1]}
    ),
    "gemm_8192": product(8192, 8192, 8192),
    "gemm_2048": product(2048, 2048, 2048),
    "gemm_128x3072x768": product(128, 3072, 768),
    "attention_b4_h16_s4096_d128": attention(False),
    "attention_b4_h16_s4096_d128_causal": attention(True),
}

# Row: the network of zoo.py, batch, and the length of token inputs where it is another than the zoo's.
MODELS = {
    "bert_base_b1_s128": ("bert_base", 1, None),
    "gpt2_b1_s1024": ("gpt2", 1, 1024),
    "vit_b_16_b1": ("vit_b_16", 1, None),
    "resnet50_b1": ("resnet50", 1, None),
    "resnet50_b32": ("resnet50", 32, None),
    "mobilenet_v2_b1": ("mobilenet_v2", 1, None),
}


def network(row, implementation):
    """The network of a row in f32, with static sizes."""
    from export_zoo import build
    from zoo import token_ids

    name, batch, length = MODELS[row]
    built = build(name, True, implementation)
    torch.manual_seed(1)
    if length is not None:
        built.example = (token_ids(built.module.inner.config.vocab_size, length),)
    elif batch > 1:
        built.example = tuple(torch.randn(batch, *x.shape[1:]) for x in built.example)
    built.dynamic = {}
    return built


def operands(row):
    """The operands of an operation in f16."""
    generator = torch.Generator().manual_seed(2)
    draw = lambda shape: torch.randn(shape, generator=generator, dtype=torch.float32).half()
    return [draw(shape) for shape in OPERATIONS[row].shapes]


# Export.


def export_operation(row, folder):
    import onnx
    from onnx import TensorProto, helper

    operation, inputs = OPERATIONS[row], operands(row)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    result = operation.function(*[x.to(device).float() for x in inputs]).cpu()
    names = [f"x{i}" for i in range(len(inputs))]
    f16 = TensorProto.FLOAT16
    more = []
    if operation.node == "ReduceSum":
        more = [helper.make_tensor("axes", TensorProto.INT64, [1], [-1])]
    node = helper.make_node(operation.node, names + [t.name for t in more], ["y"], **operation.attributes)
    values = [helper.make_tensor_value_info(n, f16, x.shape) for n, x in zip(names, inputs)]
    output = helper.make_tensor_value_info("y", f16, result.shape)
    graph = helper.make_graph([node], row, values, [output], initializer=more)
    opsets = [helper.make_opsetid("", operation.opset)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), str(folder / f"{row}.onnx"))
    given = {f"in:{n}": x.numpy() for n, x in zip(names, inputs)}
    np.savez(folder / f"{row}.npz", **given)
    np.save(folder / f"{row}.expected.npy", result.numpy())


def export_model(row, folder):
    built = network(row, "eager")
    outputs = built.module(*built.example)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    options = dict(input_names=built.inputs, output_names=built.outputs, opset_version=17, dynamo=False)
    torch.onnx.export(built.module, built.example, str(folder / f"{row}.onnx"), **options)
    np.savez(folder / f"{row}.npz", **{f"in:{n}": x.numpy() for n, x in zip(built.inputs, built.example)})
    np.save(folder / f"{row}.expected.npy", outputs[0].numpy())


def export(folder, row):
    begin = time.monotonic()
    (export_operation if row in OPERATIONS else export_model)(row, folder)
    return {"row": row, "seconds": time.monotonic() - begin}


# Measurement.


def relative_error(result, expected):
    """‖result − expected‖ / ‖expected‖ in f64; infinite where something is not a number."""
    result, expected = np.asarray(result, np.float64), np.asarray(expected, np.float64)
    error = float(np.linalg.norm((result - expected).ravel()) / np.linalg.norm(expected.ravel()))
    return error if math.isfinite(error) else math.inf


def half(x):
    return (x.half() if x.is_floating_point() else x).cuda()


def times(run, seconds=1.5, most=2000):
    """Times of runs in seconds: by the host's clock until the device is done, and by events around each."""
    for _ in range(5):
        run()
    torch.cuda.synchronize()
    host, begin = [], time.perf_counter()
    while len(host) < 10 or (time.perf_counter() - begin < seconds and len(host) < most):
        start = time.perf_counter()
        run()
        torch.cuda.synchronize()
        host.append(time.perf_counter() - start)
    events = []
    for _ in range(min(len(host), 200)):
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        first.record()
        run()
        last.record()
        torch.cuda.synchronize()
        events.append(first.elapsed_time(last) / 1e3)
    return host, events


def measure(folder, row, mode):
    begin = time.monotonic()
    if row in OPERATIONS:
        function, inputs = OPERATIONS[row].function, [half(x) for x in operands(row)]
    else:
        built = network(row, "sdpa")
        if row.startswith("gpt2"):
            # Without a mask transformers computes a causal attention, which is PyTorch's fastest.
            built.module.call = lambda gpt, tokens: gpt(input_ids=tokens, use_cache=False).logits
        function, inputs = built.module.half().cuda(), [half(x) for x in built.example]
        if inputs[0].dim() == 4:
            # Convolutions are fastest with the channels last.
            function = function.to(memory_format=torch.channels_last)
            inputs = [x.to(memory_format=torch.channels_last) for x in inputs]
    if mode != "eager":
        torch._dynamo.reset()
        function = torch.compile(function, mode=mode, dynamic=False)
    result = function(*inputs)
    result = result[0] if isinstance(result, tuple) else result
    error = relative_error(result.float().cpu().numpy(), np.load(folder / f"{row}.expected.npy"))
    prepared = time.monotonic() - begin
    host, events = times(lambda: function(*inputs))
    found = {"row": row, "mode": mode, "median": statistics.median(host), "min": min(host), "runs": len(host)}
    return found | {"events_median": statistics.median(events), "error": error, "prepare_seconds": prepared}


def main():
    warnings.filterwarnings("ignore")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    if sys.argv[1] == "export":
        folder, rows, work = pathlib.Path(sys.argv[2]), sys.argv[3:], export
    else:
        mode, folder, rows = sys.argv[2], pathlib.Path(sys.argv[3]), sys.argv[4:]
        work = lambda folder, row: measure(folder, row, mode)
    for row in rows:
        try:
            with torch.no_grad():
                found = work(folder, row)
        except Exception as error:  # One row must not end the others.
            traceback.print_exc()
            found = {"row": row, "failed": f"{type(error).__name__}: {str(error)[:300]}"}
        print(json.dumps(found), flush=True)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
