"""Answers at the control socket, on threads of its own; the loop over the frames never waits for it.

Everything is bounded: connections, bytes of a request, and the time to send it. What is no request is answered by an
error. Which commands there are is not known here.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import pwd
import socket
import stat
import struct
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from pitcore.control import protocol
from pitcore.control.protocol import MAX_REQUEST_BYTES, Reply
from pitcore.errors import ControlError, PitcoreError

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 8
RETRY_S = 0.5
REQUEST_S = 10.0  # from the connection, or the last answer, to the end of the request
MODE = 0o660


@dataclass(frozen=True, slots=True)
class Peer:
    """Who asks, as the kernel says.

    Attributes:
        pid, uid: of the process.
        user: name of that user.
    """

    pid: int
    uid: int
    user: str

    @classmethod
    def of(cls, connection: socket.socket) -> Peer:
        """Return who is at the other end. Raises OSError."""
        raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        pid, uid, _ = struct.unpack("3i", raw)
        try:
            return cls(pid, uid, pwd.getpwuid(uid).pw_name)
        except KeyError:
            return cls(pid, uid, f"uid {uid}")


Command = Callable[[Mapping[str, Any], Peer], Any]


class ControlServer:
    """One service's socket. Making it claims the place; ``start`` begins to answer.

    Args:
        path: of the socket; its directory is made. A socket that a dead service left is replaced.

    Raises:
        ControlError: another service runs here, or the place cannot be used.
    """

    def __init__(self, path: Path) -> None:
        protocol.check_path(path)
        self._path = path
        self._lock_fd = _claim(path)
        self._commands: Mapping[str, Command] = {}
        self._closing = threading.Event()
        self._listener: socket.socket | None = None
        self._acceptor = threading.Thread(target=self._accept_all, name="pitcore-control", daemon=True)
        self._places = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self._guard = threading.Lock()
        self._open: dict[socket.socket, threading.Thread] = {}

    def start(self, commands: Mapping[str, Command]) -> None:
        """Answer from now on. Raises ControlError."""
        self._commands = commands
        try:
            self._listener = _listen(self._path)
        except OSError as error:
            raise ControlError(f"{self._path}: {error.strerror}; choose another [control] socket") from error
        self._acceptor.start()

    def close(self) -> None:
        """Answer no more, and leave the place. May be called twice, and before ``start``."""
        if self._lock_fd < 0:
            return
        self._closing.set()
        if self._listener is not None:
            self._path.unlink(missing_ok=True)
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes `accept`, which `close` does not
            self._acceptor.join()
            self._listener.close()
        with self._guard:
            connections = dict(self._open)
        for connection in connections:
            with contextlib.suppress(OSError):  # it may have ended by itself
                connection.shutdown(socket.SHUT_RD)
        for thread in connections.values():
            thread.join(timeout=1.0)
        os.close(self._lock_fd)
        self._lock_fd = -1

    def _accept_all(self) -> None:
        assert self._listener is not None  # noqa: S101  `start` made it
        while not self._closing.is_set():
            try:
                connection, _ = self._listener.accept()
                self._admit(connection)
            except (OSError, RuntimeError) as error:  # shut down; or the machine has no descriptor or thread to give
                if not self._closing.wait(RETRY_S):
                    log.warning("control socket: a connection cannot be taken: %s", error)

    def _admit(self, connection: socket.socket) -> None:
        """Give a connection a thread of its own, or send it away. Raises RuntimeError."""
        if not self._places.acquire(blocking=False):
            _send(connection, Reply(ok=False, error=f"{MAX_CONNECTIONS} connections are open; try again later"))
            connection.close()
            return
        thread = threading.Thread(target=self._serve, args=(connection,), name="pitcore-control-peer", daemon=True)
        with self._guard:
            self._open[connection] = thread
        try:
            thread.start()
        except RuntimeError:
            self._dismiss(connection)
            raise

    def _dismiss(self, connection: socket.socket) -> None:
        connection.close()
        with self._guard:
            self._open.pop(connection, None)
        self._places.release()

    def _serve(self, connection: socket.socket) -> None:
        """Answer one connection until it ends, says too much, or nothing for too long."""
        try:
            peer, buffer = Peer.of(connection), b""
            while (found := _read_line(connection, buffer)) is not None:
                line, buffer = found
                if not _send(connection, self._answer(line, peer)):
                    return
        except ControlError as error:
            log.info("control socket: %s", error)
        except OSError as error:
            log.info("control socket: a connection broke: %s", error)
        finally:
            self._dismiss(connection)

    def _answer(self, line: bytes, peer: Peer) -> Reply:
        try:
            request = protocol.decode_request(line)
            command = self._commands.get(request.command)
            if command is not None:
                return Reply(ok=True, result=msgspec.to_builtins(command(request.args, peer)))
            known = ", ".join(sorted(self._commands))
            return Reply(ok=False, error=f"no command `{request.command}`; there are {known}")
        except PitcoreError as error:
            return Reply(ok=False, error=str(error))
        except Exception as error:  # a fault of ours in one command must not end control of the service
            log.exception("control socket: a command failed")
            return Reply(ok=False, error=f"a fault of pitcore's: {type(error).__name__}; its log has the traceback")


def _claim(path: Path) -> int:
    """Take the place: hold the lock beside the socket, for as long as the process lives. Raises ControlError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(protocol.lock_path(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, MODE)
    except OSError as error:
        raise ControlError(
            f"{path}: {error.strerror}; run the service as who may write there, or choose another [control] socket"
        ) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(fd, 0)
        os.write(fd, b"%d\n" % os.getpid())
    except OSError as error:
        other = os.pread(fd, 32, 0).decode(errors="replace").strip()
        os.close(fd)
        if isinstance(error, BlockingIOError):
            raise ControlError(
                f"{path}: another service runs here (process {other or 'unknown'}); stop it first, or give this one a "
                "[control] socket of its own"
            ) from error
        raise ControlError(f"{path}: {error.strerror}; choose another [control] socket") from error
    return fd


def _listen(path: Path) -> socket.socket:
    """Make the socket; whoever held the lock before is dead, so what it left may go. Raises OSError, ControlError."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise ControlError(f"{path}: this is no socket, and stays; choose another [control] socket")
        path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        path.chmod(MODE)  # before `listen`: nobody can connect under another mode
        listener.listen(MAX_CONNECTIONS)
    except OSError:
        listener.close()
        raise
    return listener


def _read_line(connection: socket.socket, buffer: bytes) -> tuple[bytes, bytes] | None:
    """Read one line. Returns it and what came after it, or None at the end.

    Raises:
        ControlError: it is too long, or did not come in time.
        OSError: the connection broke.
    """
    deadline = time.monotonic() + REQUEST_S
    while b"\n" not in buffer:
        if len(buffer) > MAX_REQUEST_BYTES:
            _send(connection, Reply(ok=False, error=f"a request has at most {MAX_REQUEST_BYTES} bytes"))
            raise ControlError(f"a request of more than {MAX_REQUEST_BYTES} bytes; connection closed")
        connection.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            piece = connection.recv(4096)
        except TimeoutError as error:
            raise ControlError(f"no whole request within {REQUEST_S:g} s; connection closed") from error
        if not piece:
            return None
        buffer += piece
    line, _, rest = buffer.partition(b"\n")
    return line, rest


def _send(connection: socket.socket, reply: Reply) -> bool:
    """Send an answer; False if the other end does not take it."""
    connection.settimeout(REQUEST_S)
    try:
        connection.sendall(protocol.encode(reply))
    except OSError:
        return False
    return True
