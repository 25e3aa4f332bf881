"""Is the line still what it was? Compares the cherries that come now with those that came in the last weeks.

Of each block of 100 single cherries the means of a few figures are taken: probability of a pit, size, brightness of
each plane, and the share of each verdict. Each runs through a two-sided CUSUM: E. S. Page, "Continuous inspection
schemes", Biometrika 41, 1954; in tabular form as in D. C. Montgomery, "Introduction to statistical quality control",
chapter 9. The spread of a block's mean is measured between blocks, days included, and is never taken for less than
that of independent cherries: what comes in loads is no drift. This module keeps numbers; ``drift_memory`` keeps the
file.
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
# In spreads of a block's mean. With SLACK = 1 and BOUND = 9 a figure that only scatters passes the bound once in 3e8
# blocks (D. Siegmund, "Sequential analysis", 1985: (exp(2 k b) - 2 k b - 1) / (2 k^2) with b = BOUND + 1.166).
SLACK, BOUND = 1.0, 9.0
CEILING = 1.5 * BOUND  # no sum grows beyond, so that an alarm ends soon after its cause
LARGEST = 6.0  # one block counts as no more: it takes two to raise an alarm
NOW = 2  # blocks in the figure that is told
MOST_TOLD = 3
Item = tuple[Shape, Judgement]
SHARES = ("clean", "maybe", "pit")


class Tally(msgspec.Struct):
    """Sums over blocks, from which the usual level of each figure and its spread are made.

    Attributes:
        date: UTC, ISO 8601; empty where no day is meant.
        blocks: so many.
        total, squares: of the blocks' means, one for each figure.
        within: of the variances inside a block.
    """

    date: str
    blocks: int
    total: list[float]
    squares: list[float]
    within: list[float]

    @classmethod
    def empty(cls, figures: int, date: str = "") -> Tally:
        """Return one without a block."""
        return cls(date, 0, [0.0] * figures, [0.0] * figures, [0.0] * figures)

    def add(self, means: NDArray[np.float64], variances: NDArray[np.float64]) -> None:
        """Take one block: (F,) means and variances."""
        self.blocks += 1
        self.total = (np.asarray(self.total) + means).tolist()
        self.squares = (np.asarray(self.squares) + means * means).tolist()
        self.within = (np.asarray(self.within) + variances).tolist()


class Usual(msgspec.Struct, frozen=True):
    """What is usual: (F,) mean of each figure, and the spread of a block's mean around it."""

    mean: NDArray[np.float64]
    spread: NDArray[np.float64]

    @classmethod
    def of(cls, tallies: Sequence[Tally], least: NDArray[np.float64]) -> Usual:
        """Join tallies.

        Args:
            tallies: together at least one block.
            least: (F,) spread that is assumed at least.
        """
        blocks = sum(one.blocks for one in tallies)
        mean, squares, within = (
            np.sum([getattr(one, key) for one in tallies], axis=0) / blocks for key in ("total", "squares", "within")
        )
        variance = np.maximum(squares - mean * mean, within / BLOCK)
        return cls(mean, np.maximum(np.sqrt(variance), least))


class DriftState(msgspec.Struct, frozen=True):
    """What outlives a restart.

    Attributes:
        key: of model, thresholds and calibration; under another one the figures mean something else.
        figures: their names, in order.
        first: the first blocks, which count as usual until a day is over.
        days: finished ones, the oldest first.
        today: the day in hand.
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
        name: which.
        now: its mean over the last 200 cherries; None before the first block.
        usual: its mean before; None while it is learned.
        sum_up, sum_down: the CUSUM each way; above 9 the alarm comes on.
    """

    name: str
    now: float | None
    usual: float | None
    sum_up: float
    sum_down: float


class DriftCheck:
    """Follows the figures of the cherries; one for a run, one thread, but for ``figures``.

    Args:
        planes: their names.
        key: of model, thresholds and calibration.
        rules: of the configuration.
        card: gets every block too; None where the model's card has no reference.
        today: returns the date, UTC; None where nothing is kept, and no day ends.
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
        # Spread of a block's mean at least: probability and shares, px of area, grey levels.
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
        """What is to outlive a restart."""
        return self._state

    def restore(self, state: DriftState | None) -> None:
        """Take up what was kept, if it is of the same model, thresholds and calibration."""
        if state is not None and (state.key, state.figures) == (self._key, self.names):
            self._state = state
            self._learn()

    def go_on_from(self, before: DriftCheck) -> bool:
        """After a reload: go on where the same model, thresholds and calibration ran before; tell whether they did."""
        if (before._key, before.names) != (self._key, self.names):
            return False
        self._state, self._usual, self._sums = before._state, before._usual, before._sums
        self._recent = before._recent
        return True

    def add(self, judged: Sequence[Item], *, trusted: bool) -> None:
        """Take what was judged in a frame.

        Args:
            judged: shape and judgement of each thing that the network was asked about.
            trusted: no other alarm is on; else nothing is learned from it.
        """
        self._waiting += judged
        if len(self._waiting) >= BLOCK:
            self._rows += _rows(self._waiting)
            self._waiting = []
            if len(self._rows) >= BLOCK:
                block, self._rows = np.array(self._rows[:BLOCK]), self._rows[BLOCK:]
                self._take(block, trusted=trusted)

    def _take(self, rows: NDArray[np.float64], *, trusted: bool) -> None:
        """Take one block: (N, F)."""
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
        """Tell whether some figure left what is usual; None between the bounds, or where no block is new."""
        if not self._fresh:
            return None
        self._fresh = False
        largest = float(self._sums.max())
        return True if largest > BOUND else False if largest < BOUND / 2 else None

    def tell(self) -> str:
        """Say which figures left what is usual, by how much and which way, and what to do."""
        told = []
        usual, now = self._usual, self._now()
        assert usual is not None  # noqa: S101  it is asked only after drifted()
        assert now is not None  # noqa: S101
        over = [
            at for at in np.argsort(-self._sums.max(axis=0), kind="stable").tolist() if self._sums[:, at].max() > BOUND
        ]
        for at in over[:MOST_TOLD]:
            way = "rose" if self._sums[0, at] > self._sums[1, at] else "fell"
            change = (now[at] - usual.mean[at]) / usual.spread[at]
            told.append(
                f"{self.names[at]} {way} to {now[at]:.3g} in the last {NOW * BLOCK} cherries, usual is "
                f"{usual.mean[at]:.3g} ({change:+.1f} spreads)"
            )
        more = f" and {len(over) - MOST_TOLD} more figures" if len(over) > MOST_TOLD else ""
        return f"{'; '.join(told)}{more}; {self._advice(over)}"

    def _advice(self, over: Sequence[int]) -> str:
        if any(self.names[at].startswith("brightness") for at in over):
            return "check lamps, glass and exposure; if the fruit is another, nothing is to be done"
        return "see whether the fruit is another; if not, check focus and distance, and have a sample labelled"

    def _now(self) -> NDArray[np.float64] | None:
        recent = list(self._recent)
        mean: NDArray[np.float64] = np.mean(recent, axis=0) if recent else np.zeros(0)
        return mean if recent else None

    def figures(self) -> list[DriftFigure]:
        """Return each figure as it is now; from any thread."""
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
    """Return the figures of each thing that is one whole cherry, and of which the network gave a number."""
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
