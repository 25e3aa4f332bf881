"""Fixtures of many tests: a tiny bundle whose verdicts can be computed by hand."""

import functools
import hashlib
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pitcore.emulator import stock
from tests.cli.forks import NURSERIES
from tests.deadline import deadline

ROOT = Path(__file__).parent.parent
SIZE = 64
MEMORY = Path("/dev/shm")  # noqa: S108  pytest makes folders of its own in it
MEMORY_BYTES = 4 << 30  # free; the folders of two test processes need a quarter of it
MIDDLE = 100.0  # the tiny network calls a crop a pit if its top plane's mean over all SIZE x SIZE pixels is above


def pytest_configure():
    """Keep the folders of the tests in memory, where there is room: the tests sync tens of thousands of files.

    Programs that tests start buffer their streams as on a board, whatever this environment says. Ctrl-C means what it
    means at a terminal, also if this process was started in the background of a shell, which makes it ignore Ctrl-C.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.pop("PYTHONUNBUFFERED", None)
    if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > MEMORY_BYTES:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup():
    with deadline():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call():
    with deadline():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown():
    with deadline():
        return (yield)


# Drawing takes most of the time of a test with a belt, and many tests have the same belt: each cherry is drawn once.
# About 10 kB each.
stock.draw_cherry = functools.lru_cache(maxsize=8192)(stock.draw_cherry)


def write_card(directory, card):
    (directory / "card.json").write_text(json.dumps(card))


def tiny_card(directory):
    """A card that fits the files in the directory."""
    names = ("model.onnx", "calibration.json", "metrics.json", "config.yaml", "golden.npz")
    return {
        "schema": "pitcore.card/1",
        "name": "tiny",
        "version": "1.2.3",
        "planes": ["top", "bottom"],
        "crop_size_px": SIZE,
        "resize": "centre",
        "layout": "NHWC",
        "dtype": "uint8",
        "scale": [1.0, 1.0],
        "offset": [0.0, 0.0],
        "labels": ["clean", "pit"],
        "calibration": {"method": "platt", "slope": 1.0, "intercept": 0.0},
        "thresholds": {"accept": 0.2, "reject": 0.8},
        "files": {name: hashlib.sha256((directory / name).read_bytes()).hexdigest() for name in names},
        "runtime": {"onnxruntime_min": "1.20", "opset": 17},
    }


def tiny_network(dtype=TensorProto.UINT8, side=SIZE, name="crops", nan_below=None, batch="n"):
    """logits = (0, (mean of top - MIDDLE) / 4): as a real bundle, but worked out by hand.

    Both logits are NaN for a crop whose planes' mean is ``nan_below`` or less: no golden vector is so dark.
    """
    weights = np.array([[0.0, 0.25], [0.0, 0.0]], np.float32)
    bias = np.array([0.0, -MIDDLE / 4], np.float32)
    nodes = [
        helper.make_node("Cast", [name], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels"], ["means"], axes=[1, 2], keepdims=0),
        helper.make_node("Gemm", ["means", "weights", "bias"], ["logits" if nan_below is None else "finite"]),
    ]
    more = []
    if nan_below is not None:  # 0 * log(mean - level)
        nodes += [
            helper.make_node("ReduceMean", ["means"], ["mean"], axes=[1], keepdims=1),
            helper.make_node("Sub", ["mean", "level"], ["over"]),
            helper.make_node("Log", ["over"], ["log"]),
            helper.make_node("Mul", ["log", "nothing"], ["poison"]),
            helper.make_node("Add", ["finite", "poison"], ["logits"]),
        ]
        more = [
            numpy_helper.from_array(np.array([value], np.float32), name)
            for name, value in (("level", nan_below), ("nothing", 0.0))
        ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, dtype, [batch, side, side, 2])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, 2])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(bias, "bias"), *more],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def write_tiny_bundle(directory, network=None, golden_shift=0.0):
    """Write a whole bundle; ``golden_shift`` makes its golden vectors wrong."""
    directory.mkdir(parents=True)
    (directory / "model.onnx").write_bytes(network or tiny_network())
    crops = np.random.default_rng(0).integers(0, 255, (3, SIZE, SIZE, 2), dtype=np.uint8)
    margin = (crops[..., 0].mean(axis=(1, 2)) - MIDDLE) / 4
    logits = np.stack([np.zeros(3), margin + golden_shift], axis=1).astype(np.float32)
    np.savez(directory / "golden.npz", crops=crops, logits=logits)
    for name in ("calibration.json", "metrics.json"):
        (directory / name).write_text("{}")
    (directory / "config.yaml").write_text("{}\n")
    write_card(directory, tiny_card(directory))
    return directory


def lighten_coverage_of_children():
    """Let the processes that tests start record only the files that they run.

    With ``source`` each of some thousand processes would list every other file too, which takes 40 ms. The test
    processes keep ``source``, so a file that nothing imports is still reported.
    """
    config = os.environ.get("COVERAGE_PROCESS_CONFIG")
    if config is None:  # coverage is not measured
        return
    from coverage.config import CoverageConfig  # noqa: PLC0415  the boards' lanes run tests without coverage

    children = CoverageConfig.deserialize(config)
    children.source, children.run_include = None, [str(ROOT / "pitcore" / "*")]
    os.environ["COVERAGE_PROCESS_CONFIG"] = children.serialize()


@pytest.fixture(scope="session", autouse=True)
def nurseries():
    """End what programs were forked from before the figures of the coverage are put together."""
    lighten_coverage_of_children()
    with NURSERIES:
        yield


@pytest.fixture
def tiny_bundle(tmp_path):
    return write_tiny_bundle(tmp_path / "tiny")


@pytest.fixture(scope="session")
def real_crops():
    """Folder of the real crops; they belong to their collectors and are never part of this tree."""
    place = Path(os.environ.get("PITCORE_DATA", ROOT.parent / "shared" / "cherries")) / "train"
    if not place.is_dir():
        pytest.skip(f"real crops are absent: no {place}; set PITCORE_DATA to the folder that holds train/")
    return place


@pytest.fixture
def small_disk(tmp_path):
    """A real file system of 64 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    yield place
    subprocess.run(["umount", place], check=True)
