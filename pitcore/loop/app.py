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

# sections that a reload may change
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
    """Options of a run that the command chooses.

    Attributes:
        sinks: get every verdict, in this order.
        belt_sink: the sink that acts on the belt, if there is one.
        timings: write latencies into verdict lines.
        hooks: functions of the command that the loop calls.
        service: True for the board's service; only the service uses a model on trial.
        workers: number of workers that run the network; None takes the configuration's. Verdicts do not depend on it.
    """

    sinks: Sequence[Sink]
    timings: bool = True
    hooks: Hooks = field(default_factory=Hooks)
    service: bool = False
    belt_sink: BeltSink | None = None
    workers: int | None = None


def open_line(config: Config, arming: Arming, metrics: Metrics) -> tuple[Source, GpioSink | None]:
    """Build the source, and open encoder and valves if they are configured. The encoder is read from now on.

    Cameras take their ticks from the encoder; an emulated belt drives a simulated one.

    Args:
        config: configuration of the board.
        arming: says whether valves may be driven.
        metrics: metrics of the run.

    Returns:
        The source, not started, and the sink that drives the valves; None if nothing is driven.

    Raises:
        PitcoreError: the source cannot be built; the chip or a line is missing, or another program uses it.
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
    """A configuration with its stages; the model is loaded, has passed its golden vectors and is warm."""

    config: Config
    stages: Stages
    rules: DecisionRules

    @property
    def bundle(self) -> Bundle:
        """The model."""
        return self.stages.session.bundle


class App:
    """One run: a source, the stages, and the loop.

    Args:
        config: configuration of the board.
        source: the source, not started.
        options: options of the command.
        metrics: metrics of the run.

    Raises:
        PitcoreError: source, configuration and model do not fit together, or cannot be used.
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
        """Configuration and stages in force. Readable from any thread."""
        return self._now

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self._now.config

    @property
    def bundle(self) -> Bundle:
        """The model in force."""
        return self._now.bundle

    @property
    def stopping(self) -> bool:
        """True after ``stop`` was called. Readable from any thread."""
        return self._capture.stopping

    @property
    def busy_with(self) -> str:
        """What the loop is doing, in words; empty before and after the run. Readable from any thread."""
        return self._pipeline.busy_with

    @property
    def frames_waiting(self) -> int:
        """Number of frames in the queue between capture and the loop. Readable from any thread."""
        return self._capture.waiting

    @property
    def drift(self) -> DriftCheck:
        """The drift check; its figures may be read from any thread."""
        return self._now.stages.line.drift

    @property
    def alarms(self) -> tuple[Alarm, ...]:
        """The alarms that are on now. Readable from any thread."""
        return self._now.stages.line.alarms

    def health(self) -> tuple[CameraHealth, ...]:
        """Return the health of each camera. Callable from any thread."""
        return self._capture.health()

    def run(self) -> None:
        """Run until the source ends or ``stop`` is called. Raises SourceError, SinkError, HungError."""
        self._pipeline.run()

    def stop(self) -> None:
        """Stop the loop after the current frame. Safe in a signal handler."""
        self._capture.stop()

    def note(self, event: str, detail: str) -> None:
        """Queue an event to be written with the lines of the next frame. Callable from any thread."""
        self._pipeline.note(event, detail)

    def prepare(self, config: Config) -> Loaded:
        """Build the stages for another configuration, without any effect on the running ones. Callable from any thread.

        Raises:
            PitcoreError: the configuration cannot be used, or changes a value that needs a restart.
        """
        check_reloadable(self.config, config)
        return self._build(config, self.bundle.sha256)

    def take(self, loaded: Loaded) -> Loaded:
        """Switch to other stages and rules. Call it only between two frames. Source, queue and sinks stay.

        Returns:
            The stages that are no longer needed.

        Raises:
            SourceError: a camera refuses its exposure; nothing was changed.
        """
        set_exposures(self._source, loaded.config)
        self._pipeline.replace(loaded.stages, loaded.rules)
        before, self._now = self._now, loaded
        return before

    def reload(self, config: Config) -> None:
        """Build and switch to a new model, thresholds and limits, between two frames, while the loop waits.

        The service uses ``pitcore.control.reload`` instead, which does not make the loop wait.

        Raises:
            PitcoreError: the new configuration cannot be used; the old one stays in force.
        """
        self.take(self.prepare(config))

    def _build(self, config: Config, running_sha256: str | None = None) -> Loaded:
        """Build every stage from a configuration; for a reload, ``running_sha256`` is the hash of the running model."""
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
        """Build the line watch; in the service its drift check keeps its state across restarts."""
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
    """Return a hash of everything besides the cherries that the figures of the drift check depend on."""
    parts = (
        bundle.sha256,
        operating_point(bundle.card, config.decision).thresholds,
        config.calibration.values,
        config.segmentation,
        config.decision,
    )
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()


def _remembered_px(config: Config) -> float:
    """Return how far past the frame the tracker remembers judged things, in px: half of the way to the nozzles."""
    plan = belt_plan(config)
    height_px = plan.rows_px[1] - plan.rows_px[0]
    return min(height_px, plan.reach_ticks * abs(plan.px_per_tick) / 2) if plan.lanes else height_px


def check_reloadable(now: Config, later: Config) -> None:
    """Check that a reload can change one configuration into another.

    Raises:
        ConfigError: a value of the source, the queue or the sinks differs, which needs a restart.
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
