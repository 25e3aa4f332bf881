"""Compares the core's matching of spans with an implementation in NumPy."""

import math

import numpy as np
import pytest

from pitcore.preprocess._core import matched


def covered(things, others, tolerance, share):
    """(things, others): whether each of the others, widened, covers that share of a thing."""
    left, right, low, high = others.T
    first, last, bottom, top = things.T[:, :, None]
    across = np.minimum(last, right + tolerance) - np.maximum(first, left - tolerance)
    along = np.minimum(top, high + tolerance) - np.maximum(bottom, low - tolerance)
    area = (last - first) * (top - bottom)
    return (np.maximum(across, 0) * np.maximum(along, 0) >= share * area) & (area > 0)


def spans(chance, count):
    corners, sizes = chance.integers(0, 200, (count, 2)), chance.integers(1, 80, (count, 2))
    return np.stack([corners[:, 0], corners.sum(1), corners[:, 1], corners[:, 1] + sizes[:, 1]], axis=1) * 1.0


@pytest.mark.parametrize("seed", range(20))
def test_matches_are_those_of_numpy(seed):
    chance = np.random.default_rng(seed)
    things, others = spans(chance, int(chance.integers(0, 40))), spans(chance, int(chance.integers(0, 40)))
    tolerance, share, back = chance.uniform(0, 10), chance.uniform(0.1, 0.9), chance.uniform(0.1, 0.9)
    arguments = (list(map(tuple, things)), list(map(tuple, others)), tolerance)
    covers = covered(things, others, tolerance, share)
    assert matched(*arguments, share) == covers.any(axis=1).tolist()
    in_view = others.copy()
    in_view[:, 2:] = np.clip(in_view[:, 2:], 50.0, 150.0)
    both = covers & covered(in_view, things, tolerance, back).T
    assert matched(*arguments, share, (back, 50.0, 150.0)) == both.any(axis=1).tolist()


def test_empty_inputs_have_no_match():
    assert matched([], [(0.0, 1.0, 0.0, 1.0)], 8.0, 0.5) == []
    assert matched([(0.0, 1.0, 0.0, 1.0)], [], 8.0, 0.5) == [False]


def test_boxes_without_area_and_nan_have_no_match():
    whole = [(0.0, 10.0, 0.0, 10.0)]
    assert matched([(5.0, 5.0, 0.0, 10.0), (math.nan, 10.0, 0.0, 10.0)], whole, 8.0, 0.1) == [False, False]


@pytest.mark.parametrize("spans_", [[(0.0, 1.0)], [("a", 1.0, 0.0, 1.0)], 3])
def test_invalid_spans_are_refused(spans_):
    with pytest.raises(TypeError):
        matched(spans_, [], 1.0, 0.5)
