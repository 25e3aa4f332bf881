"""Makes the status of a running service: schema ``pitcore.status/1``. For people, updates and monitors."""

from __future__ import annotations

import time
from typing import Any, Literal

import msgspec

from pitcore.actuation.arming import ArmingState
from pitcore.config import Config, FailSafe, operating_point, weakened
from pitcore.control.reload import ReloadResult
from pitcore.health import CameraHealth, LockedPicture, stalled
from pitcore.line_watch.card_drift import CardFigure
from pitcore.line_watch.drift import DriftFigure
from pitcore.loop.app import App
from pitcore.loop.headroom import Headroom, headroom_of
from pitcore.metrics import STAGES, Mark, Metrics, StageTimes
from pitcore.sinks.recent import RecentEvent
from pitcore.sinks.sink import ReportsStatus, ReportsTick, Sink
from pitcore.verdict import is_fault

RECENT_FRAMES = 6000  # of durations: five minutes at 20 frames a second, and no time worth speaking of to sort


class ModelStatus(msgspec.Struct, frozen=True):
    """The model that judges, and its thresholds.

    Attributes:
        directory: of its bundle.
        point, promise: the operating point in use, and its promise in words.
        accept, reject: thresholds in use: clean below, pit from.
        card_accept, card_reject: thresholds of the card for the point; the board may only be stricter.
    """

    name: str
    version: str
    sha256: str
    directory: str
    point: str
    promise: str
    accept: float
    reject: float
    card_accept: float
    card_reject: float

    @property
    def stricter(self) -> bool:
        """Return whether the board's configuration is stricter than the card."""
        return (self.accept, self.reject) != (self.card_accept, self.card_reject)


class ConfigStatus(msgspec.Struct, frozen=True):
    """The configuration in use. ``path`` is None for the defaults."""

    path: str | None
    sha256: str


class FramesStatus(msgspec.Struct, frozen=True):
    """Frames so far.

    Attributes:
        processed: by the loop, including unfit ones; ``judged`` is a part of them.
        dropped: by our full queue.
        lost: before they reached the service.
        waiting, queue: number in the queue, and its size.
    """

    processed: int
    dropped: int
    lost: int
    waiting: int
    queue: int
    judged: int = 0


class Percentiles(msgspec.Struct, frozen=True):
    """Percentiles of a duration, in milliseconds."""

    p50: float
    p99: float


class SinceModel(msgspec.Struct, frozen=True):
    """The counts since the running model was loaded, by which a model on trial is judged.

    Attributes:
        frames: that were judged.
        faults: frames or things that faults concern, by the name of the event.
        fault_events: events that mean a fault, by name: one may concern many frames.
        infer_ms: of the network, a frame, of the last ``RECENT_FRAMES``; None before the first.
        network: verdicts of the network on whole single cherries, before any fail-safe.
        network_recent: those of the last ``RECENT_FRAMES`` alone.
    """

    seconds: float
    frames: int
    verdicts: dict[str, int]
    faults: dict[str, int]
    fault_events: dict[str, int]
    infer_ms: Percentiles | None
    network: dict[str, int] = {}
    network_recent: dict[str, int] = {}


class CameraStatus(msgspec.Struct, frozen=True):
    """One camera.

    Attributes:
        state: ``waiting``: no frame yet; ``idle``: no frame is due.
        age_s: since its last frame; None before the first.
        lost: by cause.
    """

    id: str
    planes: tuple[str, ...]
    state: Literal["ok", "waiting", "idle", "stalled"]
    frames: int
    age_s: float | None
    lost: dict[str, int]
    locked: LockedPicture | None


class AlarmStatus(msgspec.Struct, frozen=True):
    """An alarm that is on; docs/faults.md has a row for each.

    Attributes:
        name: stable, for machines.
        detail: measurement and fix.
        since: when it came on, UTC, RFC 3339; since_seq is the frame.
        failsafe: action on verdicts while it is on.
    """

    name: str
    detail: str
    since: str
    since_seq: int
    failsafe: FailSafe


class DriftStatus(msgspec.Struct, frozen=True):
    """Comparison of the cherries with those of the last weeks, and with the model's card.

    Attributes:
        days: finished days that are looked back on.
        figures: of the last weeks; docs/faults.md says how they are made.
        card: population stability index of each figure against the card; empty where the card has no reference.
        pit_share: of the last cherries, estimated by the card; None without.
    """

    days: int
    figures: list[DriftFigure]
    card: tuple[CardFigure, ...] = ()
    pit_share: float | None = None


class EncoderStatus(msgspec.Struct, frozen=True):
    """The belt's encoder.

    Attributes:
        tick: its count since the start, as in verdicts.
        t_ns: moment to which the count belongs, CLOCK_MONOTONIC, as in verdicts.
        age_s: seconds since that moment.
    """

    tick: int
    t_ns: int
    age_s: float


class Status(msgspec.Struct, frozen=True):
    """The whole status.

    Attributes:
        less_safe: one sentence for each value that is less safe than its default.
        alarms: alarms that are on, the oldest first.
        state: ``starting`` until the first judged frame.
        events: counts, those of control included.
        last_events: the latest, the oldest first.
        latency_ms: by stage, of the last ``RECENT_FRAMES``; stages without a duration yet are left out.
        sinks: status of each; see ``pitcore.sinks.sink.ReportsStatus``.
        reloading: a reload is running.
        reload: result of the last one; None if there was none.
        headroom: used share of the frame time, highest possible cherries a second, and those on the belt, over the last
            minute; None before the second judged frame, and from an older service.
        drift: None from an older service.
        run: identifies this run of the service in every output; empty from an older service.
        encoder: None without an encoder, and from an older service.
    """

    schema: Literal["pitcore.status/1"]
    version: str
    pid: int
    state: Literal["starting", "running", "stopping"]
    uptime_s: float
    arming: ArmingState
    model: ModelStatus
    config: ConfigStatus
    frames: FramesStatus
    less_safe: list[str]
    alarms: list[AlarmStatus]
    verdicts: dict[str, int]
    reasons: dict[str, int]
    events: dict[str, int]
    last_events: tuple[RecentEvent, ...]
    latency_ms: dict[str, Percentiles]
    since_model: SinceModel
    sinks: list[dict[str, Any]]
    cameras: list[CameraStatus]
    reloading: bool
    reload: ReloadResult | None
    headroom: Headroom | None = None
    drift: DriftStatus | None = None
    run: str = ""
    encoder: EncoderStatus | None = None


def state_of(app: App) -> Literal["starting", "running", "stopping"]:
    """Return the state of the loop."""
    if app.stopping:
        return "stopping"
    return "running" if app.metrics.value("judged") else "starting"


def model_status(app: App) -> ModelStatus:
    """Return the model in use."""
    now = app.now
    card, used = now.bundle.card, now.rules.thresholds
    operating = operating_point(card, now.rules.config.decision)
    says = card.points[operating.point].thresholds
    return ModelStatus(
        name=card.name,
        version=card.version,
        sha256=now.bundle.sha256,
        directory=str(now.bundle.directory),
        point=operating.point,
        promise=operating.promise,
        accept=used.accept,
        reject=used.reject,
        card_accept=says.accept,
        card_reject=says.reject,
    )


def frames_status(app: App, config: Config) -> FramesStatus:
    """Return the counts of frames."""
    metrics = app.metrics
    return FramesStatus(
        processed=metrics.value("frames"),
        dropped=metrics.value("events", "frames_dropped"),
        lost=metrics.value("events", "frames_lost"),
        waiting=app.frames_waiting,
        queue=config.runtime.queue_frames,
        judged=metrics.value("judged"),
    )


def less_safe(config: Config, arming: ArmingState) -> list[str]:
    """Return one sentence for each value that is less safe than its default, and for an armed state of other valves."""
    withheld = [] if arming.withheld is None else [f"dry run, nothing is rejected: {arming.withheld}; arm it again"]
    return withheld + weakened(config)


def alarm_status(app: App) -> list[AlarmStatus]:
    """Return the alarms that are on."""
    return [AlarmStatus(one.name, one.detail, one.since, one.since_seq, one.failsafe) for one in app.alarms]


def drift_status(app: App) -> DriftStatus:
    """Return how the cherries compare with those of before."""
    drift = app.drift
    figures, card = drift.figures(), drift.card
    if card is None:
        return DriftStatus(len(drift.state.days), figures)
    return DriftStatus(len(drift.state.days), figures, card.found, card.pit_share)


def latency_status(metrics: Metrics) -> dict[str, Percentiles]:
    """Return p50 and p99 of each stage."""
    found = {name: _percentiles(metrics.stages[name]) for name in STAGES}
    return {name: percentiles for name, percentiles in found.items() if percentiles is not None}


def headroom_status(metrics: Metrics) -> Headroom | None:
    """Return the headroom of the frame time."""
    return headroom_of(metrics.work, time.monotonic_ns())


def since_model(metrics: Metrics, mark: Mark) -> SinceModel:
    """Return the counts since a mark."""
    return SinceModel(
        seconds=(time.monotonic_ns() - mark.t_ns) / 1e9,
        frames=metrics.labels("judged", mark).get("", 0),
        verdicts=metrics.labels("verdicts", mark),
        faults=_faults(metrics, "events", mark),
        fault_events=_faults(metrics, "event_lines", mark),
        infer_ms=_percentiles(metrics.stages["infer"], mark.stages["infer"]),
        network=metrics.labels("network", mark),
        network_recent=metrics.network.total(max(mark.network, metrics.network.count - RECENT_FRAMES)),
    )


def _faults(metrics: Metrics, counter: str, mark: Mark) -> dict[str, int]:
    return {name: count for name, count in metrics.labels(counter, mark).items() if is_fault(name)}


def camera_status(cameras: tuple[CameraHealth, ...], limit_s: float) -> list[CameraStatus]:
    """Return the state of each camera; one that is silent for longer than the limit is stalled."""
    now_ns = time.monotonic_ns()
    hung = stalled(cameras, now_ns, limit_s)
    return [
        CameraStatus(
            id=camera.id,
            planes=camera.planes,
            state=_camera_state(camera, is_stalled=camera in hung),
            frames=camera.frames,
            age_s=camera.age_s(now_ns),
            lost=dict(camera.lost),
            locked=camera.locked,
        )
        for camera in cameras
    ]


def sink_status(sinks: tuple[Sink, ...]) -> list[dict[str, Any]]:
    """Return the status of each sink."""
    return [sink.status() for sink in sinks if isinstance(sink, ReportsStatus)]


def encoder_status(sinks: tuple[Sink, ...]) -> EncoderStatus | None:
    """Return the count of the encoder; None without one."""
    for sink in sinks:
        if isinstance(sink, ReportsTick):
            tick, t_ns = sink.tick_now()
            return EncoderStatus(tick, t_ns, (time.monotonic_ns() - t_ns) / 1e9)
    return None


def _camera_state(camera: CameraHealth, *, is_stalled: bool) -> Literal["ok", "waiting", "idle", "stalled"]:
    if not camera.due:
        return "idle"
    if camera.last_frame_ns is None:
        return "waiting"
    return "stalled" if is_stalled else "ok"


def _percentiles(stage: StageTimes, since: int = 0) -> Percentiles | None:
    found = stage.percentiles_ms((50, 99), max(since, stage.count - RECENT_FRAMES))
    return None if found is None else Percentiles(*found)
