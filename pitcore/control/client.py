"""Sends one command to a running service over its control socket."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import UNSET

from pitcore.control import protocol
from pitcore.control.protocol import EXPIRES, MAX_REPLY_BYTES, Request
from pitcore.errors import ControlError, NotRunningError

TIMEOUT_S = 10.0
RETRY_S = 0.01
RELOAD_TIMEOUT_S = 120.0  # a slow board loads and tests the model in seconds; the service stops waiting long before


def ask(path: Path, command: str, args: Mapping[str, Any] | None = None, *, timeout_s: float = TIMEOUT_S) -> Any:  # noqa: ANN401  JSON
    """Send one command and return the result of the answer.

    Args:
        path: of the service's control socket.
        command: ``status``, ``arm``, ``disarm`` or ``reload``.
        args: of the command.
        timeout_s: for connecting, sending and the answer.

    Raises:
        NotRunningError: no service answers there.
        ControlError: the service refused, with the reason; or it did not answer in time.
    """
    protocol.check_path(path)
    deadline = time.monotonic() + timeout_s
    # Earlier than the own timeout, so that the answer still arrives.
    until_ns = int((deadline - timeout_s / 10) * 1e9) if command in EXPIRES else UNSET
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        _connect(connection, path, deadline)
        try:
            with contextlib.suppress(BrokenPipeError):  # the service may have refused, and sent the reason
                connection.sendall(protocol.encode(Request(command, dict(args or {}), until_ns=until_ns)))
            line = _read_line(connection, deadline)
        except TimeoutError as error:
            later = "; it will not be carried out later, see `pitcore status`" if command in EXPIRES else ""
            raise ControlError(
                f"{path}: no answer to `{command}` within {timeout_s:g} s; the service hangs{later}"
            ) from error
        except OSError as error:
            raise ControlError(f"{path}: the service went away: {error.strerror}; see its log") from error
    reply = protocol.decode_reply(line)
    if not reply.ok:
        raise ControlError(reply.error or f"the service refused `{command}`")
    return reply.result


def lives(path: Path) -> bool:
    """Return whether the service of a socket runs, even if it does not answer."""
    try:
        # Does not try the lock: a service that starts at this moment would find it taken.
        pid = int(protocol.lock_path(path).read_bytes())
        os.kill(pid, 0)
    except PermissionError:  # it runs as another user; or the file is not accessible, and the state is unknown
        return True
    except (OSError, ValueError):
        return False
    return True


def _connect(connection: socket.socket, path: Path, deadline: float) -> None:
    """Connect, and set a timeout. Raises NotRunningError, ControlError."""
    connection.settimeout(max(deadline - time.monotonic(), 0.001))
    while True:
        try:
            return connection.connect(str(path))
        except BlockingIOError as error:  # more clients connect at once than the service has accepted
            if time.monotonic() >= deadline:
                raise ControlError(f"{path}: the service accepts no connection; it hangs") from error
            time.sleep(RETRY_S)
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError) as error:
            raise NotRunningError(
                f"{path}: no service runs here ({error.strerror}); start it with `pitcore run`, or give --config or "
                "--socket of the one that runs"
            ) from error
        except PermissionError as error:
            raise ControlError(
                f"{path}: {error.strerror}; become a member of the socket's group, or use sudo"
            ) from error
        except OSError as error:
            raise ControlError(f"{path}: {error.strerror or error}; is this the service's socket?") from error


def _read_line(connection: socket.socket, deadline: float) -> bytes:
    """Read to the newline. Raises OSError, TimeoutError, ControlError."""
    line = b""
    while not line.endswith(b"\n"):
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        connection.settimeout(left)
        piece = connection.recv(65536)
        if not piece:
            raise ControlError("the service closed the connection without an answer; see its log")
        line += piece
        if len(line) > MAX_REPLY_BYTES:
            raise ControlError("the service's answer is too long; client and service differ in version")
    return line
