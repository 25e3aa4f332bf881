"""Threads that run the pieces of one batch side by side.

ONNX Runtime splits a layer over its threads, and the layers of a small network are too short for that. Here each
thread takes a whole piece of the batch, runs the network on it alone, and takes the next piece. A thread whose core is
busy with another program takes fewer pieces, and the others take more.

Every thread flushes subnormal numbers to zero for as long as it lives.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from pitcore.preprocess._core import FlushToZero

Task = Callable[[int], None]
_LIBC = ctypes.CDLL(None)  # Python 3.11 has no sched_getcpu
# Of a call of the network, in crops. Measured: 0.15 on an x86 core (24 crops in calls of 1 and of 12), 0.02 by the
# instructions of an Arm core. More is assumed, since every call reads the weights and all workers share one memory.
CALL_COST = 0.25


def piece_size(count: int, workers: int, most: int) -> int:
    """Return how many crops make a piece: the size with which the worker that ends last ends soonest.

    Of 16 crops, three workers with pieces of 4 judge 8, 4 and 4; with pieces of 3 they judge 6, 6 and 4.

    Args:
        count: crops to judge.
        workers: that share them.
        most: crops in a piece at most. Of sizes that are equally good the largest is taken.
    """

    def end_of_last(size: int) -> float:
        whole, rest = divmod(count, size)
        alone = rest if whole % workers == 0 else 0  # else the rest goes to a worker that has one piece fewer
        calls = -(-whole // workers)
        return calls * (size + CALL_COST) + (alone + CALL_COST if alone else 0.0)

    return min(range(most, 0, -1), key=end_of_last)


class Crew:
    """The caller's thread and ``size - 1`` more that wait for work.

    Args:
        size: number of threads that work, the caller's included; at least 1.
    """

    def __init__(self, size: int) -> None:
        self._orders: list[queue.SimpleQueue[_Order | None]] = [queue.SimpleQueue() for _ in range(size - 1)]
        self._threads = [
            threading.Thread(target=_work, args=(orders,), name=f"pitcore-infer-{number}", daemon=True)
            for number, orders in enumerate(self._orders, start=1)
        ]
        for thread in self._threads:
            thread.start()
        self._cores = os.sched_getaffinity(0)
        self._left_out = -1  # the core that the workers leave to the caller

    def run(self, task: Task, pieces: int) -> None:
        """Call ``task`` once for each piece, from whichever thread is free, and return when all are done.

        Args:
            task: gets the number of a piece. Calls for different pieces run at the same time.
            pieces: how many there are.

        Raises:
            Exception: one that a call raised, after every thread has stopped.
        """
        order = _Order(task, pieces)
        helpers = self._orders[: pieces - 1]  # one piece needs no help
        if helpers:
            self._leave_core_to_caller()
        for orders in helpers:
            orders.put(order)
        with FlushToZero():
            order.take_pieces()
        for _ in helpers:
            order.finished.get()
        if order.failure is not None:
            raise order.failure

    def _leave_core_to_caller(self) -> None:
        """Keep the workers off the core on which the caller runs.

        Linux wakes a thread on the core of the one that wakes it unless it sees an idle core with the same cache. Where
        no cores share a cache (many virtual machines), both would take turns on one core for milliseconds.
        """
        core = _LIBC.sched_getcpu()
        others = self._cores - {core}
        if core == self._left_out or not others:
            return
        self._left_out = core
        with suppress(OSError):  # the process was confined to other cores since: the workers go where they may
            for thread in self._threads:
                if thread.native_id is not None:
                    os.sched_setaffinity(thread.native_id, others)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the threads. The crew must not be used again."""
        for orders in self._orders:
            orders.put(None)


class _Order:
    """One batch: its pieces are handed out one at a time."""

    def __init__(self, task: Task, pieces: int) -> None:
        self._task, self._pieces = task, pieces
        self._next = itertools.count()  # next() on it is one step of the interpreter, so no piece is taken twice
        self.finished: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.failure: Exception | None = None

    def take_pieces(self) -> None:
        """Do pieces until none is left, or one failed."""
        try:
            while (piece := next(self._next)) < self._pieces and self.failure is None:
                self._task(piece)
        except Exception as error:  # noqa: BLE001  it is raised again in the caller's thread
            self.failure = error


def _work(orders: queue.SimpleQueue[_Order | None]) -> None:
    with FlushToZero():
        while (order := orders.get()) is not None:
            order.take_pieces()
            order.finished.put(None)
            del order  # it holds the batch
