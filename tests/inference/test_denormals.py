"""The mode register and real subnormals, on our threads and on ONNX Runtime's."""

import threading
import time

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from pitcore.inference.session import open_network, session_options
from pitcore.preprocess import _core
from tests.interpreter import run_script

SUBNORMAL = np.float32(1e-40)
SIZE = 4_000_000  # large enough that ONNX Runtime shares the work between its threads


@pytest.fixture(scope="module")
def multiply_by_one():
    """A network that multiplies each element by 1: the result is the input, or 0 where subnormals are flushed."""
    node = helper.make_node("Mul", ["x", "one"], ["y"])
    graph = helper.make_graph(
        [node],
        "mul",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"]),
            helper.make_tensor_value_info("one", TensorProto.FLOAT, [1]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def flushed(session):
    """Share of elements that came out as zero."""
    x = np.full(SIZE, SUBNORMAL, np.float32)
    assert x.view(np.uint32)[0] != 0
    (y,) = session.run(None, {"x": x, "one": np.ones(1, np.float32)})
    return float((y.view(np.uint32) == 0).mean())  # bits, since a flushing thread compares subnormals as equal to 0


def test_under_the_guard_every_worker_flushes(multiply_by_one):
    with _core.FlushToZero():
        session = ort.InferenceSession(multiply_by_one, session_options(4), providers=["CPUExecutionProvider"])
        assert flushed(session) == 1.0


def test_the_workers_keep_flushing_when_the_caller_does_not(multiply_by_one):
    with _core.FlushToZero():
        session = ort.InferenceSession(multiply_by_one, session_options(4), providers=["CPUExecutionProvider"])
    share, until = 0.0, time.monotonic() + 60.0
    while share in {0.0, 1.0} and time.monotonic() < until:  # on a busy machine one thread may do all
        share = flushed(session)
    assert 0.0 < share < 1.0, f"workers flush and the caller does not; but of one call {share:.0%} was flushed"


def test_a_session_made_on_another_thread_flushes_as_well_and_leaves_that_threads_mode(multiply_by_one):
    """Like after a reload: the loop's thread computes with workers that the reload's thread started."""
    made, modes = [], []

    def make():
        modes.append(_core.read_mode())
        with _core.FlushToZero():
            made.append(ort.InferenceSession(multiply_by_one, session_options(4), providers=["CPUExecutionProvider"]))
        modes.append(_core.read_mode())

    thread = threading.Thread(target=make, daemon=True)
    thread.start()
    thread.join()
    assert modes[0] == modes[1]
    with _core.FlushToZero():
        assert flushed(made[0]) == 1.0


def test_without_our_options_nothing_flushes(multiply_by_one):
    """Control: without it the tests above would pass on a machine that always flushes."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 4
    assert flushed(ort.InferenceSession(multiply_by_one, options, providers=["CPUExecutionProvider"])) == 0.0


def test_making_a_session_leaves_the_callers_mode_as_it_was(multiply_by_one):
    before = _core.read_mode()
    with _core.FlushToZero():
        ort.InferenceSession(multiply_by_one, session_options(2), providers=["CPUExecutionProvider"])
    assert _core.read_mode() == before
    assert not _core.flushes_subnormals()


@pytest.mark.parametrize("module", ["pitcore", "pitcore.preprocess._core", "pitcore.loop.app", "pitcore.cli.run"])
def test_importing_does_not_change_the_floating_point_mode(module):
    code = (
        "import importlib\n"
        f"importlib.import_module({module!r})\n"
        "from pitcore.preprocess import _core\n"
        "assert not _core.flushes_subnormals()\n"
        "assert _core.read_mode() & _core.FLUSH_BITS == 0\n"
    )
    run_script(code)


def test_opening_a_network_leaves_the_callers_mode_as_it_was(multiply_by_one):
    before = np.full(4, SUBNORMAL) * np.ones(4, np.float32)
    for _ in range(3):
        open_network(multiply_by_one, session_options(1)).run(None, {"x": before, "one": np.ones(1, np.float32)})
    after = np.full(4, SUBNORMAL) * np.ones(4, np.float32)
    assert before.view(np.uint32).all()
    assert (after.view(np.uint32) == before.view(np.uint32)).all()
