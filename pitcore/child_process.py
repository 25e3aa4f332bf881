"""Starts a child process of the service, with the service's modules, a socket and shared memory."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

TO_THE_SERVICE = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # the service acts on them; a child ignores them


def start_child(
    module: str, memory_fd: int, *, idle: bool | None = None
) -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """Start ``main`` of a module in a new process.

    The child gets ``sys.path`` as JSON (the Debian package has its own place for the modules), the number of its end of
    the socket and ``memory_fd``. The signals of the service are blocked until it ignores them.

    Args:
        module: has ``main``.
        memory_fd: descriptor of the shared memory.
        idle: see ``step_back``, which the child calls before it imports the module, because imports take a core for a
            second or more and start threads; None keeps the priority of the service.

    Returns:
        Our end of the socket (SOCK_SEQPACKET), and the process.

    Raises:
        OSError: it cannot be started.
    """
    run = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    if idle is not None:
        run += f"from pitcore.child_process import step_back; step_back(idle={idle}); "
    run += f"from {module} import main; main()"
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, "-I", "-c", run, json.dumps(sys.path), str(theirs.fileno()), str(memory_fd)]
    before = signal.pthread_sigmask(signal.SIG_BLOCK, TO_THE_SERVICE)
    try:
        handed = (theirs.fileno(), memory_fd)
        process = subprocess.Popen(command, pass_fds=handed, stdin=subprocess.DEVNULL)  # noqa: S603  our own
    except OSError:
        ours.close()
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
    return ours, process


def begin_child() -> tuple[socket.socket, int]:
    """Begin a process that ``start_child`` started: ignore the service's signals, log to standard error.

    Returns:
        The child's end of the socket, and the file descriptor of the memory.
    """
    for number in TO_THE_SERVICE:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, TO_THE_SERVICE)  # ``start_child`` blocked them until now
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    return socket.socket(fileno=int(sys.argv[2])), int(sys.argv[3])


def first_message(connection: socket.socket, max_bytes: int) -> bytes:
    """Return the first message of the service.

    Raises:
        SystemExit: the service ended before it sent one, so there is nothing to do and nobody to tell.
    """
    raw = b""
    with suppress(ConnectionError):
        raw = connection.recv(max_bytes)
    if not raw:
        raise SystemExit
    return raw


def step_back(*, idle: bool) -> None:
    """Let the inspection go first: for the processor, and when memory is short. One may be refused, and the other done.

    Args:
        idle: take a core only while no other thread of the service wants it (SCHED_IDLE), else with a low priority.
            Neither counts against other services, between which Linux divides the cores first (sched(7), autogroup).
    """
    with suppress(OSError):
        if idle:
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        else:
            os.setpriority(os.PRIO_PROCESS, 0, 10)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("800" if idle else "500", encoding="ascii")
