"""Tests that a change of the line is detected, and that neither scatter nor a smaller share of pits counts as drift."""

import re

import msgspec
import numpy as np
import pytest

from pitcore.config import DriftConfig
from pitcore.decision.policy import Judgement, Shape
from pitcore.line_watch.card_drift import WINDOW, CardCheck, estimate_pit_share, stability_index
from pitcore.line_watch.drift import BLOCK, DriftCheck, DriftState
from pitcore.line_watch.drift_memory import DriftMemory
from pitcore.model_card import FigureCounts, Reference
from tests.line_belt import line_config, line_source, run_line, wrong

PLANES = ("top", "bottom")
RULES = DriftConfig(learn_cherries=1000)


def cherries(random, count, light=1.0, area=2600.0, pits=0.1):
    """Shapes and judgements as a line brings them."""
    found = []
    for _ in range(count):
        is_pit = random.random() < pits
        p = float(random.beta(8, 2) if is_pit else random.beta(1, 20))
        means = (light * random.normal(106, 20), light * random.normal(148, 25))
        verdict = "clean" if p < 0.1 else "pit" if p > 0.8 else "maybe"
        shape = Shape(int(random.normal(area, 400)), 1.1, 0.99, means)
        found.append((shape, Judgement(verdict, "uncertain" if verdict == "maybe" else None, {"pit": p})))
    return found


def until_drift(check, items, a_frame=5):
    """Return the number of cherries until the warning; None without a warning."""
    for first in range(0, len(items), a_frame):
        check.add(items[first : first + a_frame], trusted=True)
        if check.drifted():
            return first + a_frame
    return None


@pytest.mark.parametrize(("seed", "a_frame"), [(1, 5), (2, 12), (3, 48)])
def test_a_lamp_at_80_percent_is_found_within_500_cherries_and_nothing_in_20000_unchanged_ones(seed, a_frame):
    random, check = np.random.default_rng(seed), DriftCheck(PLANES, "k", RULES)
    assert until_drift(check, cherries(random, 20_000), a_frame) is None
    warned = until_drift(check, cherries(random, 2000, light=0.8), a_frame)
    assert warned is not None
    assert warned <= 500 + a_frame
    assert re.search(r"brightness of plane (top|bottom) fell to \d+ .* usual is \d+ \(-\d", check.describe())


def test_larger_fruit_is_reported_with_figure_and_direction():
    random, check = np.random.default_rng(4), DriftCheck(PLANES, "k", RULES)
    assert until_drift(check, cherries(random, 2000)) is None
    assert until_drift(check, cherries(random, 1000, area=3000.0)) is not None
    assert "size rose to" in check.describe()


def test_an_alarm_ends_after_the_cause():
    random, check = np.random.default_rng(5), DriftCheck(PLANES, "k", RULES)
    assert until_drift(check, cherries(random, 2000)) is None
    assert until_drift(check, cherries(random, 1000, light=0.8)) is not None
    found = []
    for item in cherries(random, 3000):
        check.add([item], trusted=True)
        found.append(check.drifted())
    assert False in found


def test_one_odd_block_is_no_drift():
    random, check = np.random.default_rng(6), DriftCheck(PLANES, "k", RULES)
    assert until_drift(check, cherries(random, 2000)) is None
    assert until_drift(check, cherries(random, BLOCK, light=0.5)) is None


def test_nothing_is_learned_while_another_alarm_is_on():
    random, check = np.random.default_rng(7), DriftCheck(PLANES, "k", RULES)
    for item in cherries(random, 3000):
        check.add([item], trusted=False)
    assert all(figure.usual is None for figure in check.figures())


def test_usual_values_survive_a_restart_and_the_number_of_days_is_bounded(tmp_path):
    random, day = np.random.default_rng(8), ["2026-06-01"]
    rules = DriftConfig(learn_cherries=1000, days=3)
    check = DriftCheck(PLANES, "k", rules, today=lambda: day[0])
    for number in range(1, 8):
        day[0] = f"2026-06-0{number}"
        check.add(cherries(random, 1000), trusted=True)
        for _ in range(10):
            check.add(cherries(random, BLOCK), trusted=True)
    assert [one.date for one in check.state.days] == ["2026-06-04", "2026-06-05", "2026-06-06"]
    memory = DriftMemory(tmp_path / "state" / "drift.json")
    memory._write(msgspec.json.encode(check.state))
    again = DriftCheck(PLANES, "k", rules, today=lambda: day[0])
    again.restore(memory.load())
    assert [figure.usual for figure in again.figures()] == [figure.usual for figure in check.figures()]
    other = DriftCheck(PLANES, "another model", rules, today=lambda: day[0])
    other.restore(memory.load())
    assert all(figure.usual is None for figure in other.figures())


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"key": 1}', b"\xff\xfe"])
def test_a_damaged_file_of_usual_values_is_ignored(tmp_path, content):
    path = tmp_path / "drift.json"
    path.write_bytes(content)
    assert DriftMemory(path).load() is None


def test_a_file_with_too_few_usual_values_is_ignored(tmp_path):
    path = tmp_path / "drift.json"
    state = DriftCheck(PLANES, "k", RULES).state
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(state, figures=state.figures[:2])))
    assert DriftMemory(path).load() is None
    assert isinstance(state, DriftState)


EDGES = [0.05, 0.2, 0.5, 0.8, 0.95]


def reference(random):
    """A card's reference of the cherries above, half of them pits."""
    figures = {}
    groups = [cherries(random, 2000, pits=0.0), cherries(random, 2000, pits=1.0)]
    takes = {
        "pit_probability": (EDGES, lambda one: one[1].probabilities["pit"]),
        "mean_top": ([80.0, 90.0, 100.0, 110.0, 120.0], lambda one: one[0].plane_means[0]),
    }
    for name, (edges, take) in takes.items():
        counts = [np.bincount(np.searchsorted(edges, [take(one) for one in group]), minlength=6) for group in groups]
        figures[name] = FigureCounts(edges, *(count.tolist() for count in counts))
    return Reference("drawn", figures)


def test_fewer_pits_than_the_card_has_are_no_drift_and_their_share_is_found():
    random = np.random.default_rng(9)
    card = CardCheck(reference(random), PLANES, 0.25)
    check = DriftCheck(PLANES, "k", RULES, card)
    for _ in range(WINDOW // 50):
        check.add(cherries(random, 50, pits=0.03), trusted=True)
    assert card.unlike() is False
    assert card.pit_share == pytest.approx(0.03, abs=0.015)


def test_cherries_that_are_darker_than_those_of_the_card_are_drift():
    random = np.random.default_rng(10)
    card = CardCheck(reference(random), PLANES, 0.25)
    check = DriftCheck(PLANES, "k", RULES, card)
    for _ in range(WINDOW // 50):
        check.add(cherries(random, 50, light=0.8), trusted=True)
    assert card.unlike() is True
    assert "mean_top" in card.describe()


def test_the_figures_of_the_card_agree_with_their_formulas():
    figure = FigureCounts([0.5], [900, 100], [100, 900])
    assert estimate_pit_share(np.array([740, 260]), figure) == pytest.approx(0.2, abs=0.01)
    index = stability_index(np.array([500, 500]), np.array([0.75, 0.25]))
    assert index == pytest.approx(0.25 * np.log(3), abs=1e-3)  # (0.5 - 0.75) ln(0.5 / 0.75) + (0.5 - 0.25) ln 2


def test_the_loop_warns_of_dimmed_lamps_by_event_and_alarm(tiny_bundle):
    config = line_config(tiny_bundle, drift=DriftConfig(learn_cherries=1000))
    memory, _, app = run_line(config, line_source(660, disturbance=wrong(light=(0.8, 0.8), first=480), seed=5))
    (event,) = [event for event in memory.events if event.event == "drift"]
    assert event.seq >= 480
    assert "brightness of plane" in event.detail
    assert "drift" in [alarm.name for alarm in app.alarms]
