"""The processor's mode, the choice of kernels, threads, and the stub."""

from __future__ import annotations

import ast
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from pitcore.preprocess import _core
from pitcore.preprocess.prepare import aligned_batch
from tests.interpreter import run_script

STUB = Path(_core.__file__).with_name("_core.pyi")
TINY = np.float32(1e-40)


def product():
    """A real subnormal times one, in NumPy's own code on this thread."""
    return (np.full(64, TINY) * np.float32(1.0)).max()


def test_the_guard_flushes_and_restores_the_mode():
    assert not _core.flushes_subnormals()
    assert product() > 0
    before = _core.read_mode()
    assert before & _core.FLUSH_BITS == 0
    with _core.FlushToZero():
        assert _core.read_mode() & _core.FLUSH_BITS == _core.FLUSH_BITS
        assert _core.flushes_subnormals()
        assert product() == 0
    assert _core.read_mode() == before
    assert product() > 0


def test_an_error_inside_the_guard_restores_the_mode():
    def fail():
        with _core.FlushToZero():
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert not _core.flushes_subnormals()


def test_nested_guards_end_with_the_outermost():
    with _core.FlushToZero():
        with _core.FlushToZero():
            assert _core.flushes_subnormals()
        assert _core.flushes_subnormals()
    assert not _core.flushes_subnormals()


def test_the_guard_does_not_affect_another_thread():
    entered, done = threading.Event(), threading.Event()
    seen = []

    def other():
        entered.wait()
        seen.append(_core.flushes_subnormals())
        done.set()

    thread = threading.Thread(target=other, daemon=True)
    thread.start()  # before the guard: on Arm a new thread inherits the mode
    with _core.FlushToZero():
        entered.set()
        done.wait()
    thread.join()
    assert seen == [False]


def test_a_guard_cannot_be_entered_twice():
    guard = _core.FlushToZero()
    with guard, pytest.raises(RuntimeError, match="entered already"):
        guard.__enter__()
    assert not _core.flushes_subnormals()
    with guard:
        assert _core.flushes_subnormals()
    with pytest.raises(RuntimeError, match="without having been entered"):
        guard.__exit__(None, None, None)


def test_a_guard_cannot_be_left_on_another_thread():
    guard = _core.FlushToZero()
    messages = []

    def leave():
        try:
            guard.__exit__(None, None, None)
        except RuntimeError as error:
            messages.append(str(error))

    with guard:
        thread = threading.Thread(target=leave, daemon=True)
        thread.start()
        thread.join()
        assert _core.flushes_subnormals()
    assert not _core.flushes_subnormals()
    assert "left on another thread" in messages[0]


def test_importing_and_computing_do_not_change_the_mode():
    script = """
import numpy as np
assert np.full(64, np.float32(1e-40)).max() * np.float32(1) > 0
import pitcore, pitcore.preprocess
from pitcore.preprocess import _core
mode = _core.read_mode()
assert mode & _core.FLUSH_BITS == 0, hex(mode)
from pitcore.preprocess import prepare
out = prepare.crop_from_image(np.ones((20, 20, 1), np.uint8), prepare.CropSpec(16, "fit", 1))
prepare.to_float(out[None], "NCHW", (1.0,), (0.0,), prepare.aligned_batch(1, (1, 16, 16), np.float32))
assert _core.read_mode() & _core.FLUSH_BITS == 0
assert not _core.flushes_subnormals()
assert np.full(64, np.float32(1e-40)).max() * np.float32(1) > 0
"""
    run_script(script, "-W", "error")


def test_a_subnormal_scale_is_flushed_while_converting():
    batch = np.ones((1, 4, 4, 1), np.uint8)
    out = aligned_batch(1, (4, 4, 1), np.float32)
    out[:] = 5
    _core.to_float(batch, "NHWC", (1e-40,), (0.0,), out)
    assert not out.any()


def test_an_unknown_kernel_is_refused_and_scalar_is_available():
    assert _core.kernels()[-1] == "scalar"
    assert _core.active_kernel() == _core.kernels()[0]
    with pytest.raises(ValueError, match=r"no kernel is called 'mmx'; known are auto, .*scalar"):
        _core.force_kernel("mmx")
    _core.force_kernel("scalar")
    try:
        assert _core.active_kernel() == "scalar"
    finally:
        _core.force_kernel("auto")
    assert _core.active_kernel() == _core.kernels()[0]


SHAPE = (2048, 2048)
NOISE = np.random.default_rng(0).integers(0, 256, SHAPE, np.uint8)


def slow_segmenter():
    return _core.Segmenter(SHAPE, ((0, 128, "bright", None),), "any", 1, (1 << 21, 1 << 18))


def test_the_lock_of_the_interpreter_is_free_while_segmenting():
    # The scheduler may not run this thread in that time; if the lock were held, it would never run.
    assert any(ticked_while_segmenting() for _ in range(50))


def ticked_while_segmenting():
    segmenter = slow_segmenter()
    span = []

    def work():
        span.append(time.perf_counter())
        segmenter.segment((NOISE,))
        span.append(time.perf_counter())

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    ticks = []
    while thread.is_alive():
        ticks.append(time.perf_counter())
    thread.join()
    begin, end = span
    # Held, the lock leaves this loop no tick but at the very ends.
    return any(begin + (end - begin) / 4 < tick < end - (end - begin) / 4 for tick in ticks)


def test_two_threads_cannot_use_one_segmenter_at_once():
    segmenter = slow_segmenter()
    refused = []

    def work():
        for _ in range(20):
            if not refused:
                try:
                    segmenter.segment((NOISE,))
                except RuntimeError as error:
                    refused.append(str(error))

    threads = [threading.Thread(target=work, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(refused) == {"Segmenter: in use by another thread; make one each"}


def arguments_of(function):
    return [argument.arg for argument in function.args.args if argument.arg != "self"]


def signature_of(documented):
    """Argument names in pybind11's first docstring line; the types hold no other `name:`."""
    tree = ast.parse("def " + documented.splitlines()[0].replace("pitcore.preprocess._core.", "") + ": ...")
    return arguments_of(tree.body[0])


def test_the_stub_matches_the_module():
    nodes = ast.parse(STUB.read_text()).body
    functions = {node.name: node for node in nodes if isinstance(node, ast.FunctionDef)}
    classes = {node.name: node for node in nodes if isinstance(node, ast.ClassDef)}
    constants = {node.target.id for node in nodes if isinstance(node, ast.AnnAssign)}
    public = {name for name in dir(_core) if not name.startswith("_")}
    assert public == set(functions) | set(classes) | constants
    for name, node in functions.items():
        assert signature_of(getattr(_core, name).__doc__) == arguments_of(node), name
    status = {
        node.targets[0].id: node.value.value for node in classes.pop("Status").body if isinstance(node, ast.Assign)
    }
    assert {item.name: item.value for item in _core.Status} == status
    for name, node in classes.items():
        kind = getattr(_core, name)
        stubbed = {item.name: item for item in node.body if isinstance(item, ast.FunctionDef)}
        own = {key for key in vars(kind) if not key.startswith("_")} | {"__init__"}
        assert own | ({"__enter__", "__exit__"} & set(vars(kind))) == set(stubbed), name
        for key, item in stubbed.items():
            if not item.decorator_list and key != "__enter__":
                assert signature_of(getattr(kind, key).__doc__) == arguments_of(item), (name, key)
