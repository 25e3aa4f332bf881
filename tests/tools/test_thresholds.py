"""Thresholds: the promise holds, is refused where data cannot carry it, and is scored on other crops."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.stats import binom

from pitcore.errors import DataError, OutputError
from pitcore.model_card import DEFAULT_BUNDLE, load_bundle
from pitcore_tools import experiments
from pitcore_tools.cli.main import pitcore_tools
from pitcore_tools.evaluate.figures import fit_platt, platt
from pitcore_tools.evaluate.logits import COMMITTED, HeldOut, read_logits, write_logits
from pitcore_tools.experiments.bundled import EVIDENCE
from pitcore_tools.thresholds import report
from pitcore_tools.thresholds.control import accept_threshold, pits_needed, reject_threshold, tiers
from pitcore_tools.thresholds.points import calibration, card_points
from pitcore_tools.thresholds.report import ThresholdRequest

WISH = ThresholdRequest(max_miss=0.05, confidence=0.95, max_loss=0.02)


def drawn(count, seed, folds=1):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    margins = rng.normal(labels * 5.0 - 2.5, 2.0)
    hashes = [f"{value:016x}" * 4 for value in rng.integers(1, 2**62, count)]
    return HeldOut(hashes, rng.integers(0, folds, count), labels, margins, margins + 0.01)


def test_the_bound_on_missed_pits_holds_with_its_confidence():
    """Draw many calibration sets; the share of pits that truly pass must exceed the promise in at most 5 % of them."""
    rng = np.random.default_rng(0)
    broken, rounds, pits = 0, 2000, 400
    for _ in range(rounds):
        chosen = accept_threshold(np.ones(pits, np.int64), rng.random(pits), 0.05, 0.95)
        broken += chosen.threshold > 0.05  # uniform probabilities: the share below a threshold is the threshold
    assert broken / rounds <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / rounds)
    assert broken / rounds > 0.01, "a threshold that low gives away too much"


def test_the_threshold_is_the_highest_that_keeps_the_bound():
    probabilities = np.arange(1, 401) / 1000
    chosen = accept_threshold(np.ones(400, np.int64), probabilities, 0.05, 0.95)
    assert binom.cdf(chosen.missed, 400, 0.05) <= 0.05 < binom.cdf(chosen.missed + 1, 400, 0.05)
    assert chosen.threshold == probabilities[chosen.missed]


@pytest.mark.parametrize(
    ("max_miss", "confidence", "needed"), [(0.01, 0.95, 299), (0.05, 0.95, 59), (0.001, 0.99, 4603)]
)
def test_too_few_pits_are_refused_with_the_number_that_would_do(max_miss, confidence, needed):
    assert pits_needed(max_miss, confidence) == needed
    few, enough = (np.linspace(0.1, 0.9, count) for count in (needed - 1, needed))
    assert accept_threshold(np.ones(needed, np.int64), enough, max_miss, confidence).missed == 0
    with pytest.raises(DataError, match=f"{needed} would do"):
        accept_threshold(np.ones(needed - 1, np.int64), few, max_miss, confidence)


def test_the_reject_threshold_throws_away_no_more_clean_cherries_than_it_may():
    found = drawn(3000, 1)
    probabilities = platt(found.margins, 1.0, 0.0)
    reject = reject_threshold(found.labels, probabilities, 0.02)
    clean = probabilities[found.labels == 0]
    assert (clean >= reject).mean() <= 0.02 < (clean >= reject - 0.02).mean()


def test_tiers_are_scored_on_folds_they_were_not_chosen_by():
    labels, groups = np.array([0, 1] * 200), np.repeat([0, 1], 200)
    # In fold 1 pits look like nothing: thresholds of fold 0 must let them pass, those of fold 1 must not.
    probabilities = np.where(labels == 0, 0.1, np.where(groups == 0, 0.9, 0.05))
    rows = tiers(labels, probabilities, groups, 0.02)
    assert rows[0].caught.hits == 100
    with pytest.raises(DataError, match="two folds"):
        tiers(labels, probabilities, np.zeros(400, np.int64), 0.02)


def test_a_stricter_bound_means_more_review():
    rows = report.find(drawn(4000, 2), WISH).tiers
    review = [row.review.value for row in rows]
    assert review == sorted(review)
    assert all(abs(row.caught.value - row.wanted) < 0.02 for row in rows)


def test_exact_duplicates_count_once():
    one = drawn(200, 3)
    twice = HeldOut(one.hashes * 2, *(np.tile(part, 2) for part in (one.folds, one.labels, one.margins, one.margins)))
    assert report.find(twice, WISH).accepted.pits == int(one.labels.sum())


def test_a_bound_needs_the_scores_of_one_net():
    found = report.find(drawn(2000, 4, folds=5), WISH)
    assert found.accepted is None
    assert "5 nets" in report.text(found, WISH)


@pytest.fixture
def logits(tmp_path):
    write_logits(tmp_path / "l.csv", drawn(1500, 5, folds=3))
    return str(tmp_path / "l.csv")


def run(*arguments):
    return CliRunner().invoke(pitcore_tools, ["thresholds", *map(str, arguments)])


def test_the_command_prints_the_bound_and_draws_the_curve(logits, tmp_path):
    result = run("--logits", logits, "--fold", 1, "--max-miss", 0.03, "--plot", tmp_path / "t.png")
    assert result.exit_code == 0, result.output
    assert "with 95.0% confidence at most 3.00% of pits pass" in result.output
    assert (tmp_path / "t.png").read_bytes().startswith(b"\x89PNG")
    found = json.loads(run("--logits", logits, "--fold", 1, "--max-miss", 0.03, "--json").output)
    assert 0 < found["accept"] < found["reject"] <= 1
    assert [row["pits_to_catch"] for row in found["tiers"]] == [0.95, 0.98, 0.99, 0.995]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--fold", "9"], "no crop of fold 9"),
        (["--fold", "0", "--max-miss", "0.001"], "2995 would do"),
        (["--plot", "/nowhere/t.png"], "cannot be written"),
    ],
)
def test_an_impossible_request_is_a_one_line_error(logits, arguments, said):
    result = run("--logits", logits, *arguments)
    assert isinstance(result.exception, DataError | OutputError)
    assert said in str(result.exception)


RESULTS = Path(experiments.__file__).parent / "results"


def test_the_bundled_card_holds_what_the_committed_logits_give():
    own, evidence = read_logits(COMMITTED), read_logits(EVIDENCE)
    card = load_bundle(DEFAULT_BUNDLE).card
    probabilities = platt(own.margins, card.calibration.slope, card.calibration.intercept)
    assert card_points(own, probabilities, evidence) == card.points


def test_points_without_logits_are_those_of_the_bundled_card():
    card = load_bundle(DEFAULT_BUNDLE).card
    printed = run("--points").output
    for name, point in card.points.items():
        row = next(line for line in printed.splitlines() if line.startswith(name))
        assert row.split()[1:3] == [f"{point.thresholds.accept:.4f}", f"{point.thresholds.reject:.4f}"]
    assert "rest on 1698 pits: Wilks, on the out-of-fold pits of five nets" in printed


def test_points_say_on_which_crops_their_promise_rests():
    assert "rest on 356 pits: Wilks, on the held-out pits of the net" in run("--points", "--logits", COMMITTED).output
    assert "`--points` prints the thresholds of its card" in run().output
    assert "of its card" not in run("--logits", COMMITTED).output


def test_the_calibration_of_a_net_with_evidence_is_that_of_all_folds():
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 2, 3000)
    margins = np.where(rng.random(3000) < 0.9, 1, -1) * (2.0 * labels - 1.0) * 2.2
    hashes = [f"{index:016x}" for index in range(3000)]
    pooled = HeldOut(hashes, np.arange(3000) % 5, labels, margins, margins)
    own = pooled.where(np.arange(3000) < 40)
    assert calibration(own, pooled) == fit_platt(labels, margins)
    assert calibration(own, None) == fit_platt(own.labels, own.margins)


def test_more_pits_than_chance_allows_lower_a_threshold_that_all_folds_gave():
    rng = np.random.default_rng(3)
    labels = np.repeat([0, 1], 2000)
    good = np.concatenate([rng.normal(-4, 1, 2000), rng.normal(4, 1, 2000)])
    hashes = [f"{index:016x}" for index in range(4000)]
    pooled = HeldOut(hashes, np.arange(4000) % 5, labels, good, good)
    bad = good.copy()
    bad[2000:2100] -= 12.0  # a twentieth of the pits that the net which ships never saw look clean to it
    own = HeldOut(hashes, np.zeros(4000, np.int64), labels, bad, bad)
    agreed, lowered = (card_points(net, platt(net.margins, 1.0, 0.0), pooled)["strict"] for net in (pooled, own))
    assert lowered.thresholds.accept < agreed.thresholds.accept
    passed = (platt(bad[labels == 1], 1.0, 0.0) < lowered.thresholds.accept).sum()
    assert passed / 2000 <= 0.015


def test_points_of_several_nets_without_their_own_are_refused():
    result = run("--points", "--logits", RESULTS / "slim-pooled-80-taught.csv")
    assert "give --fold" in str(result.exception)
