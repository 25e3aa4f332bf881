"""Reads requests from a connection to the control socket, and checks whether their client still waits."""

from __future__ import annotations

import select
import socket
import time

from pitcore.control import protocol
from pitcore.control.protocol import MAX_REQUEST_BYTES, Request
from pitcore.errors import ControlError


class RequestReader:
    """Reads requests one after the other.

    A request ends with its newline, or when it is complete, or when the sender closes its side. So ``disarm`` works
    without its newline.

    Args:
        connection: to the client.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = b""
        self._owes_newline = False  # the last request was complete without its newline

    def read(self, timeout_s: float) -> bytes | None:
        """Return the next request, or None at the end.

        Raises:
            RequestTooLongError: it is longer than ``MAX_REQUEST_BYTES``.
            ControlError: it did not arrive in time.
            OSError: the connection broke.
        """
        deadline = time.monotonic() + timeout_s
        while (line := self._take()) is None:
            if len(self._buffer) > MAX_REQUEST_BYTES:
                raise RequestTooLongError(f"a request has at most {MAX_REQUEST_BYTES} bytes")
            self._connection.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                piece = self._connection.recv(4096)
            except TimeoutError as error:
                raise ControlError(f"no whole request within {timeout_s:g} s; connection closed") from error
            if not piece:
                rest, self._buffer = self._buffer, b""
                return rest or None
            self._buffer += piece
        return line

    def _take(self) -> bytes | None:
        """Take a complete request from the buffer; None if there is none yet."""
        if self._owes_newline and self._buffer:
            self._owes_newline = False
            self._buffer = self._buffer.removeprefix(b"\r").removeprefix(b"\n")
        if b"\n" in self._buffer:
            line, _, self._buffer = self._buffer.partition(b"\n")
            return line
        if self._buffer.rstrip().endswith(b"}") and protocol.is_request(self._buffer):
            line, self._buffer, self._owes_newline = self._buffer, b"", True
            return line
        return None


class RequestTooLongError(ControlError):
    """The request is too long; the connection is closed, since the start of the next request is unknown."""


def is_given_up(request: Request, connection: socket.socket) -> bool:
    """Return whether nobody waits for the answer: the request's time is over, or its client has gone.

    A client that has only closed its sending side still waits.
    """
    if isinstance(request.until_ns, int) and time.monotonic_ns() > request.until_ns:
        return True
    poll = select.poll()
    poll.register(connection, 0)  # POLLHUP and POLLERR are always reported
    return bool(poll.poll(0))
