"""Measures the limits of this machine, and the shares of them that the stages of a frame reach."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pitcore.config import Config
from pitcore.inference.session import Session, open_network, session_options
from pitcore.model_card import Bundle
from pitcore_tools.reference import BATCH, RING, OurSearch, copied, ring
from pitcore_tools.timing import Floats, in_turns

SIDE = 512  # side of the matrices for the peak of multiply-accumulates; larger ones do not fit into the caches
MULTIPLICATIONS = 16  # in a round, so that the caches' state before the round does not matter
PROFILED_RUNS = 12


@dataclass(frozen=True, slots=True)
class Machine:
    """The limits of one core.

    Attributes:
        bytes_per_s: bytes read and written per second in copying frames from a ring larger than the caches.
        macs_per_s: int8 multiply-accumulates per second for two square matrices in ONNX Runtime.
    """

    bytes_per_s: float
    macs_per_s: float


@dataclass(frozen=True, slots=True)
class Reached:
    """The median times of the parts of a frame in the same rounds, with one thread.

    Attributes:
        machine: the measured limits.
        frame_bytes: size of all planes in bytes.
        search_ms: time of search and extraction of a frame.
        network_ms: time of the network for ``BATCH`` crops.
        load: number of things in a frame.
    """

    machine: Machine
    frame_bytes: int
    search_ms: float
    network_ms: float
    things: float


@dataclass(frozen=True, slots=True)
class Layer:
    """A node of the optimised network.

    Attributes:
        name: name in the exported graph.
        operator: ONNX operator.
        macs: multiply-accumulates of one crop.
        weights: size of the weights in bytes.
        ms: time for ``BATCH`` crops.
    """

    name: str
    operator: str
    macs: int
    weights: int
    ms: float


def measure(config: Config, bundle: Bundle, rounds: int, tick: Callable[[], object] = lambda: None) -> Reached:
    """Measure copying, multiplying, searching and judging in interleaved rounds on one thread."""
    frames = ring(config, config.frame.height_px)
    room = tuple(np.empty_like(plane) for plane in frames[0])
    search = OurSearch(config, bundle.card.crop_size_px)
    session = Session(bundle, capacity=BATCH, threads=1)
    session.batch[:] = np.random.default_rng(1).integers(0, 256, session.batch.shape, np.uint8)
    multiply = _multiplication()
    jobs: dict[str, Callable[[int], object]] = {
        "copy": lambda number: copied(room, frames[number % RING]),
        "multiply": lambda _: [multiply() for _ in range(MULTIPLICATIONS)],
        "search": lambda number: search.run(frames[number % RING]),
        "network": lambda _: session.run(BATCH),
    }
    times = {name: _median(timed.wall_ms) for name, timed in in_turns(jobs, rounds, tick).items()}
    frame_bytes = sum(plane.nbytes for plane in frames[0])
    machine = Machine(2 * frame_bytes / times["copy"] * 1e3, MULTIPLICATIONS * SIDE**3 / times["multiply"] * 1e3)
    things = float(np.mean([len(search.run(planes)[0]) for planes in frames]))
    return Reached(machine, frame_bytes, times["search"], times["network"], things)


def layers(bundle: Bundle) -> list[Layer]:
    """Profile the network node by node over ``BATCH`` crops with one thread; return the shortest times."""
    card, options = bundle.card, session_options(1)
    crops = np.random.default_rng(1).integers(
        0, 256, (BATCH, card.crop_size_px, card.crop_size_px, len(card.planes)), np.uint8
    )
    with tempfile.TemporaryDirectory(prefix="pitcore-profile-") as folder:
        options.enable_profiling, options.profile_file_prefix = True, str(Path(folder) / "profile")
        session = open_network(str(bundle.model_path), options)
        for _ in range(PROFILED_RUNS):
            session.run(None, {session.get_inputs()[0].name: crops})
        events = json.loads(Path(session.end_profiling()).read_bytes())
    shapes = weight_shapes(onnx.load(bundle.model_path))
    shortest: dict[str, Layer] = {}
    for event in events:
        if event.get("cat") != "Node" or not event["name"].endswith("_kernel_time"):
            continue
        name, facts = event["name"].removesuffix("_kernel_time").split("_token_")[0], event["args"]
        (output,) = facts["output_type_shape"][0].values()
        weights = shapes.get(name, ())
        ms = min(event["dur"] / 1e3, shortest[name].ms if name in shortest else math.inf)
        shortest[name] = Layer(name, facts["op_name"], macs_of(weights, output), math.prod(weights or (0,)), ms)
    return list(shortest.values())


def weight_shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Return the shape of each convolution's and matrix's weights, by the node's name."""
    constants = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    maker = {output: node for node in model.graph.node for output in node.output}
    return {
        node.name: constants[maker[node.input[1]].input[0]]
        for node in model.graph.node
        if node.op_type in {"Conv", "Gemm", "MatMul"} and node.input[1] in maker
    }


def macs_of(weights: tuple[int, ...], output: list[int]) -> int:
    """Return the multiply-accumulates of one crop: every output (N, H, W, O) or (N, O) sums weights (O, I, ...)."""
    return math.prod(output[1:]) * math.prod(weights[1:]) if weights else 0


def _multiplication() -> Callable[[], object]:
    """Return a function that multiplies uint8 by constant int8 matrices."""
    chance = np.random.default_rng(1)
    constant = numpy_helper.from_array(chance.integers(-127, 128, (SIDE, SIDE), np.int8), "b")
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["a", "b"], ["c"])],
        "multiply",
        [helper.make_tensor_value_info("a", TensorProto.UINT8, [SIDE, SIDE])],
        [helper.make_tensor_value_info("c", TensorProto.INT32, [SIDE, SIDE])],
        [constant],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    session = open_network(model.SerializeToString(), session_options(1))
    inputs = {"a": chance.integers(0, 256, (SIDE, SIDE), np.uint8)}
    return lambda: session.run(None, inputs)


def _median(times_ms: Floats) -> float:
    return float(np.median(times_ms))
