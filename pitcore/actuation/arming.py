"""Stores whether the air jet may fire. A new board is in dry run until somebody arms it.

The state is on the disk, with its author and time, so that a restarted service keeps it. A state that cannot be read
counts as dry run. The permissions of the control socket decide who may arm.
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
from pitcore.wall_clock import utc_now

log = logging.getLogger(__name__)


class ArmingState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Armed or dry run: schema ``pitcore.arming/1``.

    Attributes:
        armed: True if the air jet may fire.
        by: name of the user who last armed or disarmed; None if nobody ever did.
        at: time of it by the board's clock, UTC, RFC 3339.
    """

    schema: Literal["pitcore.arming/1"] = "pitcore.arming/1"
    armed: bool = False
    by: str | None = None
    at: str | None = None


class Arming:
    """Holds the state. Safe for use by several threads.

    Args:
        path: file of the state; its folder is created with the first write.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()  # guards the state; never held during a write to disk
        self._disk = threading.Lock()
        self._disarmed = 0  # number of disarmings, so that an arming that waits for the disk notices one
        self._state, self._kept = _read(path)

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
            ControlError: the state cannot be written, the client gave up, or somebody disarmed meanwhile; no change.
        """
        with self._disk:
            with self._lock:
                before, disarmed = self._state, self._disarmed
            if before.armed:
                return before
            state = ArmingState(armed=True, by=by, at=utc_now())
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
            if self._state.armed:
                self._state, self._kept = ArmingState(armed=False, by=by, at=utc_now()), False
            state = self._state
        with self._disk:
            if not self._kept and self._state is state:
                self._keep(state, "dry run now, but a restart may arm it again")
        return state

    def _keep(self, state: ArmingState, otherwise: str) -> None:
        raw = msgspec.json.encode(state)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(self._path, lambda file: file.write(raw))
        except OSError as error:
            raise ControlError(
                f"{self._path}: cannot be written: {error.strerror}; {otherwise}; fix the disk or [control] state_dir"
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
