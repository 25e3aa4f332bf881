"""Compares the number of cherries that this machine can judge with the number that the belt brings.

A frame takes the loop a fixed time and a time for each cherry. Both are computed from the durations that the loop of
the running service recorded, or a short run over an emulated belt. No verdict depends on them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import msgspec

from pitcore.config import Config, EmulatedSourceConfig, emulated
from pitcore.loop.app import App, Options
from pitcore.loop.sources import emulated_belt
from pitcore.metrics import Metrics, Work

RECENT_NS = 60_000_000_000
TRIAL_FRAMES, WARM_UP_FRAMES = 14, 2


class Headroom(msgspec.Struct, frozen=True):
    """The load of the loop.

    Attributes:
        used: share of the frame time in which the loop works; above 1 frames are dropped.
        judges_per_s: cherries a second that this machine can judge at this frame rate. A lower bound, because with few
            cherries in view not every worker is busy. None if none was judged yet.
        brings_per_s: cherries a second that the belt brings.
    """

    used: float
    judges_per_s: float | None
    brings_per_s: float

    def __str__(self) -> str:
        used = f"{self.used:.0%} of the frame time"
        if self.judges_per_s is None:
            return f"{used}; no cherry was judged yet"
        return f"judges {self.judges_per_s:.0f} cherries a second, the belt carries {self.brings_per_s:.0f}: {used}"


@dataclass(frozen=True, slots=True)
class FrameCost:
    """The time that a frame takes the loop.

    Attributes:
        frame_s: seconds for each frame, without the network.
        cherry_s: seconds of the network for each cherry; None if none was judged.
    """

    frame_s: float
    cherry_s: float | None

    def headroom(self, frames_per_s: float, cherries_per_s: float) -> Headroom:
        """Return the headroom at a load."""
        fixed = frames_per_s * self.frame_s
        if not self.cherry_s:
            return Headroom(fixed, None, cherries_per_s)
        return Headroom(
            used=fixed + cherries_per_s * self.cherry_s,
            judges_per_s=max(0.0, 1.0 - fixed) / self.cherry_s,
            brings_per_s=cherries_per_s,
        )


def cost_of(work: Work, since_ns: int, skip: int = 0) -> FrameCost | None:
    """Return the mean cost of the frames after ``since_ns``, without the first ``skip``; None if there are none."""
    rows = work.since(since_ns)[skip:]
    if not len(rows):
        return None
    judged, network_ns, other_ns = rows[:, 3:].sum(axis=0).tolist()
    return FrameCost(other_ns / len(rows) / 1e9, network_ns / judged / 1e9 if judged else None)


def headroom_of(work: Work, now_ns: int) -> Headroom | None:
    """Return the headroom of a running service over its last minute; None before its second frame.

    Lost and dropped frames count as brought by the belt, with as many cherries as the others.

    Args:
        work: the durations that the loop recorded.
        now_ns: present time, CLOCK_MONOTONIC in nanoseconds.
    """
    rows, cost = work.since(now_ns - RECENT_NS), cost_of(work, now_ns - RECENT_NS)
    if len(rows) < 2 or cost is None:
        return None
    seconds = max(1, int(rows[-1, 0] - rows[0, 0])) / 1e9
    frames = max(int(rows[-1, 1] - rows[0, 1]), len(rows) - 1)  # a camera that restarted counts from 0
    return cost.headroom(frames / seconds, frames / seconds * float(rows[:, 2].mean()))


def brought_per_s(config: Config) -> float | None:
    """Return the cherries a second that the configured belt brings; None for a recording, which has no rate."""
    if config.source.belt == "recorded":
        return None
    belt = _belt(config)
    reference = belt.cherries_per_frame * belt.advance_px / config.frame.height_px * belt.frames_per_s
    return reference if config.belt.cherries_per_s is None else config.belt.cherries_per_s


def measure_headroom(config: Config) -> Headroom | None:
    """Judge 14 frames of an emulated belt, and return the headroom at the configured load.

    Takes a few seconds and uses every worker. Do not call it on a machine on which the service runs.

    Returns:
        The headroom, or None for a recording, which has no rate.

    Raises:
        PitcoreError: the configuration or its model cannot be used.
    """
    brings = brought_per_s(config)
    if brings is None:
        return None
    belt, metrics, started_ns = _belt(config), Metrics(), time.monotonic_ns()
    config = msgspec.structs.replace(emulated(config), source=msgspec.structs.replace(belt, disturbance=None))
    source = emulated_belt(config, frames=TRIAL_FRAMES, seed=None, crops=None)
    App(config, source, Options(sinks=[]), metrics).run()
    cost = cost_of(metrics.work, started_ns, WARM_UP_FRAMES)
    return None if cost is None else cost.headroom(belt.frames_per_s, brings)


def _belt(config: Config) -> EmulatedSourceConfig:
    source = emulated(config).source
    assert isinstance(source, EmulatedSourceConfig)  # noqa: S101  `emulated` returns such a source
    return source
