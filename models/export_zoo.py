#!/usr/bin/env python3
"""Exports the networks of zoo.py to ONNX, each with an .npz of inputs (in:NAME) and PyTorch's outputs (out:NAME).

usage: export_zoo.py --small             makes models/small/ again
       export_zoo.py --full OUT [NAME…]  published sizes into the folder OUT, by TorchScript with opset 17

Needs torch, torchvision, transformers, onnx and onnxscript. Weights are random with a fixed seed.
"""
import argparse
import inspect
import pathlib
import sys
import warnings

import numpy as np
import onnx
import torch
from torch import nn

from zoo import NETWORKS

SMALL = pathlib.Path(__file__).resolve().parent / "small"

# Network, exporter, opset, attention: both exporters, plain and fused attention, each family at least once.
SMALL_EXPORTS = [
    ("bert_base", "ts", 17, "eager"),
    ("bert_base", "dynamo", 23, "sdpa"),
    ("crnn", "ts", 17, "eager"),
    ("distilbert", "dynamo", 23, "sdpa"),
    ("gpt2_kv", "ts", 17, "eager"),
    ("gpt2_kv", "dynamo", 20, "eager"),
    ("llama_kv", "ts", 17, "eager"),
    ("llama_kv", "dynamo", 23, "eager"),
    ("mobilenet_v3_large", "ts", 17, "eager"),
    ("t5_encoder", "ts", 17, "eager"),
    ("vit_b_16", "ts", 17, "eager"),
    ("whisper_encoder", "dynamo", 20, "sdpa"),
]


def randomize(module, full):
    """Replaces constant parameters (zero biases, unit norms) by random ones, so that every weight matters.

    Narrow networks also get weights large enough that their outputs are of the order of one.
    """
    for layer in module.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 1.5)
    for parameter in module.parameters():
        if parameter.numel() > 1 and bool((parameter == parameter.flatten()[0]).all()):
            unit = float(parameter.flatten()[0]) > 0.5
            parameter.uniform_(0.5, 1.5) if unit else parameter.normal_(0, 0.02)
        elif parameter.dim() > 1 and not full:
            parameter.normal_(0, (2 / parameter[0].numel()) ** 0.5)


def build(name, full, attention):
    torch.manual_seed(0)
    # The fast path of nn.TransformerEncoder has no ONNX form.
    torch.backends.mha.set_fastpath_enabled(False)
    network = NETWORKS[name](full, attention)
    network.module.eval().requires_grad_(False)
    randomize(network.module, full)
    return network


def dynamo_shapes(network):
    """The dynamic axes in the form the dynamo exporter takes: one entry per parameter of forward."""
    dimension = torch.export.Dim.DYNAMIC
    per_input = tuple({axis: dimension for axis in network.dynamic.get(name, {})} or None for name in network.inputs)
    parameters = list(inspect.signature(network.module.forward).parameters.values())
    named = sum(parameter.kind != parameter.VAR_POSITIONAL for parameter in parameters)
    return per_input[:named] + ((per_input[named:],) if named < len(parameters) else ())


def strip_provenance(path):
    """Removes stack traces and documentation strings, which name files of the exporting machine."""
    model = onnx.load(path)
    graphs = [model.graph, *model.functions]
    for graph in graphs:
        for node in graph.node:
            node.ClearField("doc_string")
            node.ClearField("metadata_props")
            graphs.extend(attribute.g for attribute in node.attribute if attribute.HasField("g"))
        for entry in [graph, *graph.value_info, *getattr(graph, "input", []), *getattr(graph, "output", [])]:
            if not isinstance(entry, str):
                entry.ClearField("doc_string")
                entry.ClearField("metadata_props")
    onnx.save(model, path)


def export(path, network, exporter, opset):
    options = dict(input_names=network.inputs, output_names=network.outputs, opset_version=opset)
    if exporter == "ts":
        axes = network.dynamic or None
        torch.onnx.export(network.module, network.example, path, dynamo=False, dynamic_axes=axes, **options)
    else:
        shapes = dynamo_shapes(network) if network.dynamic else None
        torch.onnx.export(network.module, network.example, path, dynamo=True, dynamic_shapes=shapes,
                          external_data=False, verbose=False, **options)
    strip_provenance(path)


def save_expected(path, network, outputs):
    given = {f"in:{name}": value.numpy() for name, value in zip(network.inputs, network.example)}
    expected = {f"out:{name}": value.numpy() for name, value in zip(network.outputs, outputs)}
    np.savez_compressed(path, **given, **expected)


def export_with_expected(folder, file, name, full, exporter, opset, attention):
    network = build(name, full, attention)
    outputs = network.module(*network.example)
    path = folder / f"{file}.onnx"
    export(str(path), network, exporter, opset)
    save_expected(path.with_suffix(".npz"), network, outputs if isinstance(outputs, tuple) else (outputs,))
    print(f"{path} {path.stat().st_size / 1024:.0f} KiB", file=sys.stderr, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="make the narrow exports of models/small/")
    parser.add_argument("--full", type=pathlib.Path, metavar="OUT", help="make full-size exports in this folder")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NETWORKS))
    options = parser.parse_args()
    warnings.filterwarnings("ignore")

    with torch.no_grad():
        if options.small:
            for name, exporter, opset, attention in SMALL_EXPORTS:
                if not options.names or name in options.names:
                    file = f"{name}.{exporter}{opset}"
                    export_with_expected(SMALL, file, name, False, exporter, opset, attention)
        if options.full:
            options.full.mkdir(parents=True, exist_ok=True)
            for name in options.names or NETWORKS:
                export_with_expected(options.full, name, name, True, "ts", 17, "eager")


if __name__ == "__main__":
    main()
