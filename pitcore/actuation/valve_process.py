"""Implements the valve process, which ``gpio`` starts.

It is a separate process because a pulse may be at most a tick late, and a Python thread can wait longer for the
interpreter. It shares memory with the service (``shared_state``) and receives messages over a socket. When the socket
closes, it fires the pulses of the next second, shuts every valve and ends. It ignores signals, which the service
handles.
"""

from __future__ import annotations

import gc
import logging
import os
import socket
from pathlib import Path

import msgspec
import numpy as np

from pitcore.actuation.actuator import Act, Actuator, JudgedFrame
from pitcore.actuation.lines import Chip, Lines, open_chip
from pitcore.actuation.shared_state import ValveBoard
from pitcore.actuation.simulated_chip import SimulatedChip, played, steady
from pitcore.actuation.valve_loop import ValveLoop
from pitcore.belt.lanes import Plan
from pitcore.child_process import begin_child, first_message
from pitcore.config import ActuationConfig
from pitcore.errors import SinkError, first_line

log = logging.getLogger("pitcore.valves")

PRIORITY = 40  # SCHED_FIFO: below the kernel's own threads (50), above all other processes of pitcore
MAX_MESSAGE_BYTES = 1 << 18


class RealChip(msgspec.Struct, frozen=True, tag="real"):
    """The board's chip of this label."""

    label: str


class SteadyChip(msgspec.Struct, frozen=True, tag="steady"):
    """A simulated chip whose belt has a constant speed from ``belt_start_ns`` of the board on."""

    ticks_per_s: float


class PlayedChip(msgspec.Struct, frozen=True, tag="played"):
    """A simulated chip whose belt makes recorded steps.

    At the end the process writes the changes of lines and its own pauses.

    Attributes:
        steps: path of a file with (N, 2) int64: nanoseconds from ``belt_start_ns`` of the board on, and tick.
        driven: path of a file to write with (M, 3) int64: t_ns, line, level.
        gaps: path of a file to write with (K, 4) int64, see ``wakeup_margin.Pause``.
    """

    steps: str
    driven: str
    gaps: str


ChipChoice = RealChip | SteadyChip | PlayedChip


class Start(msgspec.Struct, frozen=True):
    """The first message."""

    plan: Plan
    config: ActuationConfig
    chip: ChipChoice


class Work(msgspec.Struct, frozen=True, array_like=True):
    """Every other message: actions, or a judged frame."""

    acts: list[Act] = []
    judged: JudgedFrame | None = None


class Answer(msgspec.Struct, frozen=True):
    """A message of the process: that it is ready (``error`` is None), or why it ends."""

    error: str | None = None


def main() -> None:
    """Entry point. The last two arguments are the descriptors of socket and shared memory."""
    connection, memory = begin_child()
    board = ValveBoard(memory)
    try:
        start = msgspec.msgpack.decode(first_message(connection, MAX_MESSAGE_BYTES), type=Start)
        chip = _chip(start.chip, board)
        loop = ValveLoop(start.plan, start.config, Lines(chip, start.config), board)
        if isinstance(start.chip, PlayedChip):
            loop.wakeups.record_pauses(_queued_ns)
        _take_the_processor()
        _say(connection, Answer())
        loop.run(lambda actuator: _listen(connection, actuator))
        if isinstance(start.chip, PlayedChip) and isinstance(chip, SimulatedChip):
            np.save(start.chip.driven, np.asarray(list(chip.driven), np.int64).reshape(-1, 3))
            np.save(start.chip.gaps, np.asarray(list(loop.wakeups.pauses), np.int64).reshape(-1, 4))
    except SinkError as error:
        _say(connection, Answer(str(error)))
    except Exception as error:  # the service must know that it cannot reject any more
        log.critical("the valves are shut", exc_info=error)
        _say(connection, Answer(f"the valve process ended: {first_line(error)}; the valves are shut"))
        raise


def _chip(choice: ChipChoice, board: ValveBoard) -> Chip:
    """Open the chip. Raises SinkError."""
    if isinstance(choice, RealChip):
        return open_chip(choice.label)

    def started_ns() -> int | None:
        return board.get("belt_start_ns") or None

    if isinstance(choice, SteadyChip):
        return SimulatedChip(steady(started_ns, choice.ticks_per_s))
    return SimulatedChip(played(started_ns, np.load(Path(choice.steps)).tolist()))


def _queued_ns() -> int:
    """Return the total time in ns that this thread was ready to run but waited for a core.

    0 if the kernel does not count it (CONFIG_SCHED_INFO). Source: Documentation/scheduler/sched-stats.rst.
    """
    account = Path("/proc/thread-self/schedstat")
    return int(account.read_bytes().split()[1]) if account.exists() else 0


def _listen(connection: socket.socket, actuator: Actuator) -> bool:
    """Read messages of the service; return False when it ended or closed the connection."""
    while True:
        try:
            raw = connection.recv(MAX_MESSAGE_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except ConnectionError:
            return False
        if not raw:
            return False
        work = msgspec.msgpack.decode(raw, type=Work)
        actuator.take(work.acts)
        if work.judged is not None:
            actuator.judged(*work.judged)


def _say(connection: socket.socket, answer: Answer) -> None:
    try:
        connection.sendall(msgspec.msgpack.encode(answer))
    except OSError as error:  # the service is gone already
        log.warning("the service cannot be reached: %s", error)


def _take_the_processor() -> None:
    """Request a real-time priority, and disable garbage collection, which takes milliseconds."""
    gc.disable()
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    except OSError as error:
        log.warning(
            "no real-time priority, so pulses may be late on a busy board: %s; allow it with LimitRTPRIO=%d",
            error.strerror,
            PRIORITY,
        )
