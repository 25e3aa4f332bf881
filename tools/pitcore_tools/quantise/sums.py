"""Chooses scales with which every machine computes equal sums in the skip connections of a ResNet.

A quantised sum is ``c = round(a * A/C + b * B/C)``, where a and b are codes minus their zero points, and A, B, C the
scales. ONNX Runtime computes it in float32 on x86, rounding halves to even, and with 22-bit integers on Arm, rounding
halves away from zero (MLAS, ``qladd.cpp``). The results differ if the exact sum is near a half: for about one code in a
million, which changes the last digits of one verdict in a thousand.

So A and B are changed, by hundredths of a percent, to multiples of C / 2**14 for which no pair of codes gives a half;
if A + B exceeds 4 C, to multiples of C / 2**13, and so on. Then both computations are exact, and so equal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from pitcore.errors import BundleError

FINEST = 1 << 14  # steps of a code of the output
LARGEST = (1 << 24) // 255  # largest sum of both ratios in steps, so that 255 times it fits into float32's 24 bits
REACH = 64  # largest change of a ratio in steps
MOST = 0.01  # largest relative change of a ratio


@dataclass(frozen=True, slots=True)
class Quantisation:
    """The quantisation of a tensor: ``real = scale * (code - zero_point)``."""

    scale: np.float32
    zero_point: int


@dataclass(frozen=True, slots=True)
class Sum:
    """A quantised addition.

    Attributes:
        inputs: names of the two float tensors that are added.
        output: name of the float output, which is quantised after it; a ReLU is part of that quantisation.
    """

    inputs: tuple[str, str]
    output: str


def quantisations(model: onnx.ModelProto) -> dict[str, Quantisation]:
    """Return the quantisation of each activation of a QDQ graph, by the float tensor's name."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    return {
        node.input[0]: Quantisation(
            np.float32(numpy_helper.to_array(constants[node.input[1]])),
            int(numpy_helper.to_array(constants[node.input[2]])),
        )
        for node in model.graph.node
        if node.op_type == "QuantizeLinear"
    }


def sums(model: onnx.ModelProto) -> list[Sum]:
    """Return the additions of a QDQ graph whose inputs are both quantised, in the order of the graph."""
    maker = {output: node for node in model.graph.node for output in node.output}
    known = quantisations(model)

    def quantised(name: str) -> str | None:
        """Return the float tensor behind a DequantizeLinear; a MaxPool has the quantisation of its input."""
        node = maker.get(name)
        if node is None or node.op_type != "DequantizeLinear" or node.input[0] not in maker:
            return None
        tensor = maker[node.input[0]].input[0]
        before = maker.get(tensor)
        return quantised(before.input[0]) if before is not None and before.op_type == "MaxPool" else tensor

    found = []
    for node in model.graph.node:
        if node.op_type != "Add":
            continue
        first, second = (quantised(name) for name in node.input)
        if first is not None and second is not None and node.output[0] in known:
            found.append(Sum((first, second), node.output[0]))
    return found


def exact_scales(model: onnx.ModelProto) -> dict[str, Quantisation]:
    """Return a quantisation of every summand for which its sum is exact on every machine.

    Works backwards from the last sum, because the output of one is an input of the next.

    Args:
        model: a QDQ graph with uint8 activations.

    Returns:
        For each input of a sum: its scale, changed as little as possible and at most by 1 %, and its zero point.

    Raises:
        BundleError: a tensor is an input of two sums, or there is no suitable scale nearby.
    """
    known, exact = quantisations(model), dict[str, Quantisation]()
    for entry in reversed(sums(model)):
        output = exact.get(entry.output, known[entry.output])
        first, second = (known[name] for name in entry.inputs)
        if any(name in exact for name in entry.inputs):
            raise BundleError(f"a tensor of {entry.inputs} is an input of two sums; only one can set its scale")
        scales = _exact_pair(first, second, output)
        for name, old, scale in zip(entry.inputs, (first, second), scales, strict=True):
            exact[name] = Quantisation(scale, old.zero_point)
    return exact


def exact_sum(first: Quantisation, second: Quantisation, output: Quantisation) -> NDArray[np.uint8] | None:
    """Add every pair of codes exactly.

    Returns:
        (256, 256) uint8, indexed by the first and the second code; None if the sum does not fit into float32 or 22-bit
        integers, or if a pair gives a half inside the range of the output.
    """
    ratios = [float(np.float32(entry.scale / output.scale)) for entry in (first, second)]
    unit = _steps(sum(ratios))
    steps = [ratio * unit for ratio in ratios]
    if not all(step.is_integer() for step in steps):
        return None
    codes = np.arange(256)
    total = np.add.outer((codes - first.zero_point) * int(steps[0]), (codes - second.zero_point) * int(steps[1]))
    shifted = total + output.zero_point * unit
    halves = (shifted % unit == unit // 2) & (shifted > 0) & (shifted < 255 * unit)
    if halves.any():
        return None
    nearest: NDArray[np.uint8] = np.clip((shifted + unit // 2) // unit, 0, 255).astype(np.uint8)
    return nearest


def _steps(ratios: float) -> int:
    """Return the number of steps of a code of the output, a power of two, for a sum of the two ratios."""
    steps = FINEST
    while ratios * steps > LARGEST:
        steps //= 2
    return steps


def _exact_pair(first: Quantisation, second: Quantisation, output: Quantisation) -> tuple[np.float32, np.float32]:
    """Return the nearest scales for which the sum is exact."""
    ratios = [float(entry.scale) / float(output.scale) for entry in (first, second)]
    unit = _steps(sum(ratios))
    near = [round(ratio * unit) for ratio in ratios]
    for moved in _outwards(*(min(REACH, int(MOST * steps)) for steps in near)):
        one, other = (_scale_of((step + move) / unit, output.scale) for step, move in zip(near, moved, strict=True))
        if one is None or other is None:
            continue
        if exact_sum(Quantisation(one, first.zero_point), Quantisation(other, second.zero_point), output) is not None:
            return one, other
    raise BundleError(
        f"no scales near {first.scale} and {second.scale} add up exactly to scale {output.scale}; "
        "calibrate with other crops"
    )


def _outwards(first: int, second: int) -> list[tuple[int, int]]:
    """Return the pairs of changes up to these numbers of steps in both directions, the smallest first."""
    moves = ((a, b) for a in range(-first, first + 1) for b in range(-second, second + 1))
    return sorted(moves, key=lambda pair: (abs(pair[0]) + abs(pair[1]), pair))


def _scale_of(ratio: float, output: np.float32) -> np.float32 | None:
    """Return the float32 that, divided by ``output`` in float32, is exactly ``ratio``; None if there is none."""
    wanted = np.float32(ratio)
    scale = np.float32(wanted * output)
    for near in (scale, np.nextafter(scale, np.float32(np.inf)), np.nextafter(scale, np.float32(0))):
        if ratio > 0 and np.float32(near / output) == wanted:
            return np.float32(near)
    return None
