"""Does a model on trial stop as many cherries as the model before it? Rules only.

A better model turns doubt into clean. It does not turn pits into clean. So the new model must still stop half of the
share that the model before called ``maybe``, and nine tenths of the share that it called ``pit``. The rest is left to
the fruit, which differs from one minute to the next.
"""

from __future__ import annotations

import math
from typing import Annotated

import msgspec
from msgspec import Meta

_Count = Annotated[int, Meta(ge=0)]

STILL_STOPPED = {"maybe": 0.5, "pit": 0.9}  # shares of what the model before stopped
# Where no model before is known. The bundled model stops at least 5 % of clean cherries; a model that stops fewer than
# this share judges nothing.
LEAST_STOPPED = 0.01
CHERRIES_WITHOUT_PAST = 1000  # needed to tell that: if none of 1,000 is stopped, the share is below it
LEAST_BEFORE = 100  # cherries of the model before; fewer are no past
Z = 3.0902  # of the normal distribution, one-sided: a good model fails once in a thousand trials


class Verdicts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many whole single cherries a network judged, by its verdict: what shape and fail-safe made of it left out."""

    clean: _Count = 0
    maybe: _Count = 0
    pit: _Count = 0

    @property
    def total(self) -> int:
        """Of all."""
        return self.clean + self.maybe + self.pit

    @property
    def stopped(self) -> int:
        """Those that did not pass."""
        return self.maybe + self.pit

    def __str__(self) -> str:
        shares = (100 * count / max(1, self.total) for count in (self.clean, self.maybe, self.pit))
        return "{:.1f} % clean, {:.1f} % maybe, {:.1f} % pit of {}".format(*shares, self.total)


def stops_too_few(before: Verdicts | None, now: Verdicts) -> str | None:
    """Compare a model on trial with the model before it; return what is wrong, or None.

    The share stopped now is held against the share that had to be stopped by the upper limit of their difference, with
    a confidence of 99.9 %. Of each share the limits are Wilson's (E. B. Wilson, Probable inference, Journal of the
    American Statistical Association 22, 1927); those of the difference are made of them by the method of variance
    estimates recovery (G. Y. Zou and A. Donner, Construction of confidence limits about effect measures, Statistics in
    Medicine 27, 2008), which for two shares is R. G. Newcombe's method 10 (Statistics in Medicine 17, 1998).

    Args:
        before: of the model before, over its last frames; None where that is not known.
        now: of the model on trial.
    """
    if before is None or not _is_known(before):
        most = wilson(now.stopped, now.total)[1]
        if most >= LEAST_STOPPED:
            return None
        return f"it stops at most {most:.2%} of the cherries ({now}), a model that judges stops {LEAST_STOPPED:.1%}"
    wanted = STILL_STOPPED["maybe"] * before.maybe + STILL_STOPPED["pit"] * before.pit
    factor = wanted / before.stopped  # of the share stopped before: so much must still be
    share, usual = now.stopped / max(1, now.total), before.stopped / before.total
    most, least_usual = wilson(now.stopped, now.total)[1], wilson(before.stopped, before.total)[0]
    if share - factor * usual + math.hypot(most - share, factor * (usual - least_usual)) >= 0.0:
        return None
    return f"it lets too many cherries pass: {now}; the model before: {before}"


def cherries_needed(before: Verdicts | None, wanted: int) -> int:
    """Return how many cherries a trial takes: as many as are wanted; more where no model before is known."""
    return wanted if _is_known(before) or not wanted else max(wanted, CHERRIES_WITHOUT_PAST)


def _is_known(before: Verdicts | None) -> bool:
    """Return whether the previous model judged enough cherries to compare with."""
    return before is not None and before.total >= LEAST_BEFORE and before.stopped > 0


def wilson(hits: int, total: int) -> tuple[float, float]:
    """Return Wilson's lower and upper limit of a share, each with a confidence of 99.9 %."""
    if not total:
        return 0.0, 1.0
    share, square = hits / total, Z * Z
    middle = (share + square / (2 * total)) / (1 + square / total)
    half = Z / (1 + square / total) * math.sqrt(share * (1 - share) / total + square / (4 * total * total))
    return max(0.0, middle - half), min(1.0, middle + half)
