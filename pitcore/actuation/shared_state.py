"""Holds the memory that the service and its valve process share.

Every cell has one writer. A cell is one aligned 64-bit word, so it is read whole or not at all.
"""

from __future__ import annotations

import mmap
import os

from pitcore.actuation.actuator import COUNTED
from pitcore.belt.encoder import TickHistory

# The service writes armed, belt_start_ns and test_asked (256 * number of the test + lane). The valve process writes the
# others: test_result (256 * number of the test + a TestResult), alive_ns (in every turn), read_ns (every edge before it
# is in the history), open (the valves that are driven open), and the counters.
CELLS = (
    *("armed", "belt_start_ns", "alive_ns", "read_ns", "open", "wake_late_us", "let_through", "driven", "dry_run"),
    *("test_asked", "test_result"),
    *COUNTED,
)
HISTORY_STEPS = 1 << 16


class ValveBoard:
    """The shared memory, mapped.

    Args:
        fd: descriptor of a memfd of ``size()`` bytes; it stays open.

    Attributes:
        history: history of the encoder; the valve process appends to it.
    """

    def __init__(self, fd: int) -> None:
        self._memory = mmap.mmap(fd, self.size())
        view = memoryview(self._memory)
        self._cells = view[: 8 * len(CELLS)].cast("q")
        self.history = TickHistory(HISTORY_STEPS, view[8 * len(CELLS) :])
        self._places = {name: place for place, name in enumerate(CELLS)}
        view.release()

    @staticmethod
    def size() -> int:
        """Return the size of the shared memory in bytes."""
        return 8 * len(CELLS) + TickHistory.bytes_for(HISTORY_STEPS)

    @classmethod
    def create(cls) -> tuple[ValveBoard, int]:
        """Create zeroed shared memory. Return it with its descriptor, which another process may inherit."""
        fd = os.memfd_create("pitcore-valves")
        os.ftruncate(fd, cls.size())
        return cls(fd), fd

    def get(self, name: str) -> int:
        """Read a cell."""
        return self._cells[self._places[name]]

    def set(self, name: str, value: int) -> None:
        """Write a cell."""
        self._cells[self._places[name]] = value

    def counts(self) -> dict[str, int]:
        """Return every counter of the actuator by name."""
        return {name: self.get(name) for name in COUNTED}
