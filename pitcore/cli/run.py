"""Implements ``pitcore run``, the service."""

from __future__ import annotations

import faulthandler
import logging
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import click

from pitcore.actuation.arming import Arming
from pitcore.actuation.valve_setup import what_is_armed
from pitcore.cli.options import bundle_option, config_option, read_config, with_emulated_belt
from pitcore.config import Config, board_config, operating_point, weakened
from pitcore.control.commands import Commands
from pitcore.control.memory import keep_large_blocks_apart
from pitcore.control.point import with_choice
from pitcore.control.reload import Reloader
from pitcore.control.server import ControlServer
from pitcore.control.valve_test import ValveTest
from pitcore.errors import SourceError
from pitcore.loop.app import App, Options, open_line
from pitcore.loop.pipeline import Hooks
from pitcore.metrics import Metrics
from pitcore.ota.slots import refund
from pitcore.outputs.opening import open_outputs
from pitcore.service.hangups import Hangups
from pitcore.service.notify import Notifier
from pitcore.service.stopping import StopGuard
from pitcore.service.supervision import Progress, Supervisor
from pitcore.verdict import is_fault

log = logging.getLogger("pitcore")
TELL_EVERY_NS = 60 * 10**9


@click.command()
@config_option
@bundle_option
@click.option(
    "--emulate",
    is_flag=True,
    help="Use an emulated belt in place of the cameras, with the same frame size, and with the same speed where the "
    "configuration gives it.",
)
def run(config_path: Path | None, bundle: Path | None, emulate: bool) -> None:
    """Run the service until SIGTERM or Ctrl-C.

    Every minute, and at the end, the log has the counts. SIGHUP, or `pitcore reload`, loads the configuration and the
    model again while the belt is judged. If either is bad, the old ones stay in use, and the log and `pitcore status`
    give the reason. Verdicts go to the file of the [sink] section. Under systemd the service is ready after a processed
    frame of every camera. It feeds the watchdog only while every camera and the loop work and frames are judged. After
    a stop signal it ends within [runtime] stop_timeout_s. Exit code 4 means that something hung; the last line of the
    log names it.

    \b
    Example:
      pitcore run --config /etc/pitcore/board.toml
    """

    def wanted() -> Config:
        config = with_choice(read_config(config_path, bundle))
        return with_emulated_belt(config) if emulate else config

    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until the guard takes it: Python waits for calls that may hang
    hangups = Hangups()  # first: by default the signal ends a service that is not ready yet
    faulthandler.enable()  # a watchdog's SIGABRT leaves in the journal where each thread hung
    keep_large_blocks_apart()
    config = wanted()
    is_emulated = config.source.belt == "emulated"  # armed for a test, which must not change what the line has
    if config_path is None and not emulate:
        _warn_on_a_board()
    with ExitStack() as closing:
        server = ControlServer(Path(config.control.socket))  # first: two services would spoil each other's files
        closing.callback(server.close)
        metrics = Metrics()
        arming = Arming(
            Path(config.control.state_dir) / ("arming-emulated.json" if is_emulated else "arming.json"),
            what_is_armed(config.actuation, config.modbus),
            is_simulated=config.actuation.kind == "simulated",
        )
        source, actuator = open_line(config, arming, metrics)
        outputs = open_outputs(config, actuator, arming, metrics, closing)
        teller = RunReporter(metrics)

        def between_frames() -> None:
            teller.between_frames()
            reloader.between_frames()

        hooks = Hooks(outputs.observe, between_frames, outputs.keepers)
        options = Options(outputs.sinks, hooks=hooks, service=True, belt_sink=actuator)
        app = App(config, source, options, metrics)
        reloader = Reloader(app, wanted)
        reloader.start()
        closing.callback(reloader.close)
        valves = ValveTest(actuator)
        commands = Commands(app, outputs.sinks, outputs.recent, arming, reloader, config_path, valves, run=outputs.run)
        server.start(commands.by_name())
        outputs.start(commands)
        log.info("air jet: %s", f"armed, by {arming.state.by}" if arming.armed else "dry run")
        if arming.state.withheld:
            log.warning("air jet: DRY RUN, no reject is done: %s; arm it again", arming.state.withheld)
        hangups.hand_to(lambda: reloader.ask("SIGHUP"))
        _run(app, config, shut=lambda: None if actuator is None else actuator.close())
        teller.tell()


def _warn_on_a_board() -> None:
    """Say that the defaults judge no belt of this board: a line seems inspected while they run."""
    board = board_config()
    if board is not None:
        log.warning(
            "no --config, so this judges an emulated belt, not this board's line: that needs --config %s", board
        )


def _run(app: App, config: Config, shut: Callable[[], None]) -> None:
    """Run to the end of the source or a signal. The guard takes signals until the process ends."""
    supervisor = Supervisor(
        Notifier(),
        config.runtime.capture_timeout_s,
        health=app.health,
        progress=lambda: Progress(app.metrics.value("frames"), app.metrics.value("judged")),
        status=lambda: _line_of(app),
    )

    def stop() -> None:
        app.stop()
        supervisor.stopping()

    StopGuard(config.runtime.stop_timeout_s, stop, shut, lambda: app.busy_with).start()
    log.info("running: model %s, verdicts to %s", app.bundle.label, config.sink.path)
    operating = operating_point(app.bundle.card, config.decision)
    log.info("operating point %s: %s", operating.point, operating.promise)
    for said in weakened(config):
        log.warning("less safe than by default: %s", said)
    with supervisor:
        try:
            app.run()
        except SourceError:
            if not app.metrics.value("frames"):  # no frame came, so a model on trial cannot be the reason
                _refund(app)
            raise
    _refund(app)
    log.info("stopped after %d frames", app.metrics.value("judged"))


def _refund(app: App) -> None:
    """Give a model on trial its attempt back."""
    if app.config.model.store is not None:  # a reload may have named another
        refund(Path(app.config.model.store), app.bundle.sha256)


def _line_of(app: App) -> str:
    """Return the line for `systemctl status`, with alarms first."""
    alarms = [f"ALARM {alarm.name}" for alarm in app.alarms]
    return ", ".join([*alarms, f"{app.metrics.value('judged')} frames judged", f"model {app.bundle.label}"])


class RunReporter:
    """Logs the counts every minute, as a warning if frames, belt or lines were lost or the disk fails."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._told_ns = time.monotonic_ns()

    def between_frames(self) -> None:
        """Log the counts if it is time."""
        if time.monotonic_ns() - self._told_ns >= TELL_EVERY_NS:
            self._told_ns = time.monotonic_ns()
            self.tell()

    def tell(self) -> None:
        """Log the counts so far."""
        metrics = self._metrics
        verdicts = ", ".join(f"{name} {count}" for name, count in metrics.labels("verdicts").items()) or "no verdicts"
        events = metrics.labels("events")
        troubles = {name: count for name, count in events.items() if is_fault(name)}
        troubles |= {name: count for name in ("sink_retries", "sink_lines_lost") if (count := metrics.value(name))}
        trouble = ", ".join(f"{name} {count}" for name, count in troubles.items()) or "no faults"
        level = logging.WARNING if troubles else logging.INFO
        judged, frames = metrics.value("judged"), metrics.value("frames")
        of_all = "" if judged == frames else f" judged of {frames}"
        log.log(level, "%d frames%s: %s; %s", judged, of_all, verdicts, trouble)
