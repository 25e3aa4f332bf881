"""Whether the air jet may fire. A new board is in dry run until somebody arms it.

The state lies on disk, with who changed it and when, so that a service which the watchdog restarts goes on as it
was. What cannot be read counts as dry run. Who may arm is decided by the permissions of the control socket.
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
        by: name of the user who last armed or disarmed; None if nobody ever did.
        at: when, RFC 3339 in UTC by the board's clock.
    """

    schema: Literal["pitcore.arming/1"] = "pitcore.arming/1"
    armed: bool = False
    by: str | None = None
    at: str | None = None


class Arming:
    """The state, for all who ask or change it. Safe for use by several threads.

    Args:
        path: the file it is kept in; its directory is made when it is first written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()  # of the state; never held while the disk is waited for
        self._disk = threading.Lock()
        self._disarmed = 0  # how often, so that an arming which waits for the disk hears of it
        self._state, self._kept = _read(path)

    @property
    def armed(self) -> bool:
        """Whether the air jet may fire now."""
        return self._state.armed

    @property
    def state(self) -> ArmingState:
        """Armed or not, by whom and since when."""
        return self._state

    def arm(self, by: str, gave_up: Callable[[], bool] = lambda: False) -> ArmingState:
        """Let the air jet fire; where it may already, nothing changes.

        Args:
            by: who.
            gave_up: tells whether he wants it no more. The disk may take long, and nobody expects air later.

        Raises:
            ControlError: the state cannot be kept, or it was given up or disarmed meanwhile; it stays as it was.
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
        """Go to dry run, at once, whatever the disk does; where it is dry run already, make sure that the disk has it.

        Raises:
            ControlError: it is dry run now, but a restart may arm it again.
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
    """Return what is on disk, and whether that is what it says: what cannot be trusted counts as dry run."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=ArmingState), True
    except FileNotFoundError:
        return ArmingState(), True
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        log.warning("%s: cannot be read, so the air jet is in dry run: %s; arm it again", path, error)
        return ArmingState(), False
