"""Opens one valve briefly so that a person can hear it. Runs in the valve process.

A test runs only in dry run and only while the belt is stopped; arming or an edge of the encoder ends it at once. A
request while armed is refused.
"""

from __future__ import annotations

from enum import IntEnum

from pitcore.actuation.shared_state import ValveBoard

STOPPED_NS = 2_000_000_000  # time without an encoder edge after which the belt counts as stopped
OPEN_NS = 100_000_000
LANES = 256  # a request is LANES * number of the test + lane


class TestResult(IntEnum):
    """The result of a test."""

    __test__ = False  # no test of pytest's
    OPENED = 1
    BELT_MOVES = 2
    ARMED = 3


class ValveTester:
    """Carries out the request in the cell ``test_asked``.

    Args:
        board: memory shared with the service.
    """

    def __init__(self, board: ValveBoard) -> None:
        self._board = board
        self._done = board.get("test_asked")
        self._until_ns = 0
        self._edge_ns = 0

    def mask(self, now_ns: int, edge_ns: int, *, armed: bool) -> int:
        """Return the valve to open for a test now: one bit, or 0. Called in every turn.

        Args:
            now_ns: CLOCK_MONOTONIC.
            edge_ns: time of the encoder's last edge.
            armed: True if the valves act on cherries.
        """
        asked = self._board.get("test_asked")
        if asked != self._done:
            self._done = asked
            is_stopped = now_ns - edge_ns >= STOPPED_NS
            result = TestResult.ARMED if armed else TestResult.OPENED if is_stopped else TestResult.BELT_MOVES
            self._until_ns, self._edge_ns = (now_ns + OPEN_NS if result is TestResult.OPENED else 0), edge_ns
            self._board.set("test_result", asked // LANES * LANES + result)
        is_open = not armed and now_ns < self._until_ns and edge_ns == self._edge_ns
        return 1 << asked % LANES if is_open else 0
