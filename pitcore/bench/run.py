"""Runs the service in this process and measures it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pitcore.bench.load import Load, config_for
from pitcore.config import Config
from pitcore.emulator.emulated import Delivery, EmulatedSource
from pitcore.loop.app import App, Options
from pitcore.loop.pipeline import Hooks
from pitcore.loop.sources import belt_spec
from pitcore.machine import memory_mb
from pitcore.metrics import PARTS, STAGES, Metrics
from pitcore.sinks.jsonl import JsonlSink

MEMORY_EVERY_FRAMES = 50
DEADLINE_MS = 150.0

Tick = Callable[[float], None]


@dataclass(slots=True)
class Sample:
    """The results of one run.

    Attributes:
        load: the requested load.
        stage_ms: by stage and part of a stage: (frames,) duration of each frame in order, in ms, without the warm-up.
        wall_s, cpu_s: wall clock and CPU time of the measured part; CPU time of all threads.
        offered, processed, dropped: numbers of frames; offered = processed + dropped.
        crops: number of crops that the network judged.
        rss_mb: resident memory every ``MEMORY_EVERY_FRAMES`` frames.
        ring_mb: memory of the emulator's frames, which a real camera would not need.
    """

    load: Load
    stage_ms: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    wall_s: float = 0.0
    cpu_s: float = 0.0
    offered: int = 0
    processed: int = 0
    dropped: int = 0
    crops: int = 0
    rss_mb: list[float] = field(default_factory=list)
    ring_mb: float = 0.0

    @property
    def frames(self) -> int:
        """Number of measured frames."""
        return len(self.stage_ms["total"])

    @property
    def busy_ms(self) -> NDArray[np.float64]:
        """(frames,) time of the loop for each frame in ms: all stages except capture."""
        return np.asarray(sum(self.stage_ms[name] for name in STAGES if name not in {"capture", "total"}))


def measure(
    config: Config,
    load: Load,
    workers: int | None = None,
    tick: Tick = lambda _: None,
    source: EmulatedSource | None = None,
) -> Sample:
    """Run the service over the emulated belt and collect its metrics.

    Args:
        config: configuration of the board.
        load: the load.
        workers: number of workers that run the network; None takes the configuration's.
        tick: called with the share that is done, 0..1.
        source: belt of this load, which can be started again; None makes one.

    Raises:
        PitcoreError: the configuration or the model cannot be used.
    """
    config = config_for(config, load, workers)
    paced = load.frames_per_s is not None
    spec = belt_spec(config, frames=None if load.frames is None else load.frames + load.warm_up_frames, ring=24)
    source = source or EmulatedSource(spec, Delivery(paced=paced))
    metrics, sample = Metrics(), Sample(load)
    watch = _Watch(sample, metrics, tick)
    with tempfile.TemporaryDirectory(prefix="pitcore-bench-") as folder:
        sink = JsonlSink(Path(folder) / "verdicts.jsonl", rotate_bytes=16 * 1024 * 1024, keep=1, metrics=metrics)
        app = App(config, source, Options(sinks=[sink], hooks=Hooks(between_frames=lambda: watch.frame(app))), metrics)
        app.run()
    watch.finish()
    sample.processed = metrics.value("frames")
    if load.frames is None:
        sample.dropped = sum(metrics.value("events", name) for name in ("frames_dropped", "frames_lost"))
        sample.offered = sample.processed + sample.dropped
    else:  # frames dropped after the last processed one are in no counter
        sample.offered = load.frames + load.warm_up_frames
        sample.dropped = sample.offered - sample.processed
    sample.ring_mb = source.ring_bytes / 1e6
    return sample


class _Watch:
    """Runs between two frames: records memory, ends the warm-up, stops the run."""

    def __init__(self, sample: Sample, metrics: Metrics, tick: Tick) -> None:
        self._sample, self._metrics, self._tick = sample, metrics, tick
        self._seen = 0
        self._started = self._cpu_started = 0.0
        self._crops_before = 0

    def frame(self, app: App) -> None:
        if self._metrics.value("frames") == self._seen:
            return  # no new frame: the loop also calls this while it waits
        self._seen = self._metrics.value("frames")
        load = self._sample.load
        if self._seen < load.warm_up_frames:
            return
        if self._seen == load.warm_up_frames:
            self._started, self._cpu_started = time.perf_counter(), time.process_time()
            self._crops_before = self._metrics.value("crops")
            self._sample.rss_mb.append(memory_mb()[0])
            return
        elapsed, measured = time.perf_counter() - self._started, self._seen - load.warm_up_frames
        if self._seen % MEMORY_EVERY_FRAMES == 0:
            self._sample.rss_mb.append(memory_mb()[0])
            self._tick(min(1.0, measured / load.frames if load.frames else elapsed / load.seconds))
        if load.frames is None and elapsed >= load.seconds and measured >= load.least_frames:
            app.stop()

    def finish(self) -> None:
        sample = self._sample
        sample.wall_s = time.perf_counter() - self._started
        sample.cpu_s = time.process_time() - self._cpu_started
        warm_up = sample.load.warm_up_frames
        sample.crops = self._metrics.value("crops") - self._crops_before
        for name in STAGES + PARTS:
            durations = self._metrics.stages[name].in_order_ms()
            sample.stage_ms[name] = durations[warm_up:] if len(durations) > warm_up else durations
        self._tick(1.0)
