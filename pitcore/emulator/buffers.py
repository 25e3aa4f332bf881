"""Keeps the frame buffers that the emulated camera lends, as the drivers of real cameras do."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Planes = tuple[NDArray[np.uint8], ...]
POISON = 0xAA


class BufferRing:
    """Lends a fixed number of buffers; a released buffer is lent again, oldest first.

    Args:
        count: number of buffers.
        shape: (planes, height, width).
        poison: fill a buffer with 0xAA when it is released, so that code which reads it afterwards fails visibly.
    """

    def __init__(self, count: int, shape: tuple[int, int, int], *, poison: bool) -> None:
        self._buffers = [tuple(np.zeros(shape[1:], np.uint8) for _ in range(shape[0])) for _ in range(count)]
        self._free = deque(range(count))
        self._poison = poison
        self._changed = threading.Condition()

    @property
    def count(self) -> int:
        """Number of buffers, lent ones included."""
        return len(self._buffers)

    def take(self, timeout_s: float) -> tuple[Planes, Callable[[], None]] | None:
        """Wait for a free buffer.

        Returns:
            Its planes, (H, W) uint8 each, and the function that releases them; None if none is free in ``timeout_s``.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: bool(self._free), timeout_s):
                return None
            number = self._free.popleft()
        lent = [number]

        def release() -> None:
            if lent:  # a second call must not free a buffer that was lent again
                self._give_back(lent.pop())

        return self._buffers[number], release

    def _give_back(self, number: int) -> None:
        if self._poison:
            for plane in self._buffers[number]:
                plane.fill(POISON)
        with self._changed:
            self._free.append(number)
            self._changed.notify()
