"""Measures the time of a frame by number of cherries and by the way several cores share the network.

Each point is short, and a sweep starts no point after its time, so that it ends on a slow board too. It reports what it
measured until its time was over, or until an interruption.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import msgspec
import numpy as np

from pitcore.bench.load import Load, config_for
from pitcore.bench.run import Sample, measure
from pitcore.config import Config, EmulatedSourceConfig
from pitcore.emulator.buffers import Planes
from pitcore.emulator.emulated import Delivery, EmulatedSource
from pitcore.emulator.spec import BeltSpec
from pitcore.loop.sources import belt_spec
from pitcore.machine import usable_cores
from pitcore.text_table import table

HIGHER = 3  # the frames are higher than the configuration's, because 200 cherries do not fit into those
RING = 4  # frames; 30 MB of the production geometry: more than any last-level cache of a board
CHERRIES, REFERENCE_CHERRIES = (0, 1, 8, 24, 60, 200), 24
WORKERS = (1, 2, 3, 4, 8, 16, 32, 64)
WARM_UP_FRAMES, LEAST_FRAMES, LEAST_S = 2, 5, 0.5  # of a point; a Raspberry Pi 4 takes 1.6 s for 200 cherries
LIMIT_S = 110.0  # for drawing, loading and slow frames, in addition to the time of the points
BUSY = "import os, sys\nwhile os.getppid() == int(sys.argv[1]):\n    for _ in range(1_000_000): pass"


@dataclass(frozen=True, slots=True)
class Sharing:
    """How the network uses several cores: workers that judge different cherries, or threads that share each layer."""

    workers: int
    threads: int = 1

    def __str__(self) -> str:
        if self.threads > 1:
            return f"each layer on {self.threads} threads"
        return f"{self.workers} worker{'s' * (self.workers > 1)}"


@dataclass(frozen=True, slots=True)
class Point:
    """One measurement; ``beside`` a program that keeps one core busy."""

    cherries: int
    way: Sharing
    beside: bool = False

    def __str__(self) -> str:
        return f"{self.way}, {self.cherries} in view{', beside a busy program' * self.beside}"


@dataclass(frozen=True, slots=True)
class Cost:
    """The result of a point: crops a frame, and times of a frame in ms. ``other`` is the median without the network."""

    crops: float
    p50: float
    p99: float
    other: float


class Sweep:
    """A sweep. ``run`` measures, and ``text`` reports what was measured so far.

    Args:
        config: configuration of the board.
        seconds: duration of all points together, if none takes longer for its least number of frames.
    """

    def __init__(self, config: Config, seconds: float) -> None:
        frame = msgspec.structs.replace(config.frame, height_px=config.frame.height_px * HIGHER)
        belt = EmulatedSourceConfig(advance_px=frame.height_px)  # every cherry is new in every frame
        self._config = msgspec.structs.replace(config, frame=frame, source=belt)
        cores = usable_cores()
        self._ways = [Sharing(workers) for workers in sorted({cores, *(one for one in WORKERS if one < cores)})]
        self._ways += [Sharing(1, cores)] if cores > 1 else []
        self._points = list(self._ordered())
        self._each_s = max(LEAST_S, seconds / len(self._points))
        self._limit_s = seconds + LIMIT_S
        self._costs: dict[Point, Cost] = {}

    def _ordered(self) -> Iterator[Point]:
        """Yield the points: the ways interleaved, so that a noisy minute affects all of them, and slow frames last."""
        for cherries in CHERRIES:
            yield from (Point(cherries, way) for way in self._ways)
            if cherries == REFERENCE_CHERRIES:
                yield from (Point(cherries, way, beside=True) for way in self._ways)

    def run(self, tell: Callable[[str], None]) -> None:
        """Measure every point until the time is over.

        Args:
            tell: called with a line for each measured point.

        Raises:
            PitcoreError: the configuration or the model cannot be used.
        """
        until_s = time.monotonic() + self._limit_s
        source: _DrawnOnce | None = None
        drawn = -1
        for number, point in enumerate(self._points, 1):
            if time.monotonic() > until_s:
                return
            load = Load(point.cherries, None, self._each_s, None, WARM_UP_FRAMES, LEAST_FRAMES)
            if source is None or drawn != point.cherries:
                spec = belt_spec(config_for(self._config, load, None), frames=None, ring=RING)
                source, drawn = _DrawnOnce(spec), point.cherries
                source.start()  # draws on this thread, which Ctrl-C interrupts at once
            with busy_neighbour() if point.beside else nullcontext():
                cost = _cost(self._measured(point, load, source))
            self._costs[point] = cost
            tell(f"{number} of {len(self._points)}: {point}: {cost.p50:.2f} ms a frame")

    def _measured(self, point: Point, load: Load, source: EmulatedSource) -> Sample:
        runtime = msgspec.structs.replace(self._config.runtime, threads=point.way.threads)
        config = msgspec.structs.replace(self._config, runtime=runtime)
        return measure(config, load, point.way.workers, source=source)

    def text(self) -> str:
        """Return both tables and the fitted lines, of what was measured."""
        if not self._costs:
            return "  nothing was measured"
        frame = self._config.frame
        rows = [
            [str(one.way), str(one.cherries), f"{cost.crops:.1f}", f"{cost.p50:.2f}", f"{cost.other:.3f}"]
            for one, cost in self._costs.items()
            if not one.beside
        ]
        head = ["", "in view", "crops", "ms a frame", "of it not network"]
        lines = [f"  frames of {frame.width_px}x{frame.height_px} px", table(head, rows), ""]
        lines += [self._line(way) for way in self._ways]
        rows = [
            [str(way), *(f"{value:.2f}" for one in both for value in (one.p50, one.p99))]
            for way in self._ways
            if len(both := self._alone_and_beside(way)) == 2
        ]
        if rows:
            lines += [
                "",
                f"  {REFERENCE_CHERRIES} cherries in view, ms a frame; beside: another program keeps one core busy",
                table(["", "alone p50", "alone p99", "beside p50", "beside p99"], rows),
            ]
        missing = len(self._points) - len(self._costs)
        if missing:
            lines += ["", f"  {missing} of {len(self._points)} points were not measured"]
        return "\n".join(lines)

    def _alone_and_beside(self, way: Sharing) -> list[Cost]:
        points = (Point(REFERENCE_CHERRIES, way, beside) for beside in (False, True))
        return [self._costs[one] for one in points if one in self._costs]

    def _line(self, way: Sharing) -> str:
        """Fit a line through the points of a way."""
        costs = [cost for one, cost in self._costs.items() if one.way == way and not one.beside]
        if len({one.crops for one in costs}) < 2:
            return f"  {way}: too few points for a line"
        x, y = np.array([one.crops for one in costs]), np.array([one.p50 for one in costs])
        slope, start = np.polyfit(x, y, 1)
        worst = float(np.abs(y - slope * x - start).max())
        return f"  {way}: {start:z.2f} ms a frame, {slope:z.3f} ms a cherry; at most {worst:.2f} ms off the line"


class _DrawnOnce(EmulatedSource):
    """Draws its loop at the first start and keeps it, because drawing takes longer than a point."""

    def __init__(self, spec: BeltSpec) -> None:
        super().__init__(spec, Delivery())
        self._drawn: dict[int, Planes] = {}

    def _draw_for_loop(self, index: int, shape: tuple[int, int, int]) -> Planes:
        if index not in self._drawn:
            self._drawn[index] = super()._draw_for_loop(index, shape)
        return self._drawn[index]


def _cost(sample: Sample) -> Cost:
    busy = sample.busy_ms
    p50, p99 = (float(np.percentile(busy, share)) for share in (50, 99))
    return Cost(sample.crops / sample.frames, p50, p99, float(np.median(busy - sample.stage_ms["infer"])))


@contextmanager
def busy_neighbour() -> Iterator[subprocess.Popen[bytes]]:
    """Keep one core busy with another program, which ends with this process."""
    command = [sys.executable, "-c", BUSY, str(os.getpid())]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as neighbour:  # noqa: S603  our own interpreter and code
        try:
            yield neighbour
        finally:
            neighbour.kill()
