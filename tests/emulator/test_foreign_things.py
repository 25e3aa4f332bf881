"""Foreign things and the rules of ``[decision]``, without a network: the long form is ``foreign_things``."""

import pytest

from tests.emulator.foreign_things import drawn, looked_at


@pytest.fixture(scope="module")
def things():
    return [thing for thing in looked_at(drawn(40), None) if thing.shape is not None]


@pytest.mark.parametrize("kind", ["stone", "stem"])
def test_stones_and_stems_are_never_clean(things, kind):
    doubts = {thing.doubt() for thing in things if thing.kind == kind}
    assert doubts
    assert None not in doubts


def test_less_than_half_of_the_leaves_pass_the_shape_rules_and_stricter_bounds_halve_them(things):
    leaves = [thing for thing in things if thing.kind == "leaf"]
    by_default = [leaf for leaf in leaves if leaf.doubt() is None]
    assert 0 < len(by_default) < len(leaves) / 2  # docs/verdicts.md says how many the network then calls clean
    assert len([leaf for leaf in leaves if leaf.doubt((60.0, 80.0)) is None]) < len(by_default) / 2
