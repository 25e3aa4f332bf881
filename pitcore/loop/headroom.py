"""What this machine can judge, held against what the belt brings.

A frame costs the loop a fixed time and a time for each cherry. Both are taken from the work that the loop recorded, of
the running service or of a short run over an emulated belt. It measures time; nothing is judged by it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import msgspec

from pitcore.config import Config, EmulatedSourceConfig, ReplaySourceConfig, VideoSourceConfig, emulated
from pitcore.loop.app import App, Options
from pitcore.loop.sources import emulated_belt
from pitcore.metrics import Metrics, Work

RECENT_NS = 60_000_000_000
TRIAL_FRAMES, WARM_UP_FRAMES = 14, 2


class Headroom(msgspec.Struct, frozen=True):
    """What is left of the frame time.

    Attributes:
        used: share of the frame time that the loop works; above 1 frames are dropped.
        judges_per_s: cherries a second that this machine can judge at this frame rate, at least: with few cherries in
            view not every worker has something to do. None if it has judged none yet.
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
    """What a frame costs the loop.

    Attributes:
        frame_s: without the network.
        cherry_s: of the network, for each cherry; None if it has judged none.
    """

    frame_s: float
    cherry_s: float | None

    def headroom(self, frames_per_s: float, cherries_per_s: float) -> Headroom:
        """Return what is left at a load."""
        fixed = frames_per_s * self.frame_s
        if not self.cherry_s:
            return Headroom(fixed, None, cherries_per_s)
        return Headroom(
            used=fixed + cherries_per_s * self.cherry_s,
            judges_per_s=max(0.0, 1.0 - fixed) / self.cherry_s,
            brings_per_s=cherries_per_s,
        )


def cost_of(work: Work, since_ns: int, skip: int = 0) -> FrameCost | None:
    """Return the mean cost of the frames done after a time, without the first ``skip``; None if there is none."""
    rows = work.since(since_ns)[skip:]
    if not len(rows):
        return None
    judged, network_ns, other_ns = rows[:, 3:].sum(axis=0).tolist()
    return FrameCost(other_ns / len(rows) / 1e9, network_ns / judged / 1e9 if judged else None)


def headroom_of(work: Work, now_ns: int) -> Headroom | None:
    """Return the headroom of a running service over its last minute; None before its second frame.

    Frames that were lost or dropped count as brought, with as many cherries as the others.

    Args:
        work: of its loop.
        now_ns: CLOCK_MONOTONIC.
    """
    rows, cost = work.since(now_ns - RECENT_NS), cost_of(work, now_ns - RECENT_NS)
    if len(rows) < 2 or cost is None:
        return None
    seconds = max(1, int(rows[-1, 0] - rows[0, 0])) / 1e9
    frames = max(int(rows[-1, 1] - rows[0, 1]), len(rows) - 1)  # a camera that restarted counts from 0
    return cost.headroom(frames / seconds, frames / seconds * float(rows[:, 2].mean()))


def brought_per_s(config: Config) -> float | None:
    """Return the cherries a second that the configured belt brings; None for a recording, which waits."""
    if isinstance(config.source, ReplaySourceConfig | VideoSourceConfig):
        return None
    belt = _belt(config)
    reference = belt.cherries_per_frame * belt.advance_px / config.frame.height_px * belt.frames_per_s
    return reference if config.belt.cherries_per_s is None else config.belt.cherries_per_s


def measure_headroom(config: Config) -> Headroom | None:
    """Judge a few frames of an emulated belt here, and return the headroom at the configured load.

    Takes a second or a few, and every worker; not for a machine on which the service runs.

    Returns:
        None for a recording: it waits until it is read.

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
    assert isinstance(source, EmulatedSourceConfig)  # noqa: S101  that is what it returns
    return source
