"""Runs the peer benchmark: three questions, each answered by interleaved variants on the same frames."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import product

import cv2
import numpy as np
import onnxruntime as ort
import torch

from pitcore.config import Config, EmulatedSourceConfig
from pitcore.emulator.emulated import Delivery, EmulatedSource
from pitcore.inference.session import Session
from pitcore.loop.app import App, Options
from pitcore.loop.pipeline import Hooks
from pitcore.loop.sources import belt_spec
from pitcore.metrics import Metrics
from pitcore.model_card import DEFAULT_BUNDLE, load_bundle
from pitcore_tools.peers import nets
from pitcore_tools.peers.search import ALGORITHMS, LABELS, OpenCvSearch, check_equal, found_by
from pitcore_tools.reference import BATCH, RING, OurSearch, Planes, at_belt, copied, ring
from pitcore_tools.timing import Timed, in_turns, once

OURS, COPY = "pitcore", "plain copy of both planes"
PRODUCTION, OPENVINO = "OpenCV + torch ResNet50, 128 px (production)", "OpenCV + OpenVINO int8 ResNet18, 128 px"

Tick = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Question:
    """One question with its measured times.

    Attributes:
        title: the question.
        base: name of the variant with which the others are compared.
        times: (rounds,) times of each variant, by name.
        unit: unit of work of a time.
        absent: peers that are not installed, with the reason.
        note: a remark.
        threads: number of threads of every variant; the requirements are for one.
    """

    title: str
    base: str
    times: dict[str, Timed]
    unit: str
    absent: dict[str, str]
    note: str = ""
    threads: int = 1

    @property
    def heading(self) -> str:
        """Title and threads."""
        return f"{self.title}, {self.threads} thread{'s' * (self.threads > 1)}"


def prepare(config: Config, rounds: int, tick: Tick) -> Question:
    """Measure search and extraction with one thread. Raises DataError if a variant has another result."""
    frames, rule = ring(config, config.frame.height_px), config.segmentation
    size_px = load_bundle(DEFAULT_BUNDLE).card.crop_size_px
    ours = OurSearch(config, size_px)
    cv2.setNumThreads(1)
    jobs: dict[str, Callable[[int], object]] = {OURS: lambda number: ours.run(frames[number % RING])}
    for algorithm, labels in product(ALGORITHMS, LABELS):
        peer, name = OpenCvSearch(rule, size_px, algorithm, labels), f"OpenCV {algorithm}, {labels} labels"
        for planes in frames:
            check_equal(found_by(ours, planes), peer.found(planes), name)
        jobs[name] = partial(_searched, peer, frames)
    room = tuple(np.empty_like(plane) for plane in frames[0])
    jobs[COPY] = lambda number: copied(room, frames[number % RING])
    return Question(f"Find and cut out, {len(frames)} frames in turn", OURS, in_turns(jobs, rounds, tick), "frame", {})


def network(threads: int, rounds: int, tick: Tick) -> Question:
    """Measure the network alone over 24 crops."""
    calibration = np.random.default_rng(1).integers(0, 256, (32, nets.PEER_PX, nets.PEER_PX, 2), np.uint8)
    crops, bundle = calibration[:BATCH], load_bundle(DEFAULT_BUNDLE)
    session = Session(bundle, capacity=BATCH, threads=threads)
    session.batch[:] = np.random.default_rng(1).integers(0, 256, session.batch.shape, np.uint8)
    name = f"{OURS}: {bundle.label}, {bundle.card.crop_size_px} px, int8"
    made: dict[str, Callable[[], nets.Net]] = {
        "ONNX Runtime int8 ResNet18, 128 px": partial(nets.onnxruntime_int8, threads, calibration),
        "OpenVINO int8 ResNet18, 128 px": partial(nets.openvino_int8, threads, calibration),
        "ncnn int8 ResNet18, 128 px": partial(nets.ncnn_int8, threads, calibration),
        "ONNX Runtime float ResNet18, 128 px": partial(nets.onnxruntime_float, threads),
        "torch eager ResNet18, 128 px": partial(nets.torch_eager, "resnet18", 2, threads),
        "torch eager ResNet50, 128 px": partial(nets.torch_eager, "resnet50", 3, threads),
    }
    jobs: dict[str, Callable[[int], object]] = {name: lambda _: session.run(BATCH)}
    absent = {}
    for peer, make in made.items():
        try:
            jobs[peer] = partial(_judged, make(), crops)
        except ImportError as error:
            absent[peer] = f"not installed ({error.name}): pip install 'tools[peers]'"
    times = in_turns(jobs, rounds, tick)
    return Question(f"The network alone, {BATCH} crops", name, times, f"{BATCH} crops", absent, threads=threads)


def whole(config: Config, threads: int, rounds: int, tick: Tick) -> Question:
    """Measure from frame to verdicts: the service, and what a user would write, on the same frames."""
    rule, belt = config.segmentation, EmulatedSourceConfig(advance_px=config.frame.height_px)  # all cherries are new
    config = at_belt(config, belt, threads)
    cv2.setNumThreads(threads)
    calibration = np.random.default_rng(1).integers(0, 256, (32, nets.PEER_PX, nets.PEER_PX, 2), np.uint8)
    made: dict[str, Callable[[], nets.Net]] = {
        OPENVINO: partial(nets.openvino_int8, threads, calibration),
        PRODUCTION: partial(nets.torch_eager, "resnet50", 3, threads),
    }
    search, peers, absent = OpenCvSearch(rule, nets.PEER_PX, "default", "32-bit"), {}, {}
    for name, make in made.items():
        try:
            peers[name] = make()
        except ImportError as error:
            absent[name] = f"not installed ({error.name}): pip install 'tools[peers]'"
    frames = ring(config, config.frame.height_px)
    rows: dict[str, list[tuple[float, float]]] = {name: [] for name in (OURS, *peers)}
    metrics, lent = Metrics(), EmulatedSource(belt_spec(config, frames=rounds + 1, ring=RING), Delivery())
    cpu_since = time.process_time_ns()

    def after() -> None:
        nonlocal cpu_since
        cpu_ms = (time.process_time_ns() - cpu_since) / 1e6
        number = metrics.stages["total"].count
        if number == len(rows[OURS]):
            return  # no frame came: the first one is still drawn
        rows[OURS].append((float(metrics.stages["total"].in_order_ms()[-1]), cpu_ms))
        for name, net in peers.items():
            rows[name].append(once(partial(_verdicts, search, net, frames[(number - 1) % RING])))
        tick()
        cpu_since = time.process_time_ns()

    App(config, lent, Options(sinks=[], hooks=Hooks(between_frames=after)), metrics).run()
    judged = {OURS: metrics.value("crops") / (rounds + 1)}
    judged |= dict.fromkeys(peers, sum(len(search.run(planes)[1]) for planes in frames) / RING)
    times = {name: Timed(*(np.array(row[1:]).T / judged[name])) for name, row in rows.items()}  # the first warms up
    counts = ", ".join(f"{name.split()[0]} {count:.1f}" for name, count in judged.items())
    note = f"Each by the cherries it judged in a frame: {counts}."
    return Question("Frame to verdicts", OURS, times, "cherry", absent, note, threads)


def _searched(peer: OpenCvSearch, frames: list[Planes], number: int) -> None:
    peer.run(frames[number % RING])


def _judged(net: nets.Net, crops: nets.Crops, _number: int) -> None:
    net(crops)


def _verdicts(search: OpenCvSearch, net: nets.Net, planes: Planes) -> None:
    """Run what a user would write: search, extraction, network over the batch, and the largest logit."""
    _, crops = search.run(planes)
    net(crops).argmax(1)


def versions() -> dict[str, str]:
    """Return the versions of the compared libraries."""
    found = {"opencv": cv2.__version__, "torch": str(torch.__version__), "onnxruntime": ort.__version__}
    with suppress(ImportError):
        import openvino  # noqa: PLC0415  a peer that need not be there

        found["openvino"] = openvino.__version__
    with suppress(ImportError):
        import ncnn  # noqa: PLC0415  a peer that need not be there

        found["ncnn"] = ncnn.__version__
    return found
