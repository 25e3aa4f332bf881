"""Changes the model repeatedly under load. Checks that no frame or memory is lost and each line names the right model.

It swaps as the service does, through ``pitcore.control.reload``, between the board's model and a copy of it with
another version, so that every verdict line must name one of the two.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

import msgspec
import numpy as np

from pitcore.bench.load import RING_FRAMES, Load, config_for
from pitcore.bench.run import Tick
from pitcore.config import Config, ModelConfig
from pitcore.control.reload import Reloader, ReloadResult
from pitcore.emulator.emulated import Delivery, EmulatedSource
from pitcore.errors import BundleError
from pitcore.frame import Frame
from pitcore.inference.choice import open_bundle
from pitcore.loop.app import App, Options
from pitcore.loop.pipeline import Hooks
from pitcore.loop.sources import belt_spec
from pitcore.machine import memory_mb
from pitcore.metrics import Metrics
from pitcore.verdict import Event, ModelRef, Verdict

WARM_UP_SWAPS = 3  # after these, when both models were loaded at once, the heap has its steady size
FRAMES_BETWEEN = 8  # least number of frames that each model judges
QUIET_FRAMES = 200  # before the first swap: frames lost there are not lost by swaps
MAX_GROWTH = 0.05


@dataclass(slots=True)
class SwapTrial:
    """The results of a trial. Frames and lines are counted over the whole run.

    Attributes:
        swaps: number of requested swaps, without the warm-up.
        refused: number of refused swaps.
        offered, processed, dropped, lost: numbers of frames.
        verdicts: number of lines by the model version they name.
        gone_before: frames dropped or lost in the first ``QUIET_FRAMES``, before any swap.
        strangers: lines that name a model that was not in force.
        changes: lines that name another model than the line before.
        swap_ms: time of each swap, from the request until the old model is destroyed.
        rss_mb: resident memory before the first swap and after each, without the emulator's frames.
        total_ms: (frames,) time from mid-exposure to the verdicts of every frame.
    """

    swaps: int
    refused: int = 0
    offered: int = 0
    processed: int = 0
    dropped: int = 0
    lost: int = 0
    gone_before: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    strangers: int = 0
    changes: int = 0
    swap_ms: list[float] = field(default_factory=list)
    rss_mb: list[float] = field(default_factory=list)
    total_ms: Sequence[float] = ()

    @property
    def growth(self) -> float:
        """Relative growth of the resident memory: median after the last ten swaps over that after the first ten."""
        return float(np.median(self.rss_mb[-10:]) / np.median(self.rss_mb[:10])) - 1.0

    @property
    def failures(self) -> list[str]:
        """The failed checks; empty if the trial passed."""
        gone = self.dropped + self.lost
        why = (
            f" ({self.gone_before} before any swap: this machine is too busy for the load)" if self.gone_before else ""
        )
        checks = {
            f"{self.refused} swaps refused": self.refused,
            f"{gone} frames lost{why}": gone,
            "frames unaccounted for": self.offered != self.processed + gone,
            f"{self.strangers} lines name a model that was not in force": self.strangers,
            f"{self.changes} changes of model in the lines": self.changes != self.swaps + WARM_UP_SWAPS,
            f"memory grew by {self.growth:.1%}": self.growth > MAX_GROWTH,
        }
        return [text for text, is_so in checks.items() if is_so]


def swap_trial(config: Config, load: Load, swaps: int, tick: Tick = lambda _: None) -> SwapTrial:
    """Change the model ``swaps`` times while the emulated belt runs.

    Args:
        config: configuration of the board.
        load: cherries and frames a second; without a frame rate the belt waits for the loop.
        swaps: number of swaps.
        tick: called with the share that is done, 0..1.

    Raises:
        PitcoreError: the configuration or the model cannot be used.
    """
    config = config_for(config, load, None)
    with tempfile.TemporaryDirectory(prefix="pitcore-swaps-") as folder:
        other = Path(folder) / "other"
        _copy_as_another(open_bundle(config).directory, other)
        trial, metrics = SwapTrial(swaps), Metrics()
        source = EmulatedSource(
            belt_spec(config, frames=None, ring=RING_FRAMES), Delivery(paced=load.frames_per_s is not None)
        )
        configs = cycle([msgspec.structs.replace(config, model=ModelConfig(bundle=str(other))), config])
        names = _Names(trial, lambda: app.bundle.sha256)
        hooks = Hooks(observe=names.see, between_frames=lambda: driver.step())  # noqa: PLW0108  there is no driver yet
        app = App(config, source, Options([names], hooks=hooks), metrics)
        reloader = Reloader(app, lambda: next(configs))
        driver = _Driver(trial, tick, app, reloader)
        reloader.start()
        try:
            app.run()
        finally:
            reloader.close()
    trial.processed = metrics.value("frames")
    trial.dropped, trial.lost = (metrics.value("events", name) for name in ("frames_dropped", "frames_lost"))
    trial.offered = names.last_seq + 1
    trial.total_ms = metrics.stages["total"].in_order_ms().tolist()
    return trial


def text(trial: SwapTrial, load: Load) -> str:
    """Return the report that ``pitcore-bench --swaps`` prints."""
    named = ", ".join(f"{count} by {version}" for version, count in sorted(trial.verdicts.items()))
    p50, p99, longest = np.percentile(trial.total_ms, (50, 99, 100))
    rows = {
        "frames": f"{trial.offered} = {trial.processed} processed + {trial.dropped} dropped + {trial.lost} lost",
        "verdicts": f"{named}; {trial.strangers} name another; {trial.changes} changes",
        "a swap": f"{np.median(trial.swap_ms):.0f} ms p50, {max(trial.swap_ms):.0f} ms at most, beside the loop",
        "a frame": f"{p50:.1f} ms p50, {p99:.1f} ms p99, {longest:.1f} ms at most, from mid-exposure to its verdicts",
        "memory": f"{trial.rss_mb[0]:.1f} MB before, {trial.rss_mb[-1]:.1f} MB after, without the emulator's frames",
        "growth": f"{trial.growth:+z.1%} from the first ten swaps to the last ten (bar: {MAX_GROWTH:.0%})",
    }
    failures = "; ".join(trial.failures)
    return "\n".join(
        [
            f"{trial.swaps} swaps, and {WARM_UP_SWAPS} before to warm up; {load}",
            *(f"  {name:14} {value}" for name, value in rows.items()),
            f"  FAILED: {failures}" if failures else "  passed",
        ]
    )


class _Names:
    """A sink that checks which model each line names, and counts frames.

    Args:
        trial: gets the results.
        in_force: returns the hash of the model that judges now.
    """

    def __init__(self, trial: SwapTrial, in_force: Callable[[], str]) -> None:
        self._trial, self._in_force = trial, in_force
        self._last: ModelRef | None = None
        self.last_seq = -1

    def see(self, frame: Frame) -> None:
        self.last_seq = max(self.last_seq, frame.seq)

    def emit(self, records: Sequence[Verdict | Event]) -> None:
        in_force = self._in_force()
        for record in records:
            if isinstance(record, Event):
                self.last_seq = max(self.last_seq, record.seq)  # a frame that is not searched leaves only an event
                continue
            self._trial.verdicts[f"{record.model.name}@{record.model.version}"] += 1
            self._trial.strangers += record.model.sha256 != in_force
            self._trial.changes += self._last is not None and record.model != self._last
            self._last = record.model

    def close(self) -> None:
        """Nothing to close."""


class _Driver:
    """Requests one swap after the other between frames, and ends the run."""

    def __init__(self, trial: SwapTrial, tick: Tick, app: App, reloader: Reloader) -> None:
        self._trial, self._tick, self._app, self._reloader = trial, tick, app, reloader
        frame = app.config.frame
        self._ring_mb = RING_FRAMES * len(frame.planes) * frame.height_px * frame.width_px / 1e6
        self._asked, self._frames = 0, 0
        self._before: ReloadResult | None = None

    def step(self) -> None:
        self._reloader.between_frames()
        last, trial = self._reloader.last, self._trial
        if self._asked and last is self._before:
            return
        self._frames += 1
        if self._frames < (FRAMES_BETWEEN if self._asked else QUIET_FRAMES):
            return
        if not self._asked:
            trial.gone_before = _gone(self._app.metrics)
        if self._asked > WARM_UP_SWAPS and last is not None:
            trial.swap_ms.append(last.took_s * 1e3)
            trial.refused += last.state != "ok"
        if self._asked >= WARM_UP_SWAPS:
            trial.rss_mb.append(memory_mb()[0] - self._ring_mb)
        self._tick(self._asked / (trial.swaps + WARM_UP_SWAPS))
        if self._asked == trial.swaps + WARM_UP_SWAPS:
            self._app.stop()
            return
        self._asked, self._frames, self._before = self._asked + 1, 0, last
        self._reloader.ask("bench")


def _gone(metrics: Metrics) -> int:
    return sum(metrics.value("events", name) for name in ("frames_dropped", "frames_lost"))


def _copy_as_another(bundle: Path, place: Path) -> None:
    """Copy a bundle and give the copy another version. Raises BundleError."""
    try:
        shutil.copytree(bundle, place)
        card = json.loads((place / "card.json").read_text(encoding="utf-8"))
        card["version"] += ".copy"
        (place / "card.json").write_text(json.dumps(card), encoding="utf-8")
    except OSError as error:
        raise BundleError(f"{place}: the model cannot be copied: {error.strerror}; free some space") from error
