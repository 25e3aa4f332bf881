"""Answers at the control socket on separate threads. The loop over the frames never waits for it.

Connections, the bytes of a request and the time to send it are bounded. An invalid request is answered by an error. A
request whose client stopped waiting is not executed. If all places are taken, the connection that was idle for
longest is closed. Some places are reserved for urgent requests. This module does not know the commands.
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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from pitcore.control import protocol
from pitcore.control.protocol import URGENT, Reply
from pitcore.control.requests import RequestReader, RequestTooLongError, is_given_up
from pitcore.errors import ControlError, PitcoreError
from pitcore.output_path import fix_of

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 8
URGENT_CONNECTIONS = 4  # more, for urgent requests only
BUSY = f"{MAX_CONNECTIONS} connections are busy; try again later"
ROOM_S = 1.0  # longest time for which a new connection waits until a closed one has ended
RETRY_S = 0.5
REQUEST_S = 10.0  # from the connection, or the last answer, to the end of the request
MODE = 0o660
ANOTHER = "choose another [control] socket"


@dataclass(frozen=True, slots=True)
class Peer:
    """The client, as named by the kernel.

    Attributes:
        pid, uid: of the process.
        user: name of that user.
        gave_up: returns whether it has stopped waiting for this answer.
    """

    pid: int
    uid: int
    user: str
    gave_up: Callable[[], bool] = lambda: False

    @classmethod
    def of(cls, connection: socket.socket) -> Peer:
        """Return the client at the other end. Raises OSError."""
        raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        pid, uid, _ = struct.unpack("3i", raw)
        try:
            return cls(pid, uid, pwd.getpwuid(uid).pw_name)
        except KeyError:
            return cls(pid, uid, f"uid {uid}")


Command = Callable[[Mapping[str, Any], Peer], Any]


@dataclass(slots=True)
class _Visit:
    """A connection's thread and its state.

    Attributes:
        urgent_only: it has one of the places for urgent requests.
        idle_since: when it began to wait for a request, by ``time.monotonic``; None while it works on one.
        leaves: it was closed to make room.
    """

    thread: threading.Thread
    urgent_only: bool
    idle_since: float | None
    leaves: bool = False


class ControlServer:
    """One service's socket. The constructor locks it; ``start`` begins to answer.

    Args:
        path: of the socket; its directory is made. A socket that a dead service left is replaced.

    Raises:
        ControlError: another service runs here, or the path cannot be used.
    """

    def __init__(self, path: Path) -> None:
        protocol.check_path(path)
        self._path = path
        self._lock_fd = _claim(path)
        self._commands: Mapping[str, Command] = {}
        self._closing = threading.Event()
        self._listener: socket.socket | None = None
        self._acceptor = threading.Thread(target=self._accept_all, name="pitcore-control", daemon=True)
        self._guard = threading.Condition()
        self._open: dict[socket.socket, _Visit] = {}

    def start(self, commands: Mapping[str, Command]) -> None:
        """Start to answer. Raises ControlError."""
        self._commands = commands
        try:
            self._listener = _listen(self._path)
        except OSError as error:
            raise ControlError(f"{self._path}: {error.strerror}; {fix_of(error, ANOTHER)}") from error
        self._acceptor.start()

    def close(self) -> None:
        """Stop answering, and release the lock. May be called twice, and before ``start``."""
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
            with contextlib.suppress(OSError):  # it may have ended already
                connection.shutdown(socket.SHUT_RD)
        for visit in connections.values():
            visit.thread.join(timeout=1.0)
        os.close(self._lock_fd)
        self._lock_fd = -1

    def _accept_all(self) -> None:
        assert self._listener is not None  # noqa: S101  `start` made it
        while not self._closing.is_set():
            try:
                connection, _ = self._listener.accept()
                self._admit(connection)
            except (OSError, RuntimeError) as error:  # shut down; or the machine has no free descriptor or thread
                if not self._closing.wait(RETRY_S):
                    log.warning("control socket: a connection cannot be taken: %s", error)

    def _admit(self, connection: socket.socket) -> None:
        """Start a thread for a connection, or refuse it. Raises RuntimeError."""
        thread = threading.Thread(target=self._serve, args=(connection,), name="pitcore-control-peer", daemon=True)
        with self._guard:
            urgent_only = self._staying() >= MAX_CONNECTIONS and not self._close_idle()
            is_room = self._guard.wait_for(lambda: len(self._open) < MAX_CONNECTIONS + URGENT_CONNECTIONS, ROOM_S)
            if is_room:
                self._open[connection] = _Visit(thread, urgent_only, time.monotonic())
        if not is_room:
            with connection, contextlib.suppress(OSError):
                _send(connection, Reply(ok=False, error=BUSY))
            return
        try:
            thread.start()
        except RuntimeError:
            self._dismiss(connection)
            raise

    def _staying(self) -> int:
        return sum(not visit.leaves for visit in self._open.values())

    def _close_idle(self) -> bool:
        """Close the connection that was idle for longest; return False if none is idle."""
        waits = [
            (visit.idle_since, number, connection)
            for number, (connection, visit) in enumerate(self._open.items())
            if visit.idle_since is not None and not visit.leaves
        ]
        if not waits:
            return False
        _, _, connection = min(waits)
        self._open[connection].leaves = True
        with contextlib.suppress(OSError):  # it may have ended already
            connection.shutdown(socket.SHUT_RD)  # requests that it has sent are answered first
        return True

    def _dismiss(self, connection: socket.socket) -> None:
        connection.close()
        with self._guard:
            self._open.pop(connection, None)
            self._guard.notify_all()

    def _serve(self, connection: socket.socket) -> None:
        """Answer one connection until it ends, sends too much, or is silent for too long."""
        visit, reader = self._open[connection], RequestReader(connection)
        try:
            peer = Peer.of(connection)
            while (line := reader.read(REQUEST_S)) is not None:
                visit.idle_since = None
                answer = self._answer(line, peer, connection, urgent_only=visit.urgent_only)
                with contextlib.suppress(BrokenPipeError):  # its client has gone; an earlier request may be urgent
                    _send(connection, answer)
                visit.idle_since = time.monotonic()
        except RequestTooLongError as error:
            log.info("control socket: %s; connection closed", error)
            with contextlib.suppress(OSError):
                _send(connection, Reply(ok=False, error=str(error)))
        except ControlError as error:
            log.info("control socket: %s", error)
        except OSError as error:
            log.info("control socket: a connection broke: %s", error)
        finally:
            self._dismiss(connection)

    def _answer(self, line: bytes, peer: Peer, connection: socket.socket, *, urgent_only: bool) -> Reply:
        try:
            request = protocol.decode_request(line)
            command, is_urgent = self._commands.get(request.command), request.command in URGENT
            if command is None:
                known = ", ".join(sorted(self._commands))
                return Reply(ok=False, error=f"no command `{request.command}`; the commands are {known}")
            if urgent_only and not is_urgent:
                return Reply(ok=False, error=BUSY)
            peer = replace(peer, gave_up=lambda: is_given_up(request, connection))
            if not is_urgent and peer.gave_up():
                log.warning("control socket: %s cancelled `%s`, so it is not carried out", peer.user, request.command)
                return Reply(ok=False, error=f"`{request.command}` was cancelled, and is not carried out")
            return Reply(ok=True, result=msgspec.to_builtins(command(request.args, peer)))
        except PitcoreError as error:
            return Reply(ok=False, error=str(error))
        except Exception as error:  # a bug in one command must not end the control server
            log.exception("control socket: a command failed")
            return Reply(ok=False, error=f"a fault of pitcore's: {type(error).__name__}; its log has the traceback")


def _claim(path: Path) -> int:
    """Lock the file beside the socket until the process ends. Raises ControlError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(protocol.lock_path(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, MODE)
    except OSError as error:
        raise ControlError(
            f"{path}: {error.strerror}; {fix_of(error, 'run the service as a user who may write there, or ' + ANOTHER)}"
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
        raise ControlError(f"{path}: {error.strerror}; {fix_of(error, ANOTHER)}") from error
    return fd


def _listen(path: Path) -> socket.socket:
    """Make the socket. The lock shows that an old socket is of a dead service. Raises OSError, ControlError."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise ControlError(f"{path}: this is not a socket, and is not replaced; {ANOTHER}")
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


def _send(connection: socket.socket, reply: Reply) -> None:
    """Send an answer. Raises OSError if the other end does not take it."""
    connection.settimeout(REQUEST_S)
    connection.sendall(protocol.encode(reply))
