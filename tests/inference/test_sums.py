"""The bundled model's skip connections, code by code: every machine must round them alike."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from pitcore.inference.session import session_options
from pitcore.model_card import DEFAULT_BUNDLE

CODES = np.arange(256)
FIRST, SECOND = np.repeat(CODES, 256).astype(np.uint8), np.tile(CODES, 256).astype(np.uint8)  # every pair


def additions():
    """Yield (name, [scale, zero point] of first, second and output) of each addition of the bundled model."""
    graph = onnx.load(DEFAULT_BUNDLE / "model.onnx").graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    maker = {name: node for node in graph.node for name in node.output}
    user = {name: node for node in graph.node for name in node.input}
    for node in graph.node:
        if node.op_type == "Add":
            quantised = [*(maker[name] for name in node.input), user[node.output[0]]]
            yield node.name, [[constants[name] for name in entry.input[1:]] for entry in quantised]


def session_of(parameters):
    """A network that does the one addition, as quantised as in the model."""
    names = ["a", "b", "c"]
    constants = [
        numpy_helper.from_array(np.asarray(value), f"{name}_{kind}")
        for name, pair in zip(names, parameters, strict=True)
        for kind, value in zip(("scale", "zero"), pair, strict=True)
    ]
    nodes = [
        helper.make_node("DequantizeLinear", ["a", "a_scale", "a_zero"], ["a_real"]),
        helper.make_node("DequantizeLinear", ["b", "b_scale", "b_zero"], ["b_real"]),
        helper.make_node("Add", ["a_real", "b_real"], ["sum"]),
        helper.make_node("QuantizeLinear", ["sum", "c_scale", "c_zero"], ["c"]),
    ]
    a, b, c = (helper.make_tensor_value_info(name, TensorProto.UINT8, [1, len(FIRST)]) for name in names)
    model = helper.make_model(
        helper.make_graph(nodes, "sum", [a, b], [c], constants),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=10,
    )
    return model.SerializeToString()


ADDITIONS = list(additions())


@pytest.mark.parametrize(("name", "parameters"), ADDITIONS, ids=[name for name, _ in ADDITIONS])
def test_every_pair_of_codes_adds_to_the_nearest_code(name, parameters, tmp_path):
    (first, first_zero), (second, second_zero), (scale, zero) = parameters
    exact = (FIRST - float(first_zero)) * float(first) + (SECOND - float(second_zero)) * float(second)
    in_codes = np.clip(exact / float(scale) + float(zero), 0, 255)
    to_half = np.abs(in_codes % 1 - 0.5).min()
    assert to_half > 3e-5, f"{name} comes within {to_half:.2g} of a half, which machines round each in its way"

    options = session_options(1)
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    session = ort.InferenceSession(session_of(parameters), options, providers=["CPUExecutionProvider"])
    assert [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node] == ["QLinearAdd"]
    (codes,) = session.run(None, {"a": FIRST[None], "b": SECOND[None]})
    np.testing.assert_array_equal(codes[0], np.rint(in_codes))


def test_the_bundled_model_has_eight_sums():
    assert len(ADDITIONS) == 8
