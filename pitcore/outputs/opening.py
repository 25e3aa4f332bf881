"""Builds the service's outputs. Only ``open_outputs`` lists them: a new sink needs one line there."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from pitcore.actuation.arming import Arming
from pitcore.actuation.gpio import GpioSink
from pitcore.actuation.valve_setup import belt_plan
from pitcore.capture.keeper import CropKeeper
from pitcore.config import Config
from pitcore.control.commands import Commands
from pitcore.frame import Frame
from pitcore.loop.pipeline import Keeper
from pitcore.metrics import Metrics
from pitcore.page.hand_over import PageSink
from pitcore.page.line_now import LineLooker
from pitcore.shadow.beside import Shadow
from pitcore.sinks.event_log import EventLog
from pitcore.sinks.jsonl import JsonlSink
from pitcore.sinks.recent import RecentEvents
from pitcore.sinks.sink import ReportsTick, Sink
from pitcore.verdict import Event, Verdict

log = logging.getLogger(__name__)


@runtime_checkable
class Publisher(Protocol):
    """A sink that also publishes data of the running service."""

    def publish(self, commands: Commands) -> None:
        """Start to publish on a new thread; ``commands`` may be called from any thread."""
        ...


@dataclass(frozen=True, slots=True)
class Outputs:
    """The outputs of one service.

    Attributes:
        sinks: all sinks, in the order in which they get each frame's records.
        recent: the sink that keeps the last events.
        run: identifies this run of the service in every output: 32 hexadecimal digits, other ones with every start.
        page: the sink that serves the live page, if there is one.
        keepers: the sinks that take the pixels of cherries.
    """

    sinks: tuple[Sink, ...]
    recent: RecentEvents
    run: str
    page: PageSink | None = None
    keepers: tuple[Keeper, ...] = ()

    @property
    def observe(self) -> Callable[[Frame], None] | None:
        """The function for ``pitcore.loop.pipeline.Hooks.observe``; None if no output needs it."""
        return None if self.page is None else self.page.observe

    def start(self, commands: Commands) -> None:
        """Start the outputs that publish."""
        for sink in self.sinks:
            if isinstance(sink, Publisher):
                sink.publish(commands)
        if self.page is not None:
            self.page.start(LineLooker(commands.app, commands.arming, commands.reloader, self.sinks, self.page).look)


class MissingOutput:
    """Replaces an output whose Python package is not installed. The service runs without it and reports it.

    Args:
        section: section of the configuration.
        reason: what is missing, and how to install it.
    """

    def __init__(self, section: str, reason: str) -> None:
        self._section, self._reason = section, reason
        log.warning("[%s] %s; the service runs without it", section, reason)

    def emit(self, records: Sequence[Verdict | Event]) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""

    def status(self) -> dict[str, Any]:
        """See ``pitcore.sinks.sink.ReportsStatus``."""
        return {"kind": self._section, "state": "failing", "reason": self._reason}


def open_outputs(
    config: Config, actuator: GpioSink | None, arming: Arming, metrics: Metrics, closing: ExitStack
) -> Outputs:
    """Open every configured output.

    Args:
        config: configuration of the board.
        actuator: the sink that drives the valves. It is the first, because it must not wait for a disk or a PLC.
        arming: says whether valves may be driven.
        metrics: metrics of the run.
        closing: closes the outputs, also if a later one cannot be built.

    Raises:
        SinkError: the verdict file cannot be opened; every other output is optional.
    """
    recent, run = RecentEvents(), uuid.uuid4().hex
    sinks: list[Sink] = []

    def add(sink: Sink) -> None:
        closing.callback(sink.close)
        sinks.append(sink)

    if actuator is not None:
        add(actuator)
    if config.modbus.enabled:
        add(_modbus(config, arming, metrics, run, actuator))
    add(open_verdict_file(config, metrics, run))
    add(EventLog())
    add(recent)
    if config.metrics.enabled or config.metrics.textfile is not None:
        add(_optional("metrics", "prometheus-client", lambda: _prometheus(config)))
    if config.mqtt.enabled:
        add(_optional("mqtt", "paho-mqtt", lambda: _mqtt(config, metrics, run)))
    page = PageSink(config, belt_plan(config), run) if config.page.enabled else None
    if page is not None:
        add(page)
    keeper = CropKeeper(config.capture, run) if config.capture.enabled else None
    shadow = Shadow(config, keeper, metrics) if config.shadow.enabled else None
    if shadow is not None:
        add(shadow)  # closed before the keeper, which stores its last disagreements
    if keeper is not None:
        add(keeper)
    keepers = [one for one in (keeper, shadow) if one is not None]  # the shadow goes by what the keeper chose
    return Outputs(tuple(sinks), recent, run, page, tuple(keepers))


def open_verdict_file(config: Config, metrics: Metrics, run: str) -> JsonlSink:
    """Open the file sink of the configuration. Raises SinkError."""
    sink = config.sink
    return JsonlSink(Path(sink.path), rotate_bytes=sink.rotate_bytes, keep=sink.keep, metrics=metrics, run=run)


def _optional(section: str, package: str, make: Callable[[], Sink]) -> Sink:
    """Build an output that needs a package of the extra ``section``; a ``MissingOutput`` if it is not installed."""
    try:
        return make()
    except ImportError as error:
        if error.name is None or error.name.startswith("pitcore"):
            raise
        return MissingOutput(section, f"the Python package {package} is missing: pip install 'pitcore[{section}]'")


# These import their modules when called, so that a start without them does not load asyncio, HTTP or an extra package.


def _modbus(config: Config, arming: Arming, metrics: Metrics, run: str, encoder: ReportsTick | None) -> Sink:
    from pitcore.outputs.modbus import ModbusSink  # noqa: PLC0415
    from pitcore.outputs.registers import Registers  # noqa: PLC0415

    return ModbusSink(config.modbus, Registers(belt_plan(config), run), arming, metrics, encoder)


def _prometheus(config: Config) -> Sink:
    from pitcore.outputs.prometheus import PrometheusOutput  # noqa: PLC0415

    return PrometheusOutput(config.metrics)


def _mqtt(config: Config, metrics: Metrics, run: str) -> Sink:
    from pitcore.outputs.mqtt import MqttOutput  # noqa: PLC0415

    return MqttOutput(config.mqtt, metrics, run)
