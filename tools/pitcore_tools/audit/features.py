"""Measures brightness and size of crops: finds outliers in a set, and differences between two sets. Does no IO."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pitcore.camera.crops import LabelledCrop
from pitcore_tools.evaluate.figures import Floats

# Name in files: description in a sentence. The order is that of the columns of ``measure``.
FEATURES = {
    "top_mean_level": "mean brightness of the top plane",
    "bottom_mean_level": "mean brightness of the bottom plane",
    "top_saturated_share": "share of saturated pixels of the top plane",
    "bottom_saturated_share": "share of saturated pixels of the bottom plane",
    "height_px": "height",
    "width_px": "width",
    "area_px": "area",
    "touches_border": "touching the picture's border",
}
TOUCHES_BORDER = "touches_border"  # 0 or 1, so each crop with 1 is listed, without deviations
SATURATED = 254  # lowest clipped level: the real cameras have three times as many pixels there as at 253, none at 255
FAR_OUT = 5.0  # robust deviations above which a crop is an outlier
DRIFT_P = 0.01  # largest corrected p of a drift
DRIFT_MIN_EFFECT = 0.1  # least effect of a drift: with thousands of crops p alone finds irrelevant differences


@dataclass(frozen=True, slots=True)
class Outlier:
    """A crop that is an outlier in one feature.

    Attributes:
        index: index of the crop.
        feature: a key of ``FEATURES``.
        value: value of the feature.
        deviations: robust deviations from the median; NaN for ``TOUCHES_BORDER``.
    """

    index: int
    feature: str
    value: float
    deviations: float


@dataclass(frozen=True, slots=True)
class Drift:
    """The comparison of one feature in two sets.

    Attributes:
        feature: a key of ``FEATURES``.
        before, after: means in the two sets. Medians are useless for shares that are mostly 0.
        effect: Kolmogorov-Smirnov distance, 0 to 1: the largest difference of the two cumulative distributions.
        p: p value after Holm's correction for the number of features.
    """

    feature: str
    before: float
    after: float
    effect: float
    p: float

    @property
    def found(self) -> bool:
        """True if the difference is significant and large enough to matter."""
        return self.p < DRIFT_P and self.effect >= DRIFT_MIN_EFFECT

    def __str__(self) -> str:
        size = "a little" if self.effect < 0.2 else "clearly" if self.effect < 0.4 else "far"
        way = "higher" if self.after > self.before else "lower" if self.after < self.before else "spread differently"
        words = f"{size} {way}" if self.found else "no drift"
        p = "p < 1e-6" if self.p < 1e-6 else f"p = {self.p:.2g}"
        return (
            f"{FEATURES[self.feature]}: {words} "
            f"(mean {self.before:.4g} here, {self.after:.4g} there; distance {self.effect:.2f}, {p})"
        )


def measure(crops: Sequence[LabelledCrop]) -> Floats:
    """Return (N, len(FEATURES)) float64 features: levels (0 to 255) inside the mask, and sizes of the mask."""
    return np.array([_row(crop.pixels) for crop in crops], np.float64).reshape(len(crops), len(FEATURES))


def _row(pixels: NDArray[np.uint8]) -> list[float]:
    mask = np.asarray(pixels.any(axis=2))
    inside = pixels[mask]  # (M, 2); copies only the pixels of the cherry
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    border = mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any()
    size = [rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1, len(inside)]
    return [*inside.mean(axis=0), *(inside >= SATURATED).mean(axis=0), *size, float(border)]


def deviations(values: Floats) -> Floats:
    """Return the distance of each of (N,) values from their median, in robust deviations.

    The deviation is the median absolute deviation / 0.6745; if more than half of the values are equal, the mean
    absolute deviation * 1.2533. Both equal the standard deviation of a normal distribution. Source: B. Iglewicz and D.
    Hoaglin, "How to detect and handle outliers", 1993. All 0 if all values are equal.
    """
    away = values - np.median(values)
    scale = np.median(np.abs(away)) / 0.6745 or np.abs(away).mean() * 1.2533
    return np.asarray(away / scale if scale else np.zeros_like(away))


def outliers(values: Floats) -> list[Outlier]:
    """Return the outliers beyond ``FAR_OUT``, the farthest first, and every crop that touches the border.

    Args:
        values: (N, len(FEATURES)) from ``measure``.
    """
    found = []
    for name, column in zip(FEATURES, values.T, strict=True):
        away = np.full(len(column), np.nan) if name == TOUCHES_BORDER else deviations(column)
        chosen = column > 0 if name == TOUCHES_BORDER else np.abs(away) > FAR_OUT
        order = np.argsort(-np.abs(away), kind="stable")
        found += [Outlier(int(i), name, float(column[i]), float(away[i])) for i in order if chosen[i]]
    return found


def drift(here: Floats, there: Floats) -> list[Drift]:
    """Compare every feature of two sets by the two-sample Kolmogorov-Smirnov test.

    Args:
        here: (N, len(FEATURES)) features of the set from ``measure``.
        there: (M, len(FEATURES)) features of the other set.
    """
    from scipy.stats import ks_2samp  # noqa: PLC0415  takes a second, and is needed for two sets only

    tests = [ks_2samp(one, two, method="asymp") for one, two in zip(here.T, there.T, strict=True)]
    corrected = holm([float(test.pvalue) for test in tests])
    means = zip(here.mean(axis=0).tolist(), there.mean(axis=0).tolist(), strict=True)
    return [
        Drift(name, before, after, float(test.statistic), p)
        for name, (before, after), test, p in zip(FEATURES, means, tests, corrected, strict=True)
    ]


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values corrected for their number.

    Source: S. Holm, "A simple sequentially rejective multiple test procedure", 1979.
    """
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, p_values[index] * (len(p_values) - rank)))
        corrected[index] = highest
    return corrected
