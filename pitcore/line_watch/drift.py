"""Detects drift: compares the cherries that come now with those of the last weeks.

For each block of 100 single cherries it takes the means of a few figures: probability of a pit, size, brightness of
each plane, and the share of each verdict. Each figure goes through a two-sided CUSUM: E. S. Page, "Continuous
inspection schemes", Biometrika 41, 1954; in tabular form as in D. C. Montgomery, "Introduction to statistical quality
control", chapter 9. The spread of a block's mean is measured between blocks of all days, so that the differences
between loads of fruit do not count as drift; it is never less than for independent cherries. ``drift_memory`` stores
the state.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from pitcore.config import DriftConfig
from pitcore.decision.policy import Judgement, Shape
from pitcore.line_watch.card_drift import CardCheck

BLOCK = 100  # cherries
# In spreads of a block's mean. With SLACK = 1 and BOUND = 9 pure noise passes the bound once in 3e8 blocks
# (D. Siegmund, "Sequential analysis", 1985: (exp(2 k b) - 2 k b - 1) / (2 k^2) with b = BOUND + 1.166).
SLACK, BOUND = 1.0, 9.0
CEILING = 1.5 * BOUND  # largest sum, so that an alarm ends soon after its cause
LARGEST = 6.0  # largest distance of one block, so that an alarm needs at least two
NOW = 2  # blocks in the mean that is reported
MOST_REPORTED = 3  # figures in one message
Item = tuple[Shape, Judgement]
SHARES = ("clean", "maybe", "pit")


class Tally(msgspec.Struct):
    """Sums over blocks, from which the usual level of each figure and its spread are computed.

    Attributes:
        date: day, UTC, ISO 8601; empty if the sums are not of one day.
        blocks: number of blocks.
        total, squares: (F,) sums of the blocks' means and of their squares, one for each figure.
        within: (F,) sums of the variances inside a block.
    """

    date: str
    blocks: int
    total: list[float]
    squares: list[float]
    within: list[float]

    @classmethod
    def empty(cls, figures: int, date: str = "") -> Tally:
        """Return a tally of no blocks."""
        return cls(date, 0, [0.0] * figures, [0.0] * figures, [0.0] * figures)

    def add(self, means: NDArray[np.float64], variances: NDArray[np.float64]) -> None:
        """Add one block: (F,) means and variances."""
        self.blocks += 1
        self.total = (np.asarray(self.total) + means).tolist()
        self.squares = (np.asarray(self.squares) + means * means).tolist()
        self.within = (np.asarray(self.within) + variances).tolist()


class Usual(msgspec.Struct, frozen=True):
    """The usual state of the line: (F,) mean of each figure, and (F,) spread of a block's mean around it."""

    mean: NDArray[np.float64]
    spread: NDArray[np.float64]

    @classmethod
    def of(cls, tallies: Sequence[Tally], least: NDArray[np.float64]) -> Usual:
        """Compute it from tallies.

        Args:
            tallies: tallies with at least one block together.
            least: (F,) smallest spread.
        """
        blocks = sum(one.blocks for one in tallies)
        mean, squares, within = (
            np.sum([getattr(one, key) for one in tallies], axis=0) / blocks for key in ("total", "squares", "within")
        )
        variance = np.maximum(squares - mean * mean, within / BLOCK)
        return cls(mean, np.maximum(np.sqrt(variance), least))


class DriftState(msgspec.Struct, frozen=True):
    """The state that is kept across restarts.

    Attributes:
        key: identifies model, thresholds and calibration; figures under different keys cannot be compared.
        figures: names of the figures, in order.
        first: the first blocks, which count as usual until a day is over.
        days: finished days, the oldest first.
        today: the current day.
    """

    key: str
    figures: list[str]
    first: Tally
    days: list[Tally]
    today: Tally
    schema: str = "pitcore.drift/1"


class DriftFigure(msgspec.Struct, frozen=True):
    """One figure, for people and monitors.

    Attributes:
        name: name of the figure.
        now: its mean over the last 200 cherries; None before the first block.
        usual: its usual mean; None while it is being learned.
        sum_up, sum_down: the CUSUM in each direction; the alarm comes on above 9.
    """

    name: str
    now: float | None
    usual: float | None
    sum_up: float
    sum_down: float


class DriftCheck:
    """Follows the figures of the cherries. Other threads may call only ``figures``.

    Args:
        planes: names of the planes.
        key: identifies model, thresholds and calibration.
        rules: ``[drift]`` of the configuration.
        card: gets every block too; None if the model's card has no reference.
        today: returns the date, UTC, ISO 8601; None if nothing is kept, so that no day ends.
    """

    def __init__(
        self,
        planes: Sequence[str],
        key: str,
        rules: DriftConfig,
        card: CardCheck | None = None,
        today: Callable[[], str] | None = None,
    ) -> None:
        self.names = ["pit probability", "size", *(f"brightness of plane {name}" for name in planes)]
        self.names += [f"share of {name}" for name in SHARES]
        self._key, self._keep_days, self._today, self.card = key, rules.days, today, card
        self._learn_blocks = -(-rules.learn_cherries // BLOCK)
        # Smallest spread of a block's mean: probability and shares, px of area, grey levels.
        self._least = np.array([0.02, 10.0, *[0.5] * len(planes), *[0.02] * len(SHARES)])
        figures = len(self.names)
        self._state = DriftState(key, self.names, Tally.empty(figures), [], Tally.empty(figures, self._date()))
        self._usual: Usual | None = None
        self._sums = np.zeros((2, figures))  # up, down
        self._waiting: list[Item] = []
        self._rows: list[tuple[float, ...]] = []
        self._recent: deque[NDArray[np.float64]] = deque(maxlen=NOW)
        self._fresh = False

    def _date(self) -> str:
        return "" if self._today is None else self._today()

    @property
    def state(self) -> DriftState:
        """The state to keep across restarts."""
        return self._state

    def restore(self, state: DriftState | None) -> None:
        """Restore a kept state if it belongs to the same model, thresholds and calibration; ignore it otherwise."""
        if state is not None and (state.key, state.figures) == (self._key, self.names):
            self._state = state
            self._learn()

    def continue_from(self, before: DriftCheck) -> bool:
        """Take over the state of the check before a reload if model, thresholds and calibration are unchanged.

        Returns:
            True if they are unchanged.
        """
        if (before._key, before.names) != (self._key, self.names):
            return False
        self._state, self._usual, self._sums = before._state, before._usual, before._sums
        self._recent = before._recent
        return True

    def add(self, judged: Sequence[Item], *, trusted: bool) -> None:
        """Take the judgements of a frame.

        Args:
            judged: shape and judgement of each thing that the network judged.
            trusted: True if no other alarm is on; otherwise nothing is learned from the frame.
        """
        self._waiting += judged
        if len(self._waiting) >= BLOCK:
            self._rows += _rows(self._waiting)
            self._waiting = []
            while len(self._rows) >= BLOCK:
                block, self._rows = np.array(self._rows[:BLOCK]), self._rows[BLOCK:]
                self._take(block, trusted=trusted)

    def _take(self, rows: NDArray[np.float64], *, trusted: bool) -> None:
        """Take one block: (100, F) figures of its cherries."""
        if self.card is not None:
            self.card.add(rows)
        means, variances = rows.mean(axis=0), rows.var(axis=0)
        self._recent.append(means)
        if self._usual is not None:
            distance = np.clip((means - self._usual.mean) / self._usual.spread, -LARGEST, LARGEST)
            self._sums = np.clip(self._sums + np.stack([distance, -distance]) - SLACK, 0.0, CEILING)
            self._fresh = True
        if trusted:
            self._keep(means, variances)

    def _keep(self, means: NDArray[np.float64], variances: NDArray[np.float64]) -> None:
        state = self._state
        if state.today.date != self._date():
            days = [*state.days, state.today] if state.today.blocks >= self._learn_blocks else state.days
            today = Tally.empty(len(self.names), self._date())
            self._state = msgspec.structs.replace(state, days=days[-self._keep_days :], today=today)
            self._learn()
        self._state.today.add(means, variances)
        if self._state.first.blocks < self._learn_blocks:
            self._state.first.add(means, variances)
            self._learn()

    def _learn(self) -> None:
        state = self._state
        known = state.days or ([state.first] if state.first.blocks >= self._learn_blocks else [])
        self._usual = Usual.of(known, self._least) if known else None

    def drifted(self) -> bool | None:
        """Return True if some figure left its usual range; None between the bounds or if there is no new block."""
        if not self._fresh:
            return None
        self._fresh = False
        largest = float(self._sums.max())
        return True if largest > BOUND else False if largest < BOUND / 2 else None

    def describe(self) -> str:
        """Return which figures left their usual range, by how much and in which direction, and what to do."""
        changes = []
        usual, now = self._usual, self._now()
        assert usual is not None  # noqa: S101  called only after drifted()
        assert now is not None  # noqa: S101
        over = [
            at for at in np.argsort(-self._sums.max(axis=0), kind="stable").tolist() if self._sums[:, at].max() > BOUND
        ]
        for at in over[:MOST_REPORTED]:
            way = "rose" if self._sums[0, at] > self._sums[1, at] else "fell"
            change = (now[at] - usual.mean[at]) / usual.spread[at]
            changes.append(
                f"{self.names[at]} {way} to {now[at]:.3g} in the last {NOW * BLOCK} cherries, usual is "
                f"{usual.mean[at]:.3g} ({change:+z.1f} spreads)"
            )
        more = f" and {len(over) - MOST_REPORTED} more figures" if len(over) > MOST_REPORTED else ""
        return f"{'; '.join(changes)}{more}; {self._advice(over)}"

    def _advice(self, over: Sequence[int]) -> str:
        if any(self.names[at].startswith("brightness") for at in over):
            return "check lamps, glass and exposure; if the kind of fruit changed, do nothing"
        return "see whether the kind of fruit changed; if not, check focus and distance, and have a sample labelled"

    def _now(self) -> NDArray[np.float64] | None:
        recent = list(self._recent)
        mean: NDArray[np.float64] = np.mean(recent, axis=0) if recent else np.zeros(0)
        return mean if recent else None

    def figures(self) -> list[DriftFigure]:
        """Return the current state of each figure. Callable from any thread."""
        usual, now, sums = self._usual, self._now(), self._sums
        return [
            DriftFigure(
                name,
                None if now is None else round(float(now[at]), 4),
                None if usual is None else round(float(usual.mean[at]), 4),
                round(float(sums[0, at]), 2),
                round(float(sums[1, at]), 2),
            )
            for at, name in enumerate(self.names)
        ]


def _rows(items: Sequence[Item]) -> list[tuple[float, ...]]:
    """Return the figures of each single whole cherry for which the network gave a finite probability."""
    return [
        (
            judged.probabilities["pit"],
            shape.area_px,
            *shape.plane_means,
            judged.verdict == "clean",
            judged.verdict == "maybe",
            judged.verdict == "pit",
        )
        for shape, judged in items
        if judged.probabilities is not None
        and (judged.reason is None or judged.reason == "uncertain")
        and math.isfinite(judged.probabilities["pit"])
    ]
