"""Log records for journald, with fields to search by: `journalctl PITCORE_CAMERA=top`, `PITCORE_EVENT=frame_black`.

The protocol is systemd's native one (systemd.io/JOURNAL_NATIVE_PROTOCOL): one datagram a record. A slow journal must
not delay a frame, so a record that cannot be sent at once is counted, and the loss is reported later.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

SOCKET = Path("/run/systemd/journal/socket")
MAX_MESSAGE_BYTES = 64 * 1024  # well below what a datagram may hold
TERMINAL_FORMAT = "%(levelname)s %(name)s: %(message)s"
_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))  # syslog(3)


def start_logging(*, is_silent: bool = False) -> None:
    """Send records of this process to journald if it reads our standard error, to standard error otherwise.

    Args:
        is_silent: nobody reads our standard error, so journald is the only one left.
    """
    if (is_silent or reads_stderr(os.environ)) and SOCKET.exists():
        logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[JournalHandler(SOCKET)])
    else:
        logging.basicConfig(level=logging.INFO, format=TERMINAL_FORMAT, handlers=[TerminalHandler()])
    logging.getLogger("tuf").setLevel(logging.WARNING)  # its errors are reported once, by our line


def reads_stderr(environment: Mapping[str, str]) -> bool:
    """Return whether standard error is the stream that systemd connected to journald, see systemd.exec(5)."""
    try:
        status = os.fstat(2)
    except OSError:  # closed
        return False
    return environment.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


class TerminalHandler(logging.StreamHandler[TextIO]):
    """Writes to standard error; what that does not take, since its disk is full, goes to journald if there is one."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self._journal: JournalHandler | None = None

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  logging's name
        """Send the record elsewhere; a fault of the record's own is reported as ``logging`` does."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)
        elif SOCKET.exists():
            self._journal = self._journal or JournalHandler(SOCKET)
            self._journal.emit(record)

    def close(self) -> None:
        """Close what was opened."""
        if self._journal is not None:
            self._journal.close()
        super().close()


class JournalHandler(logging.Handler):
    """Sends each record with its fields, those in ``extra={"journal": {...}}`` as well.

    Args:
        address: journald's socket.
    """

    def __init__(self, address: Path = SOCKET) -> None:
        super().__init__()
        self._address = str(address)
        self._lost = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.settimeout(0.0)

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record, after a word on those that were lost."""
        try:
            if self._lost:
                text = f"{self._lost} log records were lost: the journal did not keep up"
                self._send({"MESSAGE": text, "PRIORITY": "4"})
                self._lost = 0
            self._send(fields_of(record, self.format(record)))
        except OSError:
            self._lost += 1

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
        super().close()

    def _send(self, fields: Mapping[str, str | Sequence[str]]) -> None:
        self._socket.sendto(encode_fields({"SYSLOG_IDENTIFIER": "pitcore", **fields}), self._address)


def fields_of(record: logging.LogRecord, text: str) -> dict[str, str | Sequence[str]]:
    """Return the journal's fields of a record whose formatted text is given."""
    priority = next((number for level, number in _PRIORITIES if record.levelno >= level), 7)
    own: Mapping[str, str | Sequence[str]] = getattr(record, "journal", {})
    return {"MESSAGE": text, "PRIORITY": str(priority), "PITCORE_LOGGER": record.name, **own}


def encode_fields(fields: Mapping[str, str | Sequence[str]]) -> bytes:
    """Encode fields; a value of several lines carries its length, and a field of several values comes several times."""
    parts = []
    pairs = ((name, value) for name, held in fields.items() for value in ([held] if isinstance(held, str) else held))
    for name, value in pairs:
        raw = value.encode(errors="replace")[:MAX_MESSAGE_BYTES]
        if b"\n" in raw:
            parts.append(name.encode() + b"\n" + len(raw).to_bytes(8, "little") + raw + b"\n")
        else:
            parts.append(name.encode() + b"=" + raw + b"\n")
    return b"".join(parts)
