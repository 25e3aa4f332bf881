"""What subnormal weights cost on this machine: the same network clean, poisoned, guarded and cleaned, in one run."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray

from pitcore.inference.session import session_options
from pitcore.preprocess._core import FlushToZero
from pitcore_tools.export.graph import INPUT, OUTPUT, float_graph
from pitcore_tools.export.subnormal import weights_of, with_weights, zeroed
from pitcore_tools.networks.resnet import ResNet

SEED, CROPS = 20260101, 8
SIZE_PX = 80
LARGEST, SMALLEST = 1.1e-38, 1.4e-45  # of a subnormal float32
RESAMPLES = 2000

Tick = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Cost:
    """Time of one variant.

    Attributes:
        name: of the variant.
        median_ms: of one call.
        ratio: median of its time over that of the clean net in the same round.
        interval: of that, 95 %, by bootstrap over rounds.
        off_by: largest distance of its logits from the clean net's.
    """

    name: str
    median_ms: float
    ratio: float
    interval: tuple[float, float]
    off_by: float


@dataclass(frozen=True, slots=True)
class _Variant:
    name: str
    session: ort.InferenceSession
    guard: Callable[[], AbstractContextManager[object]]


def poisoned(model: onnx.ModelProto, share: float) -> onnx.ModelProto:
    """Return a graph in which a share of the convolutions' weights, drawn at random, is subnormal."""
    chance = np.random.default_rng(SEED)
    changed = {}
    for name, values in weights_of(model):
        if values.ndim == 4:
            tiny = np.exp(chance.uniform(np.log(SMALLEST), np.log(LARGEST), values.shape)).astype(np.float32)
            changed[name] = np.where(chance.random(values.shape) < share, tiny, values)
    return with_weights(model, changed)


def measure(share: float, rounds: int, tick: Tick = lambda: None) -> list[Cost]:
    """Time a float ResNet18 on one thread, the variants taking turns.

    Args:
        share: of weights that are poisoned, 0 to 1. What they were before is lost, so all variants but the clean one
            answer alike, and the clean one otherwise.
        rounds: how often each is run.
        tick: called after each round.

    Returns:
        Clean, poisoned, poisoned under the guard, poisoned and then zeroed.
    """
    torch.manual_seed(SEED)
    clean, _ = float_graph(ResNet(), SIZE_PX)
    bad = poisoned(clean, share)
    variants = [
        _Variant("clean", _session(clean, guarded=False), nullcontext),
        _Variant("poisoned", _session(bad, guarded=False), nullcontext),
        _Variant("poisoned, guarded", _session(bad, guarded=True), FlushToZero),
        _Variant("poisoned, then zeroed", _session(zeroed(bad), guarded=False), nullcontext),
    ]
    crops = np.random.default_rng(SEED).integers(0, 256, (CROPS, 2, SIZE_PX, SIZE_PX)).astype(np.float32)
    times_ms, logits = np.empty((rounds + 1, len(variants))), []
    for number in range(rounds + 1):  # the first warms up
        for index, variant in enumerate(variants):
            times_ms[number, index], answer = _run(variant, crops)
            logits.append(answer)
        tick()
    return [
        Cost(
            variant.name,
            float(np.median(times_ms[1:, index])),
            *_ratio(times_ms[1:, index] / times_ms[1:, 0]),
            float(np.abs(logits[index] - logits[1]).max()),
        )
        for index, variant in enumerate(variants)
    ]


def _session(model: onnx.ModelProto, *, guarded: bool) -> ort.InferenceSession:
    """Load a graph as the board does, or as a program would that never heard of subnormals."""
    options = session_options(1) if guarded else ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    with FlushToZero():  # gives this thread its mode back, which making a session changes
        return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _run(variant: _Variant, crops: NDArray[np.float32]) -> tuple[float, NDArray[np.float32]]:
    """Return milliseconds and logits of one call."""
    with variant.guard():
        started_ns = time.perf_counter_ns()
        (logits,) = variant.session.run([OUTPUT], {INPUT: crops})
        return (time.perf_counter_ns() - started_ns) / 1e6, logits


def _ratio(ratios: NDArray[np.float64]) -> tuple[float, tuple[float, float]]:
    """Return the median and its 95 % interval by the percentile bootstrap. Source: B. Efron, 1979."""
    picks = np.random.default_rng(SEED).integers(0, len(ratios), (RESAMPLES, len(ratios)))
    low, high = np.percentile(np.median(ratios[picks], axis=1), [2.5, 97.5])
    return float(np.median(ratios)), (float(low), float(high))
