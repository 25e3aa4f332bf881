"""Converts a float graph to ncnn's format: a ``param`` text and a ``bin``, float or int8.

ncnn's wheel has no converter, and pnnx has no int8. So this module does the work of ``ncnnoptimize``, ``ncnn2table``
and ``ncnn2int8``: a ReLU is merged into the convolution before it; weights are symmetric per output channel,
activations symmetric per tensor; a convolution that only convolutions read outputs int8. One thing differs: 3 x 3
kernels have 8 bits. ncnn's tools give them 6, for the sums of its int8 Winograd form; ``nets`` turns that form off.
Source: github.com/Tencent/ncnn, ``tools/quantize/`` and ``src/modelbin.cpp``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from pitcore.inference.session import open_network
from pitcore_tools.export.graph import INPUT

MAGIC = 7767517  # first line of a param text
FLOAT_TAG, INT8_TAG = 0, 0x000D4B38  # before the weights of a layer
INT8_LARGEST = 127
FLOAT_OUT, INT8_OUT = 2, 102  # int8_scale_term: the layer takes int8 and outputs float, or int8
# Layers without weights: ncnn's name and parameters, by operator. The graph has one pooling of each kind.
WEIGHTLESS = {
    "Relu": ("ReLU", ""),
    "Add": ("BinaryOp", "0=0"),
    "MaxPool": ("Pooling", "0=0 1=3 2=2 3=1 5=1"),
    "GlobalAveragePool": ("Pooling", "0=1 4=1"),
    "Flatten": ("Flatten", ""),
}


@dataclass(frozen=True, slots=True)
class NcnnModel:
    """A model for ncnn.

    Attributes:
        param: the layers, as text.
        weights: the ``bin``.
    """

    param: str
    weights: bytes


def largest_inputs(model: onnx.ModelProto, pixels: NDArray[np.float32]) -> dict[str, float]:
    """Return the largest input magnitude of each convolution and matrix, by tensor name.

    This is the simplest calibration: nothing is clipped. ``ncnn2table`` can find smaller thresholds.

    Args:
        model: from ``float_graph``.
        pixels: (N, planes, S, S) in 0..255.
    """
    names = list({node.input[0] for node in model.graph.node if node.op_type in ("Conv", "Gemm")} - {INPUT})
    probed = onnx.ModelProto()
    probed.CopyFrom(model)
    probed.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    session = open_network(probed.SerializeToString(), ort.SessionOptions())
    found = dict(zip(names, session.run(names, {INPUT: pixels}), strict=True))
    return {name: float(np.abs(values).max()) for name, values in (found | {INPUT: pixels}).items()}


def ncnn_model(model: onnx.ModelProto, largest: Mapping[str, float] | None = None) -> NcnnModel:
    """Write a float graph for ncnn: ``crops`` (planes, S, S) in 0..255 -> ``logits`` (classes,), or n of them.

    Args:
        model: from ``float_graph``, not normalised.
        largest: from ``largest_inputs``, for int8; float without.
    """
    writer = _Writer(model.graph, largest)
    for node in model.graph.node:
        writer.node(node)
    return writer.finished()


class _Writer:
    """Collects layers and weights. In ncnn each blob has one reader; a ``Split`` copies it for more."""

    def __init__(self, graph: onnx.GraphProto, largest: Mapping[str, float] | None) -> None:
        self.largest = largest
        self.constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        self.readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in graph.node:
            for name in node.input:
                self.readers[name].append(node)
        self.layers: list[str] = []
        self.weights: list[bytes] = []
        self.copies: dict[str, list[str]] = {}
        self.blobs = 0
        _, planes, height, width = (dim.dim_value for dim in graph.input[0].type.tensor_type.shape.dim)
        self.layer("Input", [], INPUT, f"0={width} 1={height} 2={planes}")

    def node(self, node: onnx.NodeProto) -> None:
        """Add ncnn's layers for an operator."""
        if node.op_type == "Conv":
            self.convolution(node)
        elif node.op_type == "Gemm":
            kernel = self.constants[node.input[1]]
            term = self.weigh(node, node.output[0])
            self.layer("InnerProduct", [node.input[0]], node.output[0], f"0={len(kernel)} 1=1 2={kernel.size} 8={term}")
        elif node.output[0] not in self.copies:  # otherwise a ReLU that was merged into its convolution
            kind, parameters = WEIGHTLESS[node.op_type]
            self.layer(kind, list(node.input), node.output[0], parameters)

    def convolution(self, node: onnx.NodeProto) -> None:
        """Add a convolution, and the ReLU behind it."""
        kernel = self.constants[node.input[1]]
        given = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        (stride, _), pad, size = given["strides"], given["pads"][0], kernel.shape[-1]
        output, readers = node.output[0], self.readers[node.output[0]]
        rectified = [reader.op_type for reader in readers] == ["Relu"]
        if rectified:
            output = readers[0].output[0]
        term = self.weigh(node, output)
        parameters = f"0={len(kernel)} 1={size} 3={stride} 4={pad} 5=1 6={kernel.size} 8={term} 9={int(rectified)}"
        self.layer("Convolution", [node.input[0]], output, parameters)

    def weigh(self, node: onnx.NodeProto, output: str) -> int:
        """Add a layer's weights, its bias and, for int8, its scales; return its ``int8_scale_term``."""
        kernel, bias = (self.constants[name] for name in node.input[1:])
        if self.largest is None:
            self.weights += [np.uint32(FLOAT_TAG).tobytes(), kernel.tobytes(), bias.tobytes()]
            return 0
        rows = kernel.reshape(len(kernel), -1)
        scales = np.float32(INT8_LARGEST) / np.abs(rows).max(1)
        whole = np.rint(rows * scales[:, None]).astype(np.int8).tobytes()
        self.weights += [np.uint32(INT8_TAG).tobytes(), whole, bytes(-len(whole) % 4), bias.tobytes(), scales.tobytes()]
        self.weights.append(np.float32(INT8_LARGEST / self.largest[node.input[0]]).tobytes())
        if {reader.op_type for reader in self.readers[output]} != {"Conv"}:
            return FLOAT_OUT
        self.weights.append(np.float32(INT8_LARGEST / self.largest[output]).tobytes())
        return INT8_OUT

    def layer(self, kind: str, inputs: list[str], output: str, parameters: str) -> None:
        """Add a layer, and a ``Split`` if several layers read its output."""
        taken = [self.copies[name].pop() for name in inputs]
        self.layers.append(" ".join([kind, f"{output}/{kind}", str(len(taken)), "1", *taken, output, parameters]))
        self.blobs += 1
        count = len(self.readers[output])
        self.copies[output] = [output]
        if count > 1:
            self.copies[output] = [f"{output}/{number}" for number in range(count)]
            self.layers.append(" ".join(["Split", f"{output}/split", "1", str(count), output, *self.copies[output]]))
            self.blobs += count

    def finished(self) -> NcnnModel:
        """Return the model."""
        lines = [str(MAGIC), f"{len(self.layers)} {self.blobs}", *self.layers]
        return NcnnModel("\n".join(lines) + "\n", b"".join(self.weights))
