"""Tiny networks with faults; they give the verdicts of ``tests.conftest.tiny_network``."""

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tests.conftest import tiny_network

CHANNELS = 32


def with_nan():
    """Logits that are NaN for a black crop, which is not in the golden vectors: + 0 * sqrt(mean - 50)."""
    model = onnx.load_from_string(tiny_network())
    add_number(model, "fifty", 50)
    model.graph.node.append(helper.make_node("Sub", ["means", "fifty"], ["above"]))
    model.graph.node.append(helper.make_node("Sqrt", ["above"], ["root"]))
    return ended(model, "root")


def with_work(layers):
    """As many convolutions of 32 channels over each crop, whose result is multiplied by 0: some 40 MFLOP each."""
    model = onnx.load_from_string(tiny_network())
    graph, draw = model.graph, np.random.default_rng(0)
    graph.node.append(helper.make_node("Transpose", ["pixels"], ["map"], perm=[0, 3, 1, 2]))
    name = "map"
    for layer in range(layers):
        shape = (CHANNELS, CHANNELS if layer else 2, 3, 3)
        kernels = (draw.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
        graph.initializer.append(numpy_helper.from_array(kernels, f"kernels{layer}"))
        graph.node.append(
            helper.make_node("Conv", [name, f"kernels{layer}"], [f"map{layer}"], pads=[1, 1, 1, 1], kernel_shape=[3, 3])
        )
        name = f"map{layer}"
    graph.node.append(helper.make_node("ReduceMean", [name], ["peaks"], axes=[1, 2, 3], keepdims=0))
    graph.initializer.append(numpy_helper.from_array(np.array([1], np.int64), "axis"))
    graph.node.append(helper.make_node("Unsqueeze", ["peaks", "axis"], ["column"]))
    return ended(model, "column")


def with_memory(channels):
    """One convolution with many channels: a map of 15 KB for each channel and crop."""
    model = onnx.load_from_string(tiny_network())
    kernels = np.random.default_rng(0).normal(size=(channels, 2, 3, 3)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(kernels, "kernels"))
    model.graph.initializer.append(numpy_helper.from_array(np.array([1], np.int64), "axis"))
    model.graph.node.append(helper.make_node("Transpose", ["pixels"], ["map"], perm=[0, 3, 1, 2]))
    model.graph.node.append(helper.make_node("Conv", ["map", "kernels"], ["maps"]))
    model.graph.node.append(helper.make_node("ReduceMax", ["maps"], ["peaks"], axes=[1, 2, 3], keepdims=0))
    model.graph.node.append(helper.make_node("Unsqueeze", ["peaks", "axis"], ["column"]))
    return ended(model, "column")


def add_number(model, name, value):
    model.graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), name))


def ended(model, name):
    """Add 0 times a value to the logits."""
    model.graph.node[2].output[0] = "plain"
    add_number(model, "none", 0)
    model.graph.node.append(helper.make_node("Mul", [name, "none"], ["nothing"]))
    model.graph.node.append(helper.make_node("Add", ["plain", "nothing"], ["logits"]))
    onnx.checker.check_model(model)
    return model.SerializeToString()
