"""Composition root: the only place that builds concrete stages.

``pitcore.loop.sources`` builds sources, ``pitcore.outputs.opening`` sinks.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from pitcore.actuation.arming import Arming
from pitcore.actuation.gpio import GpioSink
from pitcore.actuation.valve_setup import belt_plan, follow_belt
from pitcore.belt.track import BeltTracker
from pitcore.camera.source import Source
from pitcore.config import (
    Config,
    operating_point,
)
from pitcore.emulator.emulated import EmulatedSource
from pitcore.errors import ConfigError
from pitcore.health import CameraHealth
from pitcore.inference.choice import open_session
from pitcore.line_watch import LineWatch
from pitcore.line_watch.alarm import Alarm
from pitcore.line_watch.card_drift import CardCheck
from pitcore.line_watch.drift import DriftCheck
from pitcore.line_watch.drift_memory import FILE, DriftMemory, utc_date
from pitcore.line_watch.frame_watch import FrameWatch
from pitcore.loop.capture import Capture
from pitcore.loop.pipeline import DecisionRules, Hooks, Pipeline, Stages
from pitcore.loop.sources import belt_spec, build_source, check_geometry, set_exposures, silent_s
from pitcore.metrics import Metrics
from pitcore.model_card import Bundle
from pitcore.preprocess.crop_writer import CropWriter
from pitcore.preprocess.prepare import CropSpec, Preparer
from pitcore.preprocess.search_rules import segment_spec, window_of
from pitcore.sinks.sink import BeltSink, Sink

# sections a reload may change
RELOADABLE = {
    "segmentation",
    "decision",
    "actions",
    "model",
    "runtime",
    "update",
    "hawkbit",
    "calibration",
    "alignment",
    "line",
    "drift",
    "failsafe",
}


@dataclass(frozen=True, slots=True)
class Options:
    """What a command decides about a run.

    Attributes:
        sinks: get every verdict, in this order.
        belt_sink: the one of them that acts on the belt.
        timings: write latencies into verdict lines.
        hooks: where the command looks in.
        service: this is the board's service: a model on trial is for it, and only for it.
        workers: cores that judge, instead of the configuration's; the verdicts are the same for any number.
    """

    sinks: Sequence[Sink]
    timings: bool = True
    hooks: Hooks = field(default_factory=Hooks)
    service: bool = False
    belt_sink: BeltSink | None = None
    workers: int | None = None


def open_line(config: Config, arming: Arming, metrics: Metrics) -> tuple[Source, GpioSink | None]:
    """Build the source, and open encoder and valves where the configuration has them; the belt is followed from now on.

    Cameras take their ticks from the encoder; an emulated belt turns a simulated one.

    Args:
        config: of the board.
        arming: whether valves may be driven.
        metrics: counts of the run.

    Raises:
        PitcoreError: the source cannot be built; the chip or a line is not there, or is another's.
    """
    if config.actuation.kind == "none":
        return build_source(config), None
    spec = belt_spec(config, frames=None, ring=0)
    sink = follow_belt(config, spec.ticks_per_frame * spec.frames_per_s, arming, metrics)
    try:
        source = build_source(config, encoder=sink)
    except BaseException:
        sink.close()
        raise
    now_ns = time.monotonic_ns()
    sink.start_simulated_belt(lambda: source.started_ns if isinstance(source, EmulatedSource) else now_ns)
    return source, sink


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration with all that was built for it: the model is loaded, proved and warm."""

    config: Config
    stages: Stages
    rules: DecisionRules

    @property
    def bundle(self) -> Bundle:
        """The model."""
        return self.stages.session.bundle


class App:
    """One run: a source, the stages, and the loop over them.

    Args:
        config: of the board.
        source: not started.
        options: sinks, timings, observer.
        metrics: counts of the run.

    Raises:
        PitcoreError: anything that does not fit, before the first frame is read.
    """

    def __init__(self, config: Config, source: Source, options: Options, metrics: Metrics) -> None:
        check_geometry(config, source.geometry)
        self.metrics = metrics
        self._options, self._source = options, source
        set_exposures(source, config)
        runtime = config.runtime
        self._capture = Capture(
            source,
            queue_frames=runtime.queue_frames,
            timeout_s=runtime.capture_timeout_s,
            close_s=runtime.stop_timeout_s / 4,
            silent_s=silent_s(config),
        )
        self._now = self._build(config)
        self._pipeline = Pipeline(self._now.stages, self._now.rules, metrics, options.hooks)

    @property
    def now(self) -> Loaded:
        """What is in force now; from any thread."""
        return self._now

    @property
    def config(self) -> Config:
        """The configuration in force now."""
        return self._now.config

    @property
    def bundle(self) -> Bundle:
        """The model in force now."""
        return self._now.bundle

    @property
    def stopping(self) -> bool:
        """Whether ``stop`` was called; from any thread."""
        return self._capture.stopping

    @property
    def busy_with(self) -> str:
        """What the loop does now, in words; empty before and after it; from any thread."""
        return self._pipeline.busy_with

    @property
    def frames_waiting(self) -> int:
        """Frames between capture and the loop; from any thread."""
        return self._capture.waiting

    @property
    def drift(self) -> DriftCheck:
        """How the cherries compare with those of the last weeks; its figures may be read from any thread."""
        return self._now.stages.line.drift

    @property
    def alarms(self) -> tuple[Alarm, ...]:
        """What is wrong with the line now; from any thread."""
        return self._now.stages.line.alarms

    def health(self) -> tuple[CameraHealth, ...]:
        """Return how each camera fares; from any thread."""
        return self._capture.health()

    def run(self) -> None:
        """Run to the end of the source, or until ``stop``. Raises SourceError, SinkError, HungError."""
        self._pipeline.run()

    def stop(self) -> None:
        """End after the frame in hand. Safe in a signal handler."""
        self._capture.stop()

    def note(self, event: str, detail: str) -> None:
        """Have an event written with the lines of the next frame; from any thread."""
        self._pipeline.note(event, detail)

    def prepare(self, config: Config) -> Loaded:
        """Build all that a configuration wants, beside what runs and without touching it; from any thread.

        Raises:
            PitcoreError: it does not fit, or changes what only a restart can change.
        """
        check_reloadable(self.config, config)
        return self._build(config, self.bundle.sha256)

    def take(self, loaded: Loaded) -> Loaded:
        """Go on with other stages and rules; only between two frames. The source, the queue and the sinks stay.

        Returns:
            What was in force until now and is not needed any more.

        Raises:
            SourceError: a camera refuses its exposure; everything is as it was.
        """
        set_exposures(self._source, loaded.config)
        self._pipeline.replace(loaded.stages, loaded.rules)
        before, self._now = self._now, loaded
        return before

    def reload(self, config: Config) -> None:
        """Take a new model, thresholds and limits at once, between two frames, while the loop waits.

        The service does not let its loop wait: see ``pitcore.control.reload``.

        Raises:
            PitcoreError: the new configuration does not fit; the old one goes on.
        """
        self.take(self.prepare(config))

    def _build(self, config: Config, running_sha256: str | None = None) -> Loaded:
        """Build every stage from a configuration; a reload says which model runs until then."""
        options = self._options
        session = open_session(config, service=options.service, running_sha256=running_sha256, workers=options.workers)
        card = session.bundle.card
        operating = operating_point(card, config.decision)
        frame, runtime = config.frame, config.runtime
        window = window_of(config)
        crop = CropSpec(size_px=card.crop_size_px, resize=card.resize, planes=len(card.planes))
        preparer = Preparer(*window.shape, segment_spec(config, window), crop)
        stages = Stages(
            capture=self._capture,
            watch=FrameWatch(
                frame.planes,
                (frame.height_px, frame.width_px),
                config.segmentation.max_foreground_share,
                self._source.noise,
            ),
            preparer=preparer,
            window=window,
            line=self._line_watch(config, session.bundle, window.shape),
            tracker=BeltTracker(window.shape[0], config.px_per_tick, config.belt.tolerance_px, _remembered_px(config)),
            crops=CropWriter(preparer, card, runtime.max_cherries),
            session=session,
            sinks=self._options.sinks,
            belt_sink=self._options.belt_sink,
        )
        return Loaded(
            config,
            stages,
            DecisionRules(config, operating.thresholds, live=self._source.live, timings=self._options.timings),
        )

    def _line_watch(self, config: Config, bundle: Bundle, shape: tuple[int, int]) -> LineWatch:
        """Build the watch of the line; the service remembers what is usual on it."""
        card, planes = bundle.card, config.frame.planes
        by_card = None if card.reference is None else CardCheck(card.reference, planes, config.drift.psi)
        key = drift_key(config, bundle)
        if not self._options.service:
            return LineWatch(config, shape, DriftCheck(planes, key, config.drift, by_card))
        memory = DriftMemory(Path(config.control.state_dir) / FILE)
        drift = DriftCheck(planes, key, config.drift, by_card, utc_date)
        drift.restore(memory.load())
        return LineWatch(config, shape, drift, memory)


def drift_key(config: Config, bundle: Bundle) -> str:
    """Return what the figures of the cherries depend on besides the cherries: a hash of it."""
    parts = (
        bundle.sha256,
        operating_point(bundle.card, config.decision).thresholds,
        config.calibration.values,
        config.segmentation,
        config.decision,
    )
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()


def _remembered_px(config: Config) -> float:
    """Return how far past the frame the tracker is to know what was judged: well before the nozzles, if there are."""
    plan = belt_plan(config)
    height_px = plan.rows_px[1] - plan.rows_px[0]
    return min(height_px, plan.reach_ticks * abs(plan.px_per_tick) / 2) if plan.lanes else height_px


def check_reloadable(now: Config, later: Config) -> None:
    """Compare two configurations: what the source, the queue and the sinks were made from only a restart can change.

    Raises:
        ConfigError: such a value changed.
    """
    for section in now.__struct_fields__:
        before, after = getattr(now, section), getattr(later, section)
        if section not in RELOADABLE and before != after:
            raise ConfigError(f"[{section}] changed: this needs a restart, a reload takes the rest only")
    if (now.px_per_tick, now.shift_px) != (later.px_per_tick, later.shift_px):
        raise ConfigError(
            "[calibration] belt scale or alignment changed: this needs a restart, a reload takes the rest only"
        )
    for key in ("queue_frames", "capture_timeout_s", "stop_timeout_s"):
        if getattr(now.runtime, key) != getattr(later.runtime, key):
            raise ConfigError(f"[runtime] {key} changed: this needs a restart, a reload takes the rest only")
