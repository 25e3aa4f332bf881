"""Finds weights that are so small that they only cost time, and sets them to zero.

The smallest normal float32 is 1.18e-38. The bound is a thousand times larger, because a product with a small activation
is subnormal as well; in a sum with other weights such products change no digit.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

SMALLEST_WEIGHT = 1e-35
_FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16)


@dataclass(frozen=True, slots=True)
class Tiny:
    """Weights of one tensor that are not zero and below ``SMALLEST_WEIGHT``.

    Attributes:
        tensor: name of the tensor.
        count: number of such weights.
        subnormal: number of them that are subnormal, below 1.18e-38.
        of: number of all its weights.
    """

    tensor: str
    count: int
    subnormal: int
    of: int

    def __str__(self) -> str:
        return f"{self.tensor}: {self.count} of {self.of} below {SMALLEST_WEIGHT:g}, {self.subnormal} of them subnormal"


def is_tiny(values: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return True for each value that is not zero and below ``SMALLEST_WEIGHT``; works also under flush-to-zero."""
    bits = np.ascontiguousarray(values).view(np.uint32) & np.uint32(0x7FFFFFFF)  # bits without sign order like |x|
    return np.asarray((bits != 0) & (bits < np.float32(SMALLEST_WEIGHT).view(np.uint32)))


def find(tensors: Iterable[tuple[str, NDArray[np.float32]]]) -> list[Tiny]:
    """Return the tensors that contain such weights."""
    found = []
    for name, values in tensors:
        tiny = is_tiny(values)
        if count := int(tiny.sum()):
            smallest = np.abs(values).view(np.uint32)[tiny] < np.finfo(np.float32).tiny.view(np.uint32)
            found.append(Tiny(name, count, int(smallest.sum()), values.size))
    return found


def float_tensors(model: onnx.ModelProto) -> list[tuple[str, NDArray[np.generic]]]:
    """Return every floating-point tensor of a graph by name: initialisers and constants of any width."""
    constants = [
        (node.output[0], attribute.t)
        for node in model.graph.node
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.name == "value"
    ]
    tensors = [*((tensor.name, tensor) for tensor in model.graph.initializer), *constants]
    return [(name, numpy_helper.to_array(tensor)) for name, tensor in tensors if tensor.data_type in _FLOATS]


def weights_of(model: onnx.ModelProto) -> list[tuple[str, NDArray[np.float32]]]:
    """Return the float32 initialisers of a graph by name."""
    return [
        (tensor.name, numpy_helper.to_array(tensor))
        for tensor in model.graph.initializer
        if tensor.data_type == TensorProto.FLOAT
    ]


def with_weights(model: onnx.ModelProto, values: dict[str, NDArray[np.float32]]) -> onnx.ModelProto:
    """Return a copy of a graph with other values of some initialisers."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for tensor in copy.graph.initializer:
        if tensor.name in values:
            tensor.CopyFrom(numpy_helper.from_array(values[tensor.name], tensor.name))
    return copy


def zeroed(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of a graph with such weights set to zero."""
    return with_weights(
        model, {name: np.where(is_tiny(values), np.float32(0), values) for name, values in weights_of(model)}
    )
