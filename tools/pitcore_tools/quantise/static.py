"""Quantises statically to U8 activations and S8 per-channel weights, with the input that boards use.

``docs/model.md`` explains this form. The quantiser is ONNX Runtime's; this module chooses the calibration and changes
the input from float to the bytes of the crop.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.quant_utils import add_pre_process_metadata

from pitcore.errors import BundleError, DataError
from pitcore.inference.crew import Crew
from pitcore.inference.session import open_network, session_options
from pitcore.machine import usable_cores
from pitcore_tools.export.graph import INPUT, OUTPUT
from pitcore_tools.quantise.sums import Quantisation, exact_scales

METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "percentile": CalibrationMethod.Percentile,
    "entropy": CalibrationMethod.Entropy,
}
CALIBRATION_BATCH = 32
TO_NCHW = "to_nchw"
# Allowed operators of the optimised graph: integer kernels, and operators that only move data.
INTEGER_OPS = {
    "QLinearConv",
    "QLinearAdd",
    "QLinearGlobalAveragePool",
    "QGemm",
    "NhwcMaxPool",
    "MaxPool",
    "Transpose",
    "Reshape",
    "Flatten",
}


class _Crops(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime ships no types
    """Passes calibration crops to the quantiser, as float in 0..255."""

    def __init__(self, crops: NDArray[np.uint8]) -> None:
        whole = len(crops) // CALIBRATION_BATCH  # the histogram methods need batches of equal size
        if whole == 0:
            raise DataError(f"{len(crops)} crops are too few to calibrate; give at least {CALIBRATION_BATCH}")
        self._batches: Iterator[NDArray[np.uint8]] = iter(
            [crops[index * CALIBRATION_BATCH : (index + 1) * CALIBRATION_BATCH] for index in range(whole)]
        )

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        batch = next(self._batches, None)
        return None if batch is None else {INPUT: to_nchw(batch)}


def to_nchw(crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Convert (N, S, S, planes) uint8 to (N, planes, S, S) float32 with equal values."""
    return np.ascontiguousarray(crops.transpose(0, 3, 1, 2)).astype(np.float32)


def quantise(model: onnx.ModelProto, crops: NDArray[np.uint8], method: str) -> onnx.ModelProto:
    """Quantise a float graph: ``crops`` becomes (n, S, S, planes) uint8, ``logits`` stays float.

    Runs twice: the first run gives the scales that the skip connections need, the second uses them.

    Args:
        model: graph from ``float_graph``.
        crops: (N, S, S, planes) uint8 crops for the ranges of the activations.
        method: a name of ``METHODS``.
    """
    plain = _quantise(model, crops, method, {})
    return _blocks_as_channels(_take_bytes(_quantise(model, crops, method, exact_scales(plain))))


def _quantise(
    model: onnx.ModelProto, crops: NDArray[np.uint8], method: str, fixed: dict[str, Quantisation]
) -> onnx.ModelProto:
    """Quantise to QDQ with a fixed quantisation of some activations."""
    # the crop's bytes are the quantised input, so its scale is exactly 1; calibration would give 0.99998
    overrides = {INPUT: Quantisation(np.float32(1), 0)} | fixed
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        prepared = onnx.shape_inference.infer_shapes(model, strict_mode=True)
        add_pre_process_metadata(prepared)  # the graph is already folded and has shapes, so no warning
        onnx.save(prepared, before)
        quantize_static(
            before,
            after,
            _Crops(crops),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=METHODS[method],
            extra_options={
                "TensorQuantOverrides": {
                    name: [{"scale": np.array(entry.scale), "zero_point": np.array(entry.zero_point, np.uint8)}]
                    for name, entry in overrides.items()
                },
                "OpTypesToExcludeOutputQuantization": ["Gemm"],  # docs/adr/0004-float-logits.md
            },
        )
        return onnx.load(after)


def _take_bytes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replace the float input and its QuantizeLinear by a uint8 NHWC input and a transpose of bytes."""
    graph = model.graph
    (first,) = (node for node in graph.node if node.op_type == "QuantizeLinear" and node.input[0] == INPUT)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    scale, zero = constants[first.input[1]], constants[first.input[2]]
    if float(scale) != 1.0 or int(zero) != 0:
        raise BundleError(f"the input is quantised with scale {scale} and zero point {zero}, not 1 and 0")
    _, planes, height, width = (dim.dim_value for dim in graph.input[0].type.tensor_type.shape.dim)
    first_index = list(graph.node).index(first)
    graph.node.remove(first)
    transpose = helper.make_node("Transpose", [INPUT], [first.output[0]], name=TO_NCHW, perm=[0, 3, 1, 2])
    graph.node.insert(first_index, transpose)
    graph.input[0].CopyFrom(helper.make_tensor_value_info(INPUT, TensorProto.UINT8, ["n", height, width, planes]))
    onnx.checker.check_model(model, full_check=True)
    return model


def _blocks_as_channels(model: onnx.ModelProto) -> onnx.ModelProto:
    """Turn the first convolution, 7 x 7 with stride 2, into 4 x 4 with stride 1, over blocks of 2 x 2 pixels.

    Every sum is equal to the bit, but a runtime reads 4 runs of 16 bytes for it instead of 7 of 14.
    Source: C. Ying et al., "Image classification at supercomputer scale", 2018 (space to depth).
    """
    graph = model.graph
    nodes, constants = list(graph.node), {tensor.name: tensor for tensor in graph.initializer}
    maker = {output: node for node in nodes for output in node.output}
    first = next(node for node in nodes if node.op_type == "Conv")
    weights = constants[maker[first.input[1]].input[0]]
    _, height, width, planes = (dim.dim_value for dim in graph.input[0].type.tensor_type.shape.dim)
    if height % 2 or width % 2:
        return model  # odd crops have no whole blocks
    kernel = numpy_helper.to_array(weights)
    whole = np.zeros((len(kernel), planes, 8, 8), kernel.dtype)
    whole[:, :, 1:, 1:] = kernel  # the padding of 3 begins in the middle of a block
    blocks = whole.reshape(-1, planes, 4, 2, 4, 2).transpose(0, 3, 5, 1, 2, 4).reshape(-1, 4 * planes, 4, 4)
    weights.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(blocks), weights.name))
    first.CopyFrom(
        helper.make_node("Conv", first.input, first.output, name=first.name, kernel_shape=[4, 4], pads=[2, 2, 1, 1])
    )
    (transpose,) = (node for node in nodes if node.name == TO_NCHW)
    rows, columns = height // 2, width // 2
    for name, shape in (("pairs", [-1, rows, 2, columns, 2, planes]), ("blocks", [-1, rows, columns, 4 * planes])):
        graph.initializer.append(numpy_helper.from_array(np.array(shape, np.int64), f"{name}_shape"))
    gathering = [
        helper.make_node("Reshape", [INPUT, "pairs_shape"], ["pairs"]),
        helper.make_node("Transpose", ["pairs"], ["gathered"], perm=[0, 1, 3, 2, 4, 5]),
        helper.make_node("Reshape", ["gathered", "blocks_shape"], ["blocks"]),
    ]
    transpose.input[0] = "blocks"
    at = nodes.index(transpose)
    del graph.node[:], graph.value_info[:]
    graph.node.extend([*nodes[:at], *gathering, *nodes[at:]])
    onnx.checker.check_model(model, full_check=True)
    return model


def session_for(model: onnx.ModelProto, optimised: Path | None = None) -> ort.InferenceSession:
    """Load a graph like a board, with one thread; write the optimised graph if a path is given."""
    options = session_options(1)
    options.log_severity_level = 3
    if optimised is not None:
        options.optimized_model_filepath = str(optimised)
    return open_network(model.SerializeToString(), options)


def run(session: ort.InferenceSession, inputs: NDArray[np.uint8 | np.float32]) -> NDArray[np.float32]:
    """Run a graph over any number of crops, in batches, on every core."""
    starts = range(0, len(inputs), CALIBRATION_BATCH)
    found: list[NDArray[np.float32]] = [np.empty(0, np.float32)] * len(starts)

    def run_piece(number: int) -> None:
        piece = inputs[starts[number] : starts[number] + CALIBRATION_BATCH]
        found[number] = session.run([OUTPUT], {INPUT: piece})[0]

    with Crew(usable_cores()) as crew:
        crew.run(run_piece, len(starts))
    return np.concatenate(found)


def op_histogram(model: onnx.ModelProto) -> Counter[str]:
    """Count the operators of the graph after ONNX Runtime's optimisation on this machine."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optimised.onnx"
        session_for(model, path)
        return Counter(node.op_type for node in onnx.load(path).graph.node)


def float_ops(histogram: Counter[str]) -> set[str]:
    """Return the operators of an optimised graph that are not integer kernels; there should be none."""
    return set(histogram) - INTEGER_OPS
