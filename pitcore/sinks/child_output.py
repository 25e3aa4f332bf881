"""Runs an output whose work is done in a separate process, and starts that process again when it ends or hangs.

The loop only writes to memory that it shares with the process. A thread of the service talks to the process. Whatever
fails, the shared memory included, is a failure of this output: it is reported, tried again, and the belt is judged.
"""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass

from pitcore.child_process import start_child
from pitcore.sinks.output_state import OutputState, reason_of

log = logging.getLogger(__name__)

KILL_S = 2.0  # time for a killed process to end
UNAFFECTED = "The belt is judged without it."


@dataclass(frozen=True, slots=True)
class Child:
    """The process of an output.

    Attributes:
        section: section of the configuration; it names the thread and the shared memory.
        module: has the ``main`` of the process.
        memory_bytes: size of the shared memory.
        retry_s: time between two starts.
        end_s: time for the process to end by itself before it is killed.
        silent_s: time after which a process that owes a message hangs; it may wait long for a core.
        idle: see ``child_process.step_back``.
    """

    section: str
    module: str
    memory_bytes: int
    retry_s: float
    end_s: float
    silent_s: float
    idle: bool = False


class ChildOutput(ABC):
    """Keeps the process of an output running, from ``start_thread`` to ``close``.

    Args:
        child: the process.
    """

    def __init__(self, child: Child) -> None:
        self._child = child
        self._output_state = OutputState(child.section, child.retry_s, starting=True)
        self._closing = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._memory_fd: int | None = None
        self._heard_s = 0.0  # time of its last message, or since when it owes one
        self._has_reason = False  # the present process, or its start, has failed for a known reason
        self._thread = threading.Thread(target=self._run, name=f"pitcore-{child.section}", daemon=True)

    @abstractmethod
    def map_memory(self, fd: int) -> None:
        """Map the shared memory, once, before the first process starts. Raises OSError."""

    @abstractmethod
    def serve(self, connection: socket.socket) -> None:
        """Talk to a new process until either side ends or ``_hangs``. Runs on the thread. Raises OSError."""

    @abstractmethod
    def wake(self) -> None:
        """Make ``serve`` return soon, because the service stops. Called by ``close``."""

    def start_thread(self) -> None:
        """Start the thread, which starts the process."""
        self._thread.start()

    def close(self) -> None:
        """End the process and the thread, and release the memory. Safe to call twice."""
        if self._closing.is_set():
            return
        self._closing.set()
        self.wake()
        if self._thread.ident is not None:
            self._thread.join()
        if self._memory_fd is not None:
            os.close(self._memory_fd)

    def _run(self) -> None:
        """Run the process again and again until ``close``."""
        while not self._closing.is_set():
            self._has_reason = False
            try:
                self._run_once()
            except Exception as error:  # the belt is judged in any case, and the process is started again
                log.exception("[%s] a bug in pitcore", self._child.section)
                self._fails(f"{type(error).__name__}; the log has the traceback")
            self._closing.wait(self._child.retry_s)

    def _run_once(self) -> None:
        """Start the process, talk to it until either side ends, and end it."""
        try:
            connection = self._begin()
        except OSError as error:
            self._fails(
                f"its shared memory or its process cannot be created: {reason_of(error)}",
                "The board may be out of processes, files or memory: see TasksMax= of the unit and `pitcore doctor`.",
            )
            return
        try:
            with connection:
                self._serve_once(connection)
        finally:
            self._end()

    def _begin(self) -> socket.socket:
        """Create the memory if there is none, and start the process. Raises OSError."""
        if self._memory_fd is None:
            fd = os.memfd_create(f"pitcore-{self._child.section}")
            try:
                os.ftruncate(fd, self._child.memory_bytes)
                self.map_memory(fd)
            except BaseException:
                os.close(fd)
                raise
            self._memory_fd = fd
        connection, self._process = start_child(self._child.module, self._memory_fd, idle=self._child.idle)
        self._heard()
        return connection

    def _serve_once(self, connection: socket.socket) -> None:
        """Talk to the process until either side ends, and report why."""
        reason = "its process ended, and the log or `dmesg` says why"
        try:
            self.serve(connection)
        except (ConnectionResetError, BrokenPipeError):
            pass  # the process ended
        except OSError as error:
            reason = f"the connection to its process failed: {reason_of(error)}"
        if not self._has_reason:
            self._fails(reason)

    def _heard(self) -> None:
        """Note that the process sent a message, or owes one from now on."""
        self._heard_s = time.monotonic()

    def _hangs(self) -> bool:
        """Return whether the process owes a message for too long, and report it. ``serve`` returns then."""
        if time.monotonic() - self._heard_s <= self._child.silent_s:
            return False
        self._fails(
            f"its process said nothing for {self._child.silent_s:g} s and is ended",
            "It has a low priority, and may get no core: see `top`.",
        )
        return True

    def _end(self) -> None:
        """Let the process end; kill it if it does not."""
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(subprocess.TimeoutExpired):
            process.wait(self._child.end_s)
            return
        process.kill()
        with suppress(subprocess.TimeoutExpired):
            process.wait(KILL_S)

    def _works_again(self, message: str) -> None:
        """Report that the output works. The message is logged if it failed before."""
        self._has_reason = False
        self._output_state.works(message)

    def _fails(self, reason: str, fix: str = "") -> None:
        """Report that the output fails, unless the service stops.

        Args:
            reason: one line.
            fix: how to fix it, one sentence; empty if the reason says it.
        """
        self._has_reason = True
        if not self._closing.is_set():
            self._output_state.fails(reason, f"{UNAFFECTED} {fix}".rstrip())
