"""Stores whether the air jet may fire. A new board is in dry run until somebody arms it.

The state is on the disk, with its author and time, so that a restarted service keeps it. A state that cannot be read
counts as dry run. The permissions of the control socket decide who may arm.

A person arms the valves that are there at that moment, and looks at them first. So a board without valves cannot be
armed, and an armed state is given for certain valves: with others it is withheld, which is dry run. States of before
this rule do not say for which; the first start that drives real lines decides it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from pitcore.durable import replace_file
from pitcore.errors import ControlError
from pitcore.output_path import fix_of
from pitcore.wall_clock import utc_now

log = logging.getLogger(__name__)


class ArmingState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Armed or dry run: schema ``pitcore.arming/1``.

    Attributes:
        armed: True if the air jet may fire.
        by: name of the user who last armed or disarmed; None if nobody ever did.
        at: time of it by the board's clock, UTC, RFC 3339.
        drives: what it was given for (``valve_setup.what_is_armed``); None in a state of an older pitcore, and in dry
            run.
        withheld: why an armed state on the disk does not arm; None if it does. It is not on the disk.
    """

    schema: Literal["pitcore.arming/1"] = "pitcore.arming/1"
    armed: bool = False
    by: str | None = None
    at: str | None = None
    drives: str | None = None
    withheld: str | None = None


class Arming:
    """Holds the state. Safe for use by several threads.

    Args:
        path: file of the state; its folder is created with the first write.
        drives: what acts while it is armed, in words that change with the valves; None if nothing does.
        is_simulated: whether it is only simulated; then an older state stays as it is, for the real valves.
    """

    def __init__(self, path: Path, drives: str | None, *, is_simulated: bool = False) -> None:
        self._path, self._drives = path, drives
        self._lock = threading.Lock()  # guards the state; never held during a write to disk
        self._disk = threading.Lock()
        self._disarmed = 0  # number of disarmings, so that an arming that waits for the disk notices one
        self._state, self._kept = _read(path)
        if self._state.armed:
            self._check_armed(is_simulated=is_simulated)

    @property
    def possible(self) -> bool:
        """True if there is something to arm."""
        return self._drives is not None

    @property
    def armed(self) -> bool:
        """Return whether the air jet may fire now."""
        return self._state.armed

    @property
    def state(self) -> ArmingState:
        """Return the state, with its author and time."""
        return self._state

    def arm(self, by: str, gave_up: Callable[[], bool] = lambda: False) -> ArmingState:
        """Allow the air jet to fire. If it may already, nothing changes.

        Args:
            by: name of the user.
            gave_up: returns whether the client has stopped waiting. The disk may take long, and a late arming would
                surprise people.

        Raises:
            ControlError: nothing is there to arm, the state cannot be written, the client gave up, or somebody disarmed
                meanwhile; no change.
        """
        if self._drives is None:
            raise ControlError(
                "this board drives no valve, so there is nothing to arm; set [actuation] kind and lanes, restart the "
                "service, and look at its dry run first"
            )
        with self._disk:
            with self._lock:
                before, disarmed = self._state, self._disarmed
            if before.armed:
                return before
            state = ArmingState(armed=True, by=by, at=utc_now(), drives=self._drives)
            self._keep(state, "nothing changed")
            with self._lock:
                if disarmed == self._disarmed and not gave_up():
                    self._state = state
                    return state
                self._kept = False
            self._keep(before, "dry run now, but a restart may arm it")
        raise ControlError("arming took too long, or somebody disarmed meanwhile; nothing changed")

    def disarm(self, by: str) -> ArmingState:
        """Switch to dry run at once, even if the disk fails, and write the state if it is not on the disk.

        Raises:
            ControlError: dry run is on, but the disk does not have it, so a restart may arm the air jet again.
        """
        with self._lock:
            self._disarmed += 1
            if self._state.armed or self._state.withheld:
                self._state, self._kept = ArmingState(armed=False, by=by, at=utc_now()), False
            state = self._state
        with self._disk:
            if not self._kept and self._state is state:
                self._keep(state, "dry run now, but a restart may arm it again")
        return state

    def _check_armed(self, *, is_simulated: bool) -> None:
        """Withhold a state that was given for other valves. Note on the disk for which an older state is."""
        state = self._state
        if state.drives is None and self._drives is not None and not is_simulated:
            state = self._state = msgspec.structs.replace(state, drives=self._drives)
            try:
                self._keep(state, "that it is armed is kept, but not for which valves")
            except ControlError as error:
                log.warning("%s", error)
        if self._drives is None or state.drives not in {None, self._drives}:
            now = self._drives or "no valve"
            why = f"armed by {state.by} at {state.at} for {state.drives or 'valves'}, but this board drives {now}"
            self._state = msgspec.structs.replace(state, armed=False, withheld=why)
            self._kept = False  # the disk says armed, so disarming must write

    def _keep(self, state: ArmingState, otherwise: str) -> None:
        raw = msgspec.json.encode(msgspec.structs.replace(state, withheld=None))
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(self._path, lambda file: file.write(raw))
        except OSError as error:
            raise ControlError(
                f"{self._path}: cannot be written: {error.strerror}; {otherwise}; "
                f"{fix_of(error, 'fix the disk or [control] state_dir')}"
            ) from error
        self._kept = True


def _read(path: Path) -> tuple[ArmingState, bool]:
    """Return the state on disk, and whether it could be read: otherwise it is dry run."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=ArmingState), True
    except FileNotFoundError:
        return ArmingState(), True
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        log.warning("%s: cannot be read, so the air jet is in dry run: %s; arm it again", path, error)
        return ArmingState(), False
