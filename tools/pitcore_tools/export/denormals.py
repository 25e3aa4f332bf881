"""Measures the cost of subnormal weights on this machine: one network in four variants, in one run."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray

from pitcore.inference.session import open_network, session_options
from pitcore.preprocess._core import FlushToZero
from pitcore_tools.export.graph import INPUT, OUTPUT, float_graph
from pitcore_tools.export.subnormal import weights_of, with_weights, zeroed
from pitcore_tools.networks.resnet import ResNet
from pitcore_tools.timing import Ratio, in_turns, ratio

SEED, CROPS = 20260101, 8
SIZE_PX = 80
LARGEST, SMALLEST = 1.1e-38, 1.4e-45  # of a subnormal float32

Tick = Callable[[], None]


@dataclass(frozen=True, slots=True)
class DenormalCost:
    """Time of one variant.

    Attributes:
        name: name of the variant.
        median_ms: median time of one call.
        ratio: ratio of its time to that of the clean net in the same round.
        off_by: largest difference of its logits from those of the poisoned net.
    """

    name: str
    median_ms: float
    ratio: Ratio
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


def measure(share: float, rounds: int, tick: Tick = lambda: None) -> list[DenormalCost]:
    """Measure a float ResNet18 on one thread, with interleaved variants.

    Args:
        share: share of weights that are made subnormal, 0 to 1. Their old values are lost, so the logits of the clean
            variant differ from those of the others.
        rounds: number of rounds.
        tick: called after each round.

    Returns:
        The costs of: clean, poisoned, poisoned with flush-to-zero, poisoned and then zeroed.
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
    logits = {variant.name: _run(variant, crops) for variant in variants}
    jobs = {variant.name: partial(_job, variant, crops) for variant in variants}
    times = {name: timed.wall_ms for name, timed in in_turns(jobs, rounds, tick).items()}
    return [
        DenormalCost(
            name,
            float(np.median(wall_ms)),
            ratio(wall_ms, times["clean"]),
            float(np.abs(logits[name] - logits["poisoned"]).max()),
        )
        for name, wall_ms in times.items()
    ]


def _session(model: onnx.ModelProto, *, guarded: bool) -> ort.InferenceSession:
    """Load a graph with the board's options, or with ONNX Runtime's default options."""
    options = session_options(1) if guarded else ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return open_network(model.SerializeToString(), options)


def _run(variant: _Variant, crops: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the logits of one call."""
    with variant.guard():
        (logits,) = variant.session.run([OUTPUT], {INPUT: crops})
    return np.asarray(logits)


def _job(variant: _Variant, crops: NDArray[np.float32], _round: int) -> None:
    _run(variant, crops)
