"""Implements the commands of a running service: ``status``, ``arm``, ``disarm``, ``reload``, ``point``, ``test_valve``.

The commands run on the socket's threads. They read counters, change the arming, or wait for the reload thread; none of
them touches the loop.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from pitcore import __version__
from pitcore.actuation.arming import Arming, ArmingState
from pitcore.control import status
from pitcore.control.point import choose, restore
from pitcore.control.reload import Reloader, StillReloadingError
from pitcore.control.server import Command, Peer
from pitcore.control.status import ConfigStatus, Status
from pitcore.control.valve_test import READY_S, ValveTest
from pitcore.errors import ControlError
from pitcore.loop.app import App
from pitcore.sinks.recent import RecentEvents
from pitcore.sinks.sink import Sink

log = logging.getLogger(__name__)

RELOAD_S = 90.0  # a slow board loads and tests a model in seconds
TURN_S = 5.0  # that a change of the operating point waits for another one; together less than clients wait


@dataclass(frozen=True, slots=True)
class Commands:
    """Executes the commands.

    Attributes:
        app: the loop.
        sinks: its sinks, for the status.
        recent: the last events.
        arming: whether the air jet may fire.
        reloader: started by the runner of the service.
        config_path: path of the configuration.
        valve_test: of the board's valves.
        started_ns: CLOCK_MONOTONIC.
        run: the run of the service; see ``Outputs``.
    """

    app: App
    sinks: tuple[Sink, ...]
    recent: RecentEvents
    arming: Arming
    reloader: Reloader
    config_path: Path | None
    valve_test: ValveTest = field(default_factory=lambda: ValveTest(None))
    started_ns: int = field(default_factory=time.monotonic_ns)
    run: str = ""
    _choosing: threading.Lock = field(default_factory=threading.Lock)

    def by_name(self) -> dict[str, Command]:
        """Return the commands by name, for the server."""
        return {
            "status": self._status,
            "arm": self._arm,
            "disarm": self._disarm,
            "reload": self._reload,
            "point": self._point,
            "test_valve": self._test_valve,
        }

    def status(self) -> Status:
        """Return the whole status; from any thread."""
        app, metrics, config = self.app, self.app.metrics, self.app.config
        return Status(
            schema="pitcore.status/1",
            version=__version__,
            pid=os.getpid(),
            state=status.state_of(app),
            uptime_s=(time.monotonic_ns() - self.started_ns) / 1e9,
            arming=self.arming.state,
            model=status.model_status(app),
            config=ConfigStatus(None if self.config_path is None else str(self.config_path), config.sha256),
            frames=status.frames_status(app, config),
            less_safe=status.less_safe(config, self.arming.state),
            alarms=status.alarm_status(app),
            verdicts=metrics.labels("verdicts"),
            reasons=metrics.labels("reasons"),
            events=metrics.labels("events"),
            last_events=self.recent.last(),
            latency_ms=status.latency_status(metrics),
            since_model=status.since_model(metrics, self.reloader.since),
            sinks=status.sink_status(self.sinks),
            cameras=status.camera_status(app.health(), config.runtime.capture_timeout_s),
            reloading=self.reloader.busy,
            reload=self.reloader.last,
            headroom=status.headroom_status(metrics),
            drift=status.drift_status(self.app),
            run=self.run,
            encoder=status.encoder_status(self.sinks),
        )

    def _status(self, args: Mapping[str, Any], peer: Peer) -> Status:
        del peer  # everybody who may connect may read the status
        _check_args(args)
        return self.status()

    def _arm(self, args: Mapping[str, Any], peer: Peer) -> dict[str, Any]:
        who = _who(args, peer)
        return self._change("armed", who, lambda: self.arming.arm(who, peer.gave_up))

    def _disarm(self, args: Mapping[str, Any], peer: Peer) -> dict[str, Any]:
        who = _who(args, peer)
        return self._change("disarmed", who, lambda: self.arming.disarm(who))

    def _change(self, word: str, by: str, change: Callable[[], ArmingState]) -> dict[str, Any]:
        """Arm or disarm. A second request for the same state changes nothing and is not recorded."""
        before = self.arming.state
        try:
            change()
        finally:  # disarms even if the disk fails
            changed = self.arming.state is not before
            if changed:
                log.warning("%s by %s", word, by)
                self.app.note(word, f"{word} by {by}")
        return {"changed": changed, **msgspec.to_builtins(self.arming.state)}

    def _reload(self, args: Mapping[str, Any], peer: Peer) -> dict[str, Any]:
        result = self.reloader.ask_and_wait(_who(args, peer), RELOAD_S)
        if result.state != "ok":
            raise ControlError(f"reload refused, the old configuration stays in use: {result.detail}")
        answer: dict[str, Any] = msgspec.to_builtins(result)
        return answer

    def _point(self, args: Mapping[str, Any], peer: Peer) -> dict[str, Any]:
        """Use another operating point of the card from now on; without one, that of the configuration."""
        who = _who(args, peer, frozenset({"point"}))
        wanted = args.get("point")
        known = list(self.app.bundle.card.points)
        if wanted is not None and wanted not in known:
            raise ControlError(f"the model has no operating point {wanted}; it has {', '.join(known)}")
        state_dir = Path(self.app.config.control.state_dir)
        if not self._choosing.acquire(timeout=TURN_S):  # one at a time: each restores what it found
            raise ControlError("another change of the operating point is under way; try again")
        try:
            before = choose(state_dir, wanted, who)
            try:
                result = self.reloader.ask_and_wait(who, RELOAD_S)
            except StillReloadingError:
                raise  # it has read the choice, and may take it
            except BaseException:
                restore(state_dir, before)
                raise
            if result.state != "ok":
                restore(state_dir, before)
        finally:
            self._choosing.release()
        if result.state != "ok":
            raise ControlError(f"refused, the old operating point is used: {result.detail}")
        model = status.model_status(self.app)
        log.warning("operating point %s by %s", model.point, who)
        return {"point": model.point, "promise": model.promise}

    def _test_valve(self, args: Mapping[str, Any], peer: Peer) -> dict[str, Any]:
        """Prepare the test of a lane's valve, or open it with the code of a prepared test."""
        who = _who(args, peer, frozenset({"lane", "code"}))
        lane, code = args.get("lane"), args.get("code")
        if isinstance(code, str):
            if peer.gave_up():
                raise ControlError("the test was cancelled, and no valve was opened")
            fired = self.valve_test.fire(code)
            log.warning("valve of lane %d tested by %s", fired, who)
            self.app.note("valve_tested", f"lane {fired} by {who}")
            return {"lane": fired, "fired": True}
        if not isinstance(lane, int):
            raise ControlError("test_valve needs a lane to prepare, or the code of a prepared test")
        return {"lane": lane, "fired": False, "code": self.valve_test.prepare(lane), "ready_s": READY_S}


def _check_args(args: Mapping[str, Any], known: frozenset[str] = frozenset()) -> None:
    """Refuse unknown arguments, which a newer client may send. Raises ControlError."""
    unknown = sorted(set(args) - known)
    if unknown:
        raise ControlError(f"unknown argument {', '.join(unknown)}; client and service differ in version")


def _who(args: Mapping[str, Any], peer: Peer, known: frozenset[str] = frozenset()) -> str:
    """Return the user that the kernel names. For root and the service itself, also return whom they act for.

    Root names the user of sudo (``sudo_user``). The page process names the owner of the token (``page_user``).
    """
    _check_args(args, known | {"sudo_user", "page_user"})
    for key, uid, way in (("sudo_user", 0, "as"), ("page_user", os.geteuid(), "at the page, as")):
        name = args.get(key)
        if name is None or peer.uid != uid:
            continue
        if not isinstance(name, str) or not 0 < len(name) <= 64 or not name.isprintable():
            raise ControlError(f"{key} is not a user name")
        return f"{name} {way} {peer.user}"
    return peer.user
