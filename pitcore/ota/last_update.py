"""What the last update said, kept beside the state for who asks later; nothing depends on it."""

from __future__ import annotations

import datetime as dt
import logging

import msgspec

from pitcore.errors import Refusal, UpdateError
from pitcore.ota.slots import Store
from pitcore.ota.trial import Result, UpdateOutcome

log = logging.getLogger(__name__)


class LastUpdate(msgspec.Struct, frozen=True):
    """How the last `pitcore update` ended.

    Attributes:
        at: when, RFC 3339 in UTC, by this board's clock.
        command: which of them.
        result: of one that did not fail.
        refusal: of one that did.
        message: for people.
    """

    at: str
    command: str
    result: Result | None
    refusal: Refusal | None
    message: str


def last_update(store: Store) -> LastUpdate | None:
    """Return what the last update said; None where there was none, or it cannot be read."""
    try:
        return msgspec.json.decode((store.root / "last.json").read_bytes(), type=LastUpdate)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def remember(store: Store, command: str, end: UpdateOutcome | UpdateError) -> None:
    """Write down how an update ended, where there is a store and the disk lets us."""
    if not store.root.is_dir():
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
