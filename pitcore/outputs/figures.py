"""Exports the figures of the running service as Prometheus metrics. docs/metrics.md has the list.

All values are copies of counters, so a scrape never delays the loop. The cost of a scrape does not grow with the number
of frames or cherries.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from itertools import accumulate
from pathlib import Path
from typing import get_args

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from pitcore import __version__, machine
from pitcore.config import AlarmName, Config
from pitcore.control import status
from pitcore.control.commands import Commands
from pitcore.errors import UpdateError
from pitcore.loop.app import App
from pitcore.metrics import BOUNDS_MS, Metrics, StageTimes
from pitcore.ota.slots import Store
from pitcore.sinks.sink import ReportsStatus, Sink
from pitcore.verdict import VERDICTS

STATES = ("starting", "running", "stopping")
# Counter in ``Metrics`` of the data that an output lost, by the kind of the output.
LOST = {"jsonl": "sink_lines_lost", "mqtt": "mqtt_verdicts_lost"}


class ServiceCollector(Collector):
    """Collects the figures of one service. Callable from any thread.

    Args:
        commands: commands of the running service.
    """

    def __init__(self, commands: Commands) -> None:
        self._commands = commands

    def collect(self) -> Iterator[Metric]:
        """Yield every metric with its present value."""
        commands, app = self._commands, self._commands.app
        yield from _service(commands)
        yield from _frames(app)
        yield from _verdicts(app.metrics)
        yield _stages(app.metrics)
        yield from _headroom(app.metrics)
        yield from _rejects(app.metrics)
        yield from _encoder(commands.sinks)
        yield from _cameras(app)
        yield from _model(app)
        yield from _outputs(commands.sinks, app.metrics)
        yield from _machine()


def _service(commands: Commands) -> Iterator[Metric]:
    app = commands.app
    yield _gauge("pitcore_build_info", "Version of pitcore that runs.", {__version__: 1}, "version")
    started_s = time.time() - (time.monotonic_ns() - commands.started_ns) / 1e9
    yield GaugeMetricFamily("pitcore_start_time_seconds", "When the service started, Unix time.", round(started_s, 1))
    now = status.state_of(app)
    yield _gauge("pitcore_state", "1 for the state that it is in.", {name: name == now for name in STATES}, "state")
    yield GaugeMetricFamily("pitcore_armed", "1 while the air jet may fire, 0 in dry run.", commands.arming.armed)
    on = {alarm.name for alarm in app.alarms}
    alarms = {name: name in on for name in get_args(AlarmName)}
    yield _gauge("pitcore_alarm", "1 while the alarm is on; docs/faults.md says what to do.", alarms, "alarm")
    yield GaugeMetricFamily(
        "pitcore_less_safe",
        "Values of the configuration that are less safe than the defaults, and an armed state for other valves.",
        len(status.less_safe(app.config, commands.arming.state)),
    )
    last = commands.reloader.last
    yield GaugeMetricFamily(
        "pitcore_reload_refused", "1 if the last reload was refused.", last is not None and last.state != "ok"
    )


def _frames(app: App) -> Iterator[Metric]:
    frames = status.frames_status(app, app.config)
    yield CounterMetricFamily("pitcore_frames", "Frames that the loop took, faulty ones included.", frames.processed)
    yield CounterMetricFamily("pitcore_frames_judged", "Frames that were judged.", frames.judged)
    yield CounterMetricFamily(
        "pitcore_frames_lost", "Numbers that the source skipped, as the loop saw it.", frames.lost
    )
    dropped = CounterMetricFamily(
        "pitcore_frames_dropped",
        "Frames that never reached the loop: queue_full here, the other reasons at the camera.",
        labels=["camera", "reason"],
    )
    dropped.add_metric(["all", "queue_full"], frames.dropped)
    for camera in app.health():
        for reason, number in camera.lost.items():
            dropped.add_metric([camera.id, reason], number)
    yield dropped
    yield GaugeMetricFamily("pitcore_queue_frames", "Frames that wait for the loop.", frames.waiting)
    yield GaugeMetricFamily(
        "pitcore_queue_limit_frames", "Frames that may wait; then the oldest is dropped.", frames.queue
    )


def _verdicts(metrics: Metrics) -> Iterator[Metric]:
    verdicts = dict.fromkeys(VERDICTS, 0) | metrics.labels("verdicts")
    yield _counter("pitcore_verdicts", "Cherries by verdict.", verdicts, "verdict")
    yield _counter(
        "pitcore_reasons", "Cherries by the reason that their verdict gives.", metrics.labels("reasons"), "reason"
    )
    pairs = {tuple(pair.split("_")): count for pair, count in metrics.labels("shadow").items()}
    shadow = CounterMetricFamily(
        "pitcore_shadow_cherries",
        "Cherries that a candidate judged too, by the verdict of both.",
        labels=["live", "candidate"],
    )
    for pair, count in pairs.items():
        shadow.add_metric(pair, count)
    yield shadow
    yield _counter("pitcore_events", "Events by name; docs/faults.md has them.", metrics.labels("events"), "event")


def _stages(metrics: Metrics) -> Metric:
    family = HistogramMetricFamily(
        "pitcore_stage_duration_seconds",
        "Time of a frame in each stage; total is until its verdicts are made.",
        labels=["stage"],
    )
    for stage, times in metrics.stages.items():
        _add_spread(family, [stage], times)
    return family


def _add_spread(family: HistogramMetricFamily, labels: list[str], times: StageTimes) -> None:
    bounds = [*(f"{bound / 1000:g}" for bound in BOUNDS_MS), "+Inf"]
    spread = times.spread()
    family.add_metric(labels, list(zip(bounds, accumulate(spread.counts), strict=True)), spread.sum_s)


def _headroom(metrics: Metrics) -> Iterator[Metric]:
    headroom = status.headroom_status(metrics)
    family = GaugeMetricFamily(
        "pitcore_frame_time_used", "Share of the frame time that the loop works; above 1 frames drop."
    )
    if headroom is not None:
        family.add_metric([], headroom.used)
    yield family


def _rejects(metrics: Metrics) -> Iterator[Metric]:
    scheduled, late = metrics.value("rejects", "scheduled"), metrics.value("rejects", "late")
    yield CounterMetricFamily("pitcore_reject_scheduled", "Verdicts to act on that came in time.", scheduled)
    yield CounterMetricFamily("pitcore_reject_late", "Verdicts to act on that came too late.", late)
    spare = HistogramMetricFamily(
        "pitcore_reject_spare_seconds",
        "From a verdict to act on until its valve must open; 0 is too late.",
        labels=[],
    )
    _add_spread(spare, [], metrics.spare)
    yield spare
    openings = metrics.value("valve_openings", "driven")
    yield CounterMetricFamily("pitcore_valve_openings", "Openings of valves; none in dry run.", openings)


def _encoder(sinks: tuple[Sink, ...]) -> Iterator[Metric]:
    encoder = status.encoder_status(sinks)
    family = GaugeMetricFamily("pitcore_encoder_ticks", "Count of the belt's encoder since the start.")
    if encoder is not None:
        family.add_metric([], encoder.tick)
    yield family


def _cameras(app: App) -> Iterator[Metric]:
    cameras = status.camera_status(app.health(), app.config.runtime.capture_timeout_s)
    yield _counter(
        "pitcore_camera_frames", "Good frames of the camera.", {one.id: one.frames for one in cameras}, "camera"
    )
    yield _gauge(
        "pitcore_camera_stalled",
        "1 while a frame is overdue.",
        {one.id: one.state == "stalled" for one in cameras},
        "camera",
    )
    yield _gauge(
        "pitcore_camera_frame_age_seconds",
        "Since the last good frame.",
        {one.id: one.age_s for one in cameras if one.age_s is not None},
        "camera",
    )


def _model(app: App) -> Iterator[Metric]:
    model = status.model_status(app)
    info = GaugeMetricFamily(
        "pitcore_model_info", "The model that judges.", labels=["name", "version", "sha256", "point"]
    )
    info.add_metric([model.name, model.version, model.sha256, model.point], 1)
    yield info
    yield _gauge(
        "pitcore_threshold",
        "In force: clean below accept, pit from reject.",
        {"accept": model.accept, "reject": model.reject},
        "threshold",
    )
    yield from _rollout(app.config, model.sha256)


def _rollout(config: Config, running_sha256: str) -> Iterator[Metric]:
    """Yield the state of the store of models, if one is configured and it can be read."""
    if config.model.store is None:
        return
    try:
        state = Store(Path(config.model.store)).read()
    except UpdateError:
        return  # `pitcore update status` shows the reason
    trial = None if state.trial is None else state.holds(state.trial.slot)
    runs = trial is not None and trial.card_sha256 == running_sha256
    yield GaugeMetricFamily("pitcore_rollout_trial", "1 while the model that judges is on trial.", runs)
    yield GaugeMetricFamily("pitcore_rollout_release", "Release that was committed last.", state.release_seq_floor)
    yield GaugeMetricFamily("pitcore_rollout_failed", "Models that failed on this board.", len(state.bad))


def _outputs(sinks: tuple[Sink, ...], metrics: Metrics) -> Iterator[Metric]:
    statuses = [sink.status() for sink in sinks if isinstance(sink, ReportsStatus)]
    works = {one["kind"]: one["state"] == "ok" for one in statuses}
    yield _gauge("pitcore_output_ok", "0 while the output starts or fails; see `pitcore status`.", works, "output")
    lost = {kind: metrics.value(name) for kind, name in LOST.items() if kind in works}
    yield _counter("pitcore_output_lost", "Lines or verdicts that the output had to drop.", lost, "output")


def _machine() -> Iterator[Metric]:
    resident_mb, _ = machine.memory_mb()
    yield GaugeMetricFamily("pitcore_resident_memory_bytes", "Memory of the service.", round(resident_mb * 1e6))
    state = machine.state()
    if state["temperature_c"] is not None:
        yield GaugeMetricFamily("pitcore_soc_temperature_celsius", "Of the processor.", state["temperature_c"])
    if state["throttled"] is not None:
        flags = {
            text.replace(" ", "_").replace("-", "_"): text in state["throttled"]
            for text in machine.THROTTLE_BITS.values()
        }
        yield _gauge("pitcore_throttled", "What the Raspberry Pi's firmware says of power and heat.", flags, "flag")


def _counter(name: str, text: str, values: Mapping[str, float], label: str) -> Metric:
    family = CounterMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _gauge(name: str, text: str, values: Mapping[str, float], label: str) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], float(value))
    return family
