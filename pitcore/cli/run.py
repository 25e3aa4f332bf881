"""``pitcore run``: the service."""

from __future__ import annotations

import faulthandler
import logging
import signal
import time
from pathlib import Path

import click

from pitcore.app import App, Options, build_source, open_sink
from pitcore.cli.options import bundle_option, config_option, read_config
from pitcore.errors import PitcoreError
from pitcore.metrics import Metrics
from pitcore.ota.slots import refund
from pitcore.pipeline import Hooks
from pitcore.service.notify import Notifier
from pitcore.service.supervision import Supervisor
from pitcore.sinks.event_log import EventLog

log = logging.getLogger("pitcore")
TELL_EVERY_NS = 60 * 10**9


@click.command()
@config_option
@bundle_option
def run(config_path: Path | None, bundle: Path | None) -> None:
    """Run the service until SIGTERM or Ctrl-C.

    Every minute, and at the end, the log says what was counted. SIGHUP reads the configuration and the model
    again; if either is bad the old ones go on and the log says why. Verdicts go to the file of the [sink]
    section. Under systemd it is ready after a processed frame of every camera, and feeds the watchdog only
    while every camera and the loop go on.

    \b
    Example:
      pitcore run --config /etc/pitcore/board.toml
    """
    faulthandler.enable()  # a watchdog's SIGABRT leaves in the journal where each thread hung
    config = read_config(config_path, bundle)
    metrics = Metrics()
    reload_wanted = False

    def ask_reload(*_: object) -> None:
        nonlocal reload_wanted
        reload_wanted = True

    told_ns = time.monotonic_ns()

    def between_frames() -> None:
        nonlocal reload_wanted, told_ns
        if time.monotonic_ns() - told_ns >= TELL_EVERY_NS:
            told_ns = time.monotonic_ns()
            tell(metrics)
        if not reload_wanted:
            return
        reload_wanted = False
        try:
            app.reload(read_config(config_path, bundle))
        except PitcoreError as error:
            log.error("reload refused, the old configuration goes on: %s", error)  # noqa: TRY400  no traceback for users
        else:
            log.info("reloaded: model %s, configuration %s", app.bundle.label, app.config.sha256[:12])

    source = build_source(config)
    sink = open_sink(config, metrics)
    hooks = Hooks(between_frames=between_frames)
    app = App(config, source, Options([sink, EventLog()], hooks=hooks, service=True), metrics)
    supervisor = Supervisor(
        Notifier(),
        config.runtime.capture_timeout_s,
        health=app.health,
        processed=lambda: metrics.value("frames"),
        status=lambda: f"{metrics.value('frames')} frames, model {app.bundle.label}",
    )

    def stop(*_: object) -> None:
        supervisor.stopping()
        app.stop()

    signal.signal(signal.SIGHUP, ask_reload)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    log.info("running: model %s, verdicts to %s", app.bundle.label, config.sink.path)
    with supervisor:
        app.run()
    if config.model.store is not None:
        refund(Path(config.model.store), app.bundle.sha256)
    log.info("stopped after %d frames", metrics.value("frames"))
    tell(metrics)


def tell(metrics: Metrics) -> None:
    """Log what was counted so far: a warning if frames, belt or lines were lost, or the disk fails."""
    verdicts = ", ".join(f"{name} {count}" for name, count in metrics.labels("verdicts").items()) or "no verdicts"
    troubles = dict(metrics.labels("events"))
    troubles |= {name: count for name in ("sink_retries", "sink_lines_lost") if (count := metrics.value(name))}
    trouble = ", ".join(f"{name} {count}" for name, count in troubles.items()) or "no events"
    log.log(
        logging.WARNING if troubles else logging.INFO, "%d frames: %s; %s", metrics.value("frames"), verdicts, trouble
    )
