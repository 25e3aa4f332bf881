"""Tests that a pit in a touching pair is hit wherever it is in the pair."""

import numpy as np
import pytest

from pitcore.belt.lanes import Lane, Plan

LANES = tuple(Lane((number * 308, (number + 1) * 308), 4000 + 7 * number, 60) for number in range(8))


def pair(rng):
    """Two cherries that touch: middles and radii in px, the first of them the pit."""
    radii = rng.uniform(15, 32, 2)
    angle, x, row = rng.uniform(0, 2 * np.pi), rng.uniform(100, 2364), rng.uniform(100, 400)
    away = radii.sum() - 1.5
    middles = np.array([[x, row], [x + away * np.cos(angle), row + away * np.sin(angle)]])
    return middles, radii


def box_of(middles, radii):
    low, high = (middles - radii[:, None]).min(0), (middles + radii[:, None]).max(0)
    x, y = np.floor(low).astype(int)
    width, height = np.ceil(high - low).astype(int) + 1
    return int(x), int(y), int(width), int(height)


@pytest.mark.parametrize("px_per_tick", [0.5, -0.5])
def test_a_pit_in_a_pair_gets_air_over_its_middle_in_its_own_lane(px_per_tick):
    plan, rng = Plan(px_per_tick, (0, 500), 100, LANES), np.random.default_rng(7)
    for _ in range(1000):
        middles, radii = pair(rng)
        pulses = plan.pulses(9000, box_of(middles, radii), "reject", one_cherry=False)
        x, row = middles[0]
        lane = next(number for number, place in enumerate(LANES) if place.x_px[0] <= x < place.x_px[1])
        due = 9000 - row / px_per_tick + LANES[lane].distance_ticks
        reach = 60 / 2 - 1  # the pulse of a single cherry covers so much on either side; rounding takes a tick
        own = [pulse for pulse in pulses if pulse.lane == lane]
        assert own, "the lane in which the pit lies does not fire"
        assert own[0].on <= due - reach, "the pit passes before the valve opens"
        assert own[0].off >= due + reach, "the valve shuts before the pit has passed"


def test_a_single_cherry_is_hit_by_one_lane_alone_beside_a_border():
    plan = Plan(0.5, (0, 500), 100, LANES)
    assert [pulse.lane for pulse in plan.pulses(0, (270, 100, 70, 60), "reject")] == [0]
    assert [pulse.lane for pulse in plan.pulses(0, (270, 100, 70, 60), "reject", one_cherry=False)] == [0, 1]
