"""Keeps the usual state of the line in a file, so that a restart does not have to learn it again.

A separate thread writes the file, so the loop never waits for a disk. The file has sums for at most ``[drift] days``
days, about ten kilobytes. If it cannot be read, the usual state is learned again.
"""

from __future__ import annotations

import datetime as dt
import logging
import threading
import time
from pathlib import Path

import msgspec

from pitcore.durable import replace_file
from pitcore.line_watch.drift import DriftState

log = logging.getLogger(__name__)
FILE = "drift.json"
SAVE_EVERY_S = 300.0


def utc_date() -> str:
    """Return today's date, UTC, ISO 8601."""
    return dt.datetime.now(dt.UTC).date().isoformat()


class DriftMemory:
    """Reads and writes the file of one service.

    Args:
        path: path of the file; its folder is created with the first write.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._saved_s = path, time.monotonic()
        self._writing: threading.Thread | None = None

    def load(self) -> DriftState | None:
        """Return the kept state; None if there is none or it cannot be read."""
        try:
            state = msgspec.json.decode(self._path.read_bytes(), type=DriftState)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            log.warning("%s: %s; what is usual on this line is learned again", self._path, error)
            return None
        figures = len(state.figures)
        whole = all(
            len(values) == figures
            for one in (state.first, *state.days, state.today)
            for values in (one.total, one.squares, one.within)
        )
        return state if whole else None

    def save_seldom(self, state: DriftState) -> None:
        """Write the state in the background if five minutes passed since the last write and none is running."""
        if time.monotonic() - self._saved_s < SAVE_EVERY_S or (self._writing and self._writing.is_alive()):
            return
        self._saved_s = time.monotonic()
        raw = msgspec.json.encode(state)
        self._writing = threading.Thread(target=self._write, args=(raw,), name="pitcore-drift", daemon=True)
        self._writing.start()

    def _write(self, raw: bytes) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(self._path, lambda file: file.write(raw))
        except OSError as error:
            log.warning("%s: cannot be written: %s; a restart learns again what is usual", self._path, error)
