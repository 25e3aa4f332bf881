"""Keeps the result of the last update for later queries. Nothing depends on it."""

from __future__ import annotations

import datetime as dt
import logging

import msgspec

from pitcore.errors import Refusal, UpdateError
from pitcore.ota.slots import Store
from pitcore.ota.trial import Result, UpdateOutcome

log = logging.getLogger(__name__)
_COMMAND_REFUSED = {Refusal.BUSY, Refusal.NOTHING_TO_DO}


class LastUpdate(msgspec.Struct, frozen=True):
    """The result of the last `pitcore update`.

    Attributes:
        at: when, RFC 3339 in UTC, by this board's clock.
        command: its name.
        result: of a command that succeeded.
        refusal: of a command that failed.
        message: for people.
    """

    at: str
    command: str
    result: Result | None
    refusal: Refusal | None
    message: str


def last_update(store: Store) -> LastUpdate | None:
    """Return the result of the last update; None if there is none or it cannot be read."""
    try:
        return msgspec.json.decode((store.root / "last.json").read_bytes(), type=LastUpdate)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def remember(store: Store, command: str, end: UpdateOutcome | UpdateError) -> None:
    """Write the result of an update, if there is a store and the disk takes it.

    A command that was refused is no update: the result of the one before stays.
    """
    was_refused = isinstance(end, UpdateError) and end.refusal in _COMMAND_REFUSED
    if was_refused or not store.root.is_dir():
        return
    at = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    if isinstance(end, UpdateError):
        last = LastUpdate(at, command, None, end.refusal, str(end))
    else:
        last = LastUpdate(at, command, end.result, None, end.message)
    try:
        store.disk.replace(store.root / "last.json", msgspec.json.format(msgspec.json.encode(last)) + b"\n")
    except UpdateError as error:
        log.warning("the result of the update could not be saved: %s", error)
