"""Measures what is not a run of frames: memory of a frame, start of a new process, and change of the model."""

from __future__ import annotations

import gc
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from dataclasses import dataclass
from pathlib import Path

import msgspec

from pitcore.bench.load import Load, config_for
from pitcore.camera.recorder import Recorder
from pitcore.config import Config
from pitcore.emulator.emulated import Delivery, EmulatedSource
from pitcore.errors import SourceError, first_line
from pitcore.loop.app import App, Options
from pitcore.loop.pipeline import Hooks
from pitcore.loop.sources import belt_spec, emulated_belt
from pitcore.metrics import Metrics

FRAMES, SKIPPED = 60, 20
COLD_RUNS, SWAPS = 5, 5
COLD_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Allocations:
    """Memory that Python and NumPy allocate in steady state. ONNX Runtime's own is part of the resident memory.

    Attributes:
        peak_kb: median over frames of the most memory that a frame allocates.
        kept_bytes: median over frames of the memory that is still allocated after a frame.
    """

    peak_kb: float
    kept_bytes: float


def allocations(config: Config, load: Load) -> Allocations:
    """Trace every allocation of 60 frames. Tracing slows the frames down, so their times are not measured."""
    config = config_for(config, load, None)
    source = EmulatedSource(belt_spec(config, frames=FRAMES, ring=24), Delivery())
    peaks, kept, before = [], [], 0

    def look() -> None:
        nonlocal before
        gc.collect()
        now, peak = tracemalloc.get_traced_memory()
        peaks.append((peak - before) / 1000)
        kept.append(now - before)
        before = now
        tracemalloc.reset_peak()

    app = App(config, source, Options(sinks=[], hooks=Hooks(between_frames=look)), Metrics())
    gc.collect()
    gc.freeze()  # a look passes over what was there before
    tracemalloc.start()
    try:
        app.run()
    finally:
        tracemalloc.stop()
        gc.unfreeze()
    return Allocations(statistics.median(peaks[SKIPPED:]), statistics.median(kept[SKIPPED:]))


def swap_ms(config: Config) -> float:
    """Return the median time in ms to load another bundle, run its golden vectors and switch to it."""
    app = App(config, emulated_belt(config, frames=1, seed=None, crops=None), Options(sinks=[]), Metrics())
    times = []
    for _ in range(SWAPS):
        started = time.perf_counter()
        app.reload(config)
        times.append((time.perf_counter() - started) * 1e3)
    return statistics.median(times)


def cold_start_ms(config: Config) -> float:
    """Return the median time in ms from the start of a new process to the first verdict of a recorded frame.

    Raises:
        SourceError: the process gave no verdict.
    """
    with tempfile.TemporaryDirectory(prefix="pitcore-bench-") as folder:
        _record(config, Path(folder) / "frames")
        (Path(folder) / "config.json").write_bytes(msgspec.json.encode(config))
        return statistics.median(_cold(Path(folder)) for _ in range(COLD_RUNS))


def _record(config: Config, folder: Path) -> None:
    source = emulated_belt(config, frames=2, seed=None, crops=None)
    source.start()
    with Recorder(folder, source.geometry) as recorder:
        while (frame := source.read(config.runtime.capture_timeout_s)) is not None:
            with frame:
                recorder.write(frame)
    source.close()


def _cold(folder: Path) -> float:
    started_ns = time.monotonic_ns()
    command = [sys.executable, "-m", "pitcore.bench.cold", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, check=True, timeout=COLD_TIMEOUT_S)  # noqa: S603  our own interpreter and module
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        reason = first_line(RuntimeError((error.stderr or b"").decode(errors="replace")))
        raise SourceError(f"a new process gave no verdict: {reason}") from error
    return (int(done.stdout) - started_ns) / 1e6
