"""Estimates the true rates of the line from a random sample that is partly labelled.

The board draws each judged cherry with the same probability, so the sample gives the share of each verdict. For each
verdict people label some cherries, drawn at random. This is double sampling for stratification (Cochran, Sampling
Techniques, 3rd ed. 1977, chapter 12.2). A rate of the line weights the strata by their share of the whole sample, which
is the Horvitz-Thompson estimate for these probabilities. Few labels are enough, because each verdict has its own.

The intervals are equal-tailed and from the Jeffreys posterior: shares of the verdicts and the labels of each are drawn
from Dirichlet and Beta distributions with half a count added (Brown, Cai, DasGupta, Interval Estimation for a Binomial
Proportion, Statistical Science 16, 2001). Unlike a bootstrap it gives an interval where no error was found at all,
which is the usual case on a good line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pitcore.errors import DataError

VERDICTS = ("clean", "maybe", "pit")  # of cherries that the network judged
DRAWS = 20_000
MIN_LABELS = 5  # for each verdict; with fewer labels its interval is useless


@dataclass(frozen=True, slots=True)
class Stratum:
    """One verdict.

    Attributes:
        sampled: number of cherries of the random sample with this verdict.
        labelled: number of them that people labelled clean or pit.
        pits: number of labelled ones with a pit.
    """

    sampled: int
    labelled: int
    pits: int


@dataclass(frozen=True, slots=True)
class Rate:
    """A rate of the line.

    Attributes:
        name: description for people.
        value: the estimate.
        low, high: ends of the interval.
    """

    name: str
    value: float
    low: float
    high: float


def rates(strata: Mapping[str, Stratum], level: float = 0.95, seed: int = 0) -> list[Rate]:
    """Return the line's rates.

    Args:
        strata: the strata by verdict; verdicts that never occurred may be missing.
        level: level of the intervals.
        seed: seed of the draws; equal seeds give equal intervals.

    Raises:
        DataError: a verdict of the sample has too few labels.
    """
    known = {name: strata[name] for name in VERDICTS if name in strata and strata[name].sampled}
    if not known:
        raise DataError("no cherry of the random sample was judged; give an archive with `random` crops")
    for name, one in known.items():
        if one.labelled < min(MIN_LABELS, one.sampled):
            raise DataError(
                f"verdict {name}: {one.labelled} of {one.sampled} labelled; label {MIN_LABELS} or more of each verdict "
                "with `pitcore-tools label --sample`"
            )
    total = sum(one.sampled for one in known.values())
    at = _rates_of(
        {name: np.array([one.sampled / total]) for name, one in known.items()},
        {name: np.array([one.pits / one.labelled]) for name, one in known.items()},
    )
    random = np.random.default_rng(seed)
    shares = random.dirichlet([one.sampled + 0.5 for one in known.values()], DRAWS)
    drawn = _rates_of(
        {name: shares[:, place] for place, name in enumerate(known)},
        {name: random.beta(one.pits + 0.5, one.labelled - one.pits + 0.5, DRAWS) for name, one in known.items()},
    )
    tail = (1.0 - level) / 2.0
    found = []
    for name, draws in drawn.items():
        low, high = np.nanquantile(draws, (tail, 1.0 - tail))
        value = float(at[name][0])
        found.append(Rate(name, value, min(float(low), value), max(float(high), value)))
    return found


def _rates_of(
    shares: Mapping[str, NDArray[np.float64]], pits: Mapping[str, NDArray[np.float64]]
) -> dict[str, NDArray[np.float64]]:
    """Compute each rate from the shares of the verdicts and the shares of pits within each verdict."""
    none = np.zeros_like(next(iter(shares.values())))
    share = {name: shares.get(name, none) for name in VERDICTS}
    with_pit = {name: share[name] * pits.get(name, none) for name in VERDICTS}
    all_pits = sum(with_pit.values(), none)
    all_clean = 1.0 - all_pits
    with np.errstate(divide="ignore", invalid="ignore"):
        found = {
            "said clean or pit and right": share["clean"] - with_pit["clean"] + with_pit["pit"],
            "sent to review": share["maybe"],
            "cherries with a pit": all_pits,
            "pits said clean, of all pits": with_pit["clean"] / all_pits,
            "clean ones said pit, of all clean ones": (share["pit"] - with_pit["pit"]) / all_clean,
        }
    return found | {f"pits among those said {name}": pits[name] for name in VERDICTS if name in pits}
