"""Simulates a GPIO chip in memory: a belt drives its encoder lines, and it records changes of outputs.

It replaces ``gpiod.Chip``. Settings are gpiod's own, edges have time stamps and running numbers, and a buffer that is
not read in time loses its oldest edges, as the kernel's does.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import ModuleType
from typing import Any

from pitcore.actuation.lines import import_gpiod

_LEVELS = ((0, 0), (1, 0), (1, 1), (0, 1))  # levels of A and B for each tick modulo 4
Step = tuple[int, int]  # time in ns, and the tick from then on; consecutive ticks differ by 1


def steady(started_ns: Callable[[], int | None], ticks_per_s: float) -> Iterator[Step | None]:
    """Yield the steps of a belt with constant speed; yield None before it starts.

    Args:
        started_ns: returns the time of tick 0, CLOCK_MONOTONIC; None before the belt starts.
        ticks_per_s: speed of the belt.
    """
    while (start_ns := started_ns()) is None:
        yield None
    tick = 0
    while True:
        tick += 1
        yield start_ns + round(tick * 1e9 / ticks_per_s), tick


def played(started_ns: Callable[[], int | None], steps: Iterable[Sequence[int]]) -> Iterator[Step | None]:
    """Yield recorded steps, whose times count from the start of the belt; yield None before it starts."""
    while (start_ns := started_ns()) is None:
        yield None
    for t_ns, tick in steps:
        yield start_ns + t_ns, tick


class SimulatedChip:
    """Implements the part of ``gpiod.Chip`` that ``lines.Lines`` uses.

    Args:
        steps: steps of the belt, in order. None means that the belt is stopped now; after the end it stays stopped.
        clock: monotonic clock, in nanoseconds.
        sleep: waits for a number of seconds.

    Attributes:
        driven: (t_ns, offset, level) of the latest changes of outputs.
    """

    def __init__(
        self,
        steps: Iterable[Step | None],
        clock: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._steps = steps
        self._clock, self._sleep = clock, sleep
        self.driven: deque[tuple[int, int, int]] = deque(maxlen=1 << 20)
        self._levels: dict[int, int] = {}

    def request_lines(
        self,
        config: dict[Any, Any],
        consumer: str | None = None,  # noqa: ARG002  gpiod's signature
        event_buffer_size: int | None = None,
    ) -> SimulatedInputs | SimulatedOutputs:
        """Request lines: either all are inputs with edges, or all are outputs."""
        gpiod = import_gpiod()
        ((offsets, settings),) = config.items()
        if settings.direction is gpiod.line.Direction.OUTPUT:
            return SimulatedOutputs(self, offsets, settings)
        return SimulatedInputs(gpiod, offsets, iter(self._steps), event_buffer_size or 16 * len(offsets), self)

    def close(self) -> None:
        """Do nothing."""

    def now_ns(self) -> int:
        """Read the clock."""
        return self._clock()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        self._sleep(seconds)

    def level(self, offset: int) -> int:
        """Return the electrical level of an output; 0 if it was never requested."""
        return self._levels.get(offset, 0)

    def put(self, offset: int, level: int) -> None:
        """Drive an output, and record the change."""
        if self._levels.get(offset) != level:
            self._levels[offset] = level
            self.driven.append((self._clock(), offset, level))


class SimulatedOutputs:
    """A request of output lines."""

    def __init__(self, chip: SimulatedChip, offsets: Sequence[int], settings: Any) -> None:  # noqa: ANN401  gpiod.LineSettings
        self._chip, self._active_low = chip, bool(settings.active_low)
        self._held = True
        self.set_values(dict.fromkeys(offsets, settings.output_value))

    def get_values(self, lines: Any = None) -> list[Any]:  # noqa: ANN401  gpiod's signature
        """Outputs are not read back."""
        raise NotImplementedError

    def set_values(self, values: dict[int, Any]) -> None:
        """Drive lines."""
        if not self._held:
            raise ValueError("the lines were released")
        for offset, value in values.items():
            self._chip.put(offset, int(value.value) ^ int(self._active_low))

    def wait_edge_events(self, timeout: float | None = None) -> bool:  # noqa: ARG002  gpiod's signature
        """Outputs have no edges."""
        return False

    def read_edge_events(self, max_events: int | None = None) -> list[Any]:  # noqa: ARG002  gpiod's signature
        """Outputs have no edges."""
        return []

    def release(self) -> None:
        """Release the lines; they keep their level."""
        self._held = False


class SimulatedInputs:
    """A request of encoder lines: one (rising edges only) or two."""

    def __init__(
        self,
        gpiod: ModuleType,
        offsets: Sequence[int],
        steps: Iterator[Step | None],
        capacity: int,
        chip: SimulatedChip,
    ) -> None:
        self._type, self._value, self._event = gpiod.EdgeEvent.Type, gpiod.line.Value, gpiod.EdgeEvent
        self._offsets, self._steps, self._chip = tuple(offsets), steps, chip
        self._buffer: deque[Any] = deque(maxlen=capacity)  # drops the oldest edge when it is full
        self._seqno, self._line_seqno = 0, [0, 0]
        self._next: Step | None = None
        self._tick = 0
        self._ended = False

    def get_values(self, lines: Any = None) -> list[Any]:  # noqa: ANN401, ARG002  gpiod's signature
        """Return the levels of the lines."""
        return [self._value(level) for level in self._levels()[: len(self._offsets)]]

    def set_values(self, values: dict[Any, Any]) -> None:
        """Inputs are not driven."""
        raise NotImplementedError

    def wait_edge_events(self, timeout: float | None = None) -> bool:
        """Wait for an edge; see ``lines.Request``."""
        deadline_ns = self._chip.now_ns() + round((timeout or 0.0) * 1e9)
        while True:
            self._catch_up()
            now_ns = self._chip.now_ns()
            if self._buffer or now_ns >= deadline_ns:
                return bool(self._buffer)
            due_ns = deadline_ns if self._next is None else min(deadline_ns, self._next[0])
            if self._next is None and not self._ended:
                due_ns = min(due_ns, now_ns + 5_000_000)  # the belt may start
            self._chip.sleep(max(0, due_ns - now_ns) / 1e9)

    def read_edge_events(self, max_events: int | None = None) -> list[Any]:
        """Return the waiting edges."""
        self._catch_up()
        count = min(len(self._buffer), max_events or 64)
        return [self._buffer.popleft() for _ in range(count)]

    def release(self) -> None:
        """Release the lines."""
        self._ended, self._next = True, None

    def _levels(self) -> tuple[int, int]:
        return _LEVELS[self._tick % 4]

    def _catch_up(self) -> None:
        """Put every edge that has happened by now into the buffer."""
        now_ns = self._chip.now_ns()
        while not self._ended:
            if self._next is None:
                try:
                    self._next = next(self._steps)
                except StopIteration:
                    self._ended = True
                    return
            if self._next is None or self._next[0] > now_ns:
                return
            self._step_to(*self._next)
            self._next = None

    def _step_to(self, t_ns: int, tick: int) -> None:
        """Turn the encoder to a tick."""
        before, self._tick = self._levels(), tick
        after = self._levels()
        if len(self._offsets) == 1:  # a single channel gives one rising edge a tick
            self._put(t_ns, 0, rising=True)
            return
        for line in (0, 1):
            if before[line] != after[line]:
                self._put(t_ns, line, rising=bool(after[line]))

    def _put(self, t_ns: int, line: int, *, rising: bool) -> None:
        self._seqno += 1
        self._line_seqno[line] += 1
        kind = self._type.RISING_EDGE if rising else self._type.FALLING_EDGE
        self._buffer.append(self._event(kind.value, t_ns, self._offsets[line], self._seqno, self._line_seqno[line]))
