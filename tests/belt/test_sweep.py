"""Clusters of cherries on drawn frames through the real search: no cherry may pass without a verdict."""

import pytest

from tests.belt.sweep import REDUCED


@pytest.mark.parametrize(
    "case", REDUCED, ids=lambda case: f"{case.layout.size} at {case.advance_px or 'any'} px, {case.layout.per_frame}"
)
def test_every_cherry_of_a_cluster_is_in_the_box_of_a_verdict(case):
    outcome = case.run(frames=8)
    assert outcome.due > 10
    assert outcome.missed == []
    assert outcome.twice <= 0.2 * outcome.due  # in doubt a thing is judged again, but not as a rule
