"""Counts the edges of the belt's encoder, and gives the count at any moment of the last seconds.

Pure: edges are passed in. Count and camera share CLOCK_MONOTONIC, so a frame's tick is the count at its mid-exposure
(``tick_at``).
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

SPEED_NS = 20_000_000  # the speed is that of the steps of this last time


class Encoder(Protocol):
    """Returns the position of the belt. Safe to call from any thread."""

    def tick_at(self, t_ns: int) -> int:
        """Return the encoder count at a moment.

        Args:
            t_ns: CLOCK_MONOTONIC in nanoseconds. Later than the newest edge gives the newest count, earlier than
                the oldest known one the oldest.
        """
        ...


class Edge(NamedTuple):
    """One edge of an encoder line.

    Attributes:
        t_ns: the kernel's time stamp, CLOCK_MONOTONIC.
        line: 0 for A, 1 for B.
        rising: the level after it is high.
        seqno: running number over both lines, as the kernel counts; a gap means that its buffer overflowed.
    """

    t_ns: int
    line: int
    rising: bool
    seqno: int


class Decoder(Protocol):
    """Counts edges.

    Attributes:
        tick: the count.
        lost: edges that the kernel's buffer lost; they are counted by their numbers.
        glitches: edges to a level that the line already had: a disturbance, or the edge between was too short.
    """

    tick: int
    lost: int
    glitches: int

    def feed(self, edge: Edge) -> int:
        """Take the next edge and return the count after it."""
        ...


class SingleDecoder:
    """Decodes one channel: each rising edge is a step forward. It cannot detect a belt that runs backwards."""

    def __init__(self) -> None:
        self.tick = 0
        self.lost = 0
        self.glitches = 0
        self._seqno: int | None = None

    def feed(self, edge: Edge) -> int:
        """Take the next edge and return the count after it."""
        if self._seqno is not None and edge.seqno > self._seqno + 1:
            gap = edge.seqno - self._seqno - 1
            self.lost += gap
            self.tick += gap
        self._seqno = edge.seqno
        if edge.rising:
            self.tick += 1
        else:  # only rising edges are asked for
            self.glitches += 1
        return self.tick


_PHASE_OF = {(0, 0): 0, (1, 0): 1, (1, 1): 2, (0, 1): 3}  # (A, B); A leads when the belt runs forward
_LEVELS_OF = {phase: levels for levels, phase in _PHASE_OF.items()}


class QuadratureDecoder:
    """Decodes two channels, four steps a period: forward while A leads B, backward while B leads.

    Args:
        a, b: levels of the lines at the start.
        reverse: B leads when the belt runs forward.
    """

    def __init__(self, a: int = 0, b: int = 0, *, reverse: bool = False) -> None:
        self.tick = 0
        self.lost = 0
        self.glitches = 0
        self._levels = [int(a), int(b)]
        self._sign = -1 if reverse else 1
        self._direction = 1  # of the last step, as A leads B
        self._seqno: int | None = None

    def feed(self, edge: Edge) -> int:
        """Take the next edge and return the count after it."""
        if self._seqno is not None and edge.seqno > self._seqno + 1:
            self._step_over(edge.seqno - self._seqno - 1, edge)
        self._seqno = edge.seqno
        levels = self._levels
        level = int(edge.rising)
        if levels[edge.line] == level:
            self.glitches += 1
            return self.tick
        levels[edge.line] = level
        # After an edge of A the belt runs forward if the levels differ, after one of B if they are equal.
        self._direction = 1 if (levels[0] != levels[1]) == (edge.line == 0) else -1
        self.tick += self._direction * self._sign
        return self.tick

    def _step_over(self, gap: int, edge: Edge) -> None:
        """Count lost edges as steps in the direction of the last one.

        If the next edge does not fit, the belt turned during the lost edges: the count is then two steps less. So one
        lost edge is always counted right. Several are counted right unless the belt turned twice or far inside them.
        """
        self.lost += gap
        steps = gap * self._direction
        phase = _PHASE_OF[self._levels[0], self._levels[1]]
        if _LEVELS_OF[(phase + steps) % 4][edge.line] == int(edge.rising):
            steps -= 2 * self._direction
        self.tick += steps * self._sign
        self._levels[:] = _LEVELS_OF[(phase + steps) % 4]


class TickHistory:
    """Stores the last steps of the encoder. One thread or process appends, any may read; no lock is needed.

    Args:
        capacity: steps to remember, a power of two; the default is 4.8 s at the reference load's 13,600 ticks a second.
        memory: ``bytes_for(capacity)`` zeroed bytes to keep them in, for instance shared with another process.
    """

    def __init__(self, capacity: int = 1 << 16, memory: memoryview | None = None) -> None:
        if capacity & (capacity - 1) or capacity < 4:
            raise ValueError(f"capacity = {capacity}: must be a power of two, at least 4")
        words = (memory or memoryview(bytearray(self.bytes_for(capacity)))).cast("q")
        self._mask = capacity - 1
        self._count, self._t_ns, self._ticks = words[:1], words[1 : capacity + 1], words[capacity + 1 :]
        # The oldest eighth may be overwritten while a reader searches, so readers leave it alone.
        self._readable = capacity - capacity // 8

    @staticmethod
    def bytes_for(capacity: int) -> int:
        """Return the bytes of memory that a history needs."""
        return 8 * (1 + 2 * capacity)

    @property
    def tick(self) -> int:
        """Return the newest count; 0 before the first edge."""
        return self.newest[1]

    @property
    def newest(self) -> tuple[int, int]:
        """Return time and count of the newest step; zeros before the first. Both are of the same step."""
        count = self._count[0]
        newest = (count - 1) & self._mask
        return (self._t_ns[newest], self._ticks[newest]) if count else (0, 0)

    @property
    def t_ns(self) -> int:
        """Return the time of the newest step; 0 before the first."""
        return self.newest[0]

    def append(self, t_ns: int, tick: int) -> None:
        """Record a step. Times must not fall."""
        count = self._count[0]
        self._t_ns[count & self._mask] = t_ns
        self._ticks[count & self._mask] = tick
        self._count[0] = count + 1  # last: a reader that sees the number finds the step

    def tick_at(self, t_ns: int) -> int:
        """Return the count at a moment; see ``Encoder``."""
        step = self.step_at(t_ns)
        return 0 if step < 0 else self._ticks[step & self._mask]

    def step_at(self, t_ns: int, since: int = -1) -> int:
        """Return the number of the newest step at or before a moment; -1 before the first.

        Args:
            t_ns: CLOCK_MONOTONIC. Before the oldest known step gives that step.
            since: the answer for an earlier moment, from which the search begins; -1 searches everything.
        """
        count = self._count[0]
        oldest = max(0, count - self._readable)
        low, high = max(oldest, since + 1), count  # the first later step is in low..high
        stride = 1
        while since >= 0 and low + stride <= count and self._t_ns[(low + stride - 1) & self._mask] <= t_ns:
            low += stride
            stride *= 2
        if since >= 0:
            high = min(count, low + stride)
        while low < high:
            middle = (low + high) // 2
            if self._t_ns[middle & self._mask] <= t_ns:
                low = middle + 1
            else:
                high = middle
        return max(low - 1, oldest) if low else -1

    def place_at(self, step: int, t_ns: int) -> float:
        """Return the position at a moment, for which ``step_at`` gave a step: between two steps a part of the way."""
        if step < 0:
            return 0.0
        tick, since_ns = self._ticks[step & self._mask], self._t_ns[step & self._mask]
        if step + 1 >= self._count[0]:
            return float(tick)
        then, then_ns = self._ticks[(step + 1) & self._mask], self._t_ns[(step + 1) & self._mask]
        return tick + (then - tick) * (t_ns - since_ns) / (then_ns - since_ns) if since_ns < t_ns < then_ns else tick

    def ticks_per_s(self, now_ns: int, steps: int = 32) -> float:
        """Return the speed over the last steps; it falls towards 0 without new steps. Negative: backwards.

        At most the steps of the last ``SPEED_NS`` count, so that a pause before them does not, but at least one does.
        """
        count = self._count[0]
        back = min(steps, count - 1, self._readable - 1)
        if back < 1:
            return 0.0
        newest = (count - 1) & self._mask
        until_ns = max(now_ns, self._t_ns[newest])
        while back > 1 and until_ns - self._t_ns[(count - 1 - back) & self._mask] > SPEED_NS:
            back //= 2
        then = (count - 1 - back) & self._mask
        span_ns = until_ns - self._t_ns[then]
        return (self._ticks[newest] - self._ticks[then]) * 1e9 / span_ns if span_ns > 0 else 0.0
