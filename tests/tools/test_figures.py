import json
import math

import numpy as np
import pytest
from click.testing import CliRunner

from pitcore.decision.policy import pit_probability
from pitcore.errors import DataError
from pitcore.model_card import DEFAULT_BUNDLE, ProbabilityCalibration
from pitcore_tools.cli.main import pitcore_tools
from pitcore_tools.evaluate import figures, report
from pitcore_tools.evaluate.figures import Share
from pitcore_tools.evaluate.logits import COMMITTED, HeldOut, read_logits, write_logits
from pitcore_tools.train.recipe import load_recipe


def test_wilson_interval_has_the_published_value():
    low, high = Share(8, 10).interval
    assert (round(low, 4), round(high, 4)) == (0.4902, 0.9433)  # Wilson 1927, n = 10, p = 0.8
    assert math.isnan(Share(0, 0).value)


def test_confusion_counts_by_truth_and_call():
    labels = np.array([0, 0, 0, 1, 1, 1, 1])
    margins = np.array([-1.0, -2.0, 1.0, 1.0, 2.0, -1.0, 3.0])
    counts = figures.confusion(labels, margins)
    assert (counts.clean_clean, counts.clean_pit, counts.pit_clean, counts.pit_pit) == (2, 1, 1, 3)
    assert counts.shares["accuracy"].value == 5 / 7
    assert counts.shares["pit recall"].value == 3 / 4
    assert counts.shares["pit precision"].value == 3 / 4


def test_mcnemar_is_exact():
    labels = np.ones(10, np.int64)
    first, second = np.ones(10), np.array([-1.0] * 6 + [1.0] * 4)
    assert figures.mcnemar(labels, first, second) == (6, 0, pytest.approx(2 * 0.5**6))
    assert figures.mcnemar(labels, first, first) == (0, 0, 1.0)


def test_platt_finds_the_curve_that_made_the_labels():
    rng = np.random.default_rng(0)
    margins = rng.normal(0, 3, 20_000)
    labels = (rng.random(20_000) < figures.platt(margins, 0.5, -0.7)).astype(np.int64)
    assert figures.fit_platt(labels, margins) == (pytest.approx(0.5, abs=0.03), pytest.approx(-0.7, abs=0.06))


def test_chance_calibration_error_is_that_of_labels_drawn_with_the_probabilities():
    random = np.random.default_rng(7)
    probabilities = random.random(600)
    drawn = [(random.random(600) < probabilities).astype(np.int64) for _ in range(300)]
    mean = np.mean([figures.expected_calibration_error(labels, probabilities) for labels in drawn])
    assert figures.chance_calibration_error(probabilities) == pytest.approx(mean, rel=0.05)
    assert figures.chance_calibration_error(np.array([0.0, 1.0] * 300)) == 0.0


def test_calibration_error_is_zero_for_perfect_and_large_for_overconfident_probabilities():
    rng = np.random.default_rng(1)
    truth = rng.random(30_000)
    labels = (rng.random(30_000) < truth).astype(np.int64)
    assert figures.expected_calibration_error(labels, truth) < 0.01
    assert figures.expected_calibration_error(labels, np.round(truth)) > 0.2


def test_cross_fitting_never_scores_a_crop_with_its_own_half():
    labels = np.array([0, 1, 0, 1, 1, 0, 1, 0])
    margins = np.array([-1.0, 2.0, 0.5, 1.0, -0.2, 0.1, 0.7, -3.0])
    half = np.array([True, False] * 4)
    found = figures.cross_fitted(labels, margins, half)
    slope, intercept = figures.fit_platt(labels[~half], margins[~half])
    np.testing.assert_allclose(found[half], figures.platt(margins[half], slope, intercept))


def test_a_margin_is_the_boards_for_two_labels_and_for_three():
    rng = np.random.default_rng(4)
    for labels in (["clean", "pit"], ["clean", "maybe", "pit"]):
        logits = rng.normal(0, 3, (20, len(labels))).astype(np.float32)
        found = figures.platt(figures.pit_margins(logits, labels), 0.7, 0.2)
        board = [pit_probability(row.tolist(), labels, ProbabilityCalibration("platt", 0.7, 0.2)) for row in logits]
        np.testing.assert_allclose(found, board, atol=1e-6)


def held_out(n=60):
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, n)
    margins = np.round((labels - 0.5) * 6 + rng.normal(0, 1.5, n), 5)
    hashes = [f"{value:016x}{0:048x}" for value in rng.integers(1, 2**62, n)]
    return HeldOut(hashes, np.zeros(n, np.int64), labels, margins, margins + 0.25)


def test_logits_come_back_as_they_were_written(tmp_path):
    written = held_out()
    write_logits(tmp_path / "l.csv", written)
    read = read_logits(tmp_path / "l.csv")
    order = np.argsort(written.hashes)
    assert read.hashes == [name[:16] for name in sorted(written.hashes)]
    np.testing.assert_array_equal(read.labels, written.labels[order])
    np.testing.assert_allclose(read.float_margins, written.float_margins[order])
    np.testing.assert_allclose(read.int8_margins, written.int8_margins[order])


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        read_logits(tmp_path / "none.csv")


def test_the_committed_figures_meet_the_bar():
    """The bundled model: float at least 90 %, int8 within 0.3 points, on crops it never saw."""
    result = CliRunner().invoke(pitcore_tools, ["evaluate", "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    accuracy = {net: found[net]["accuracy"]["value"] for net in ("float", "int8")}
    assert accuracy["float"] >= 0.90
    assert abs(accuracy["int8"] - accuracy["float"]) <= 0.003
    assert found["folds"] == [load_recipe(DEFAULT_BUNDLE / "config.yaml").held_out_fold]


def test_the_committed_figures_are_the_bundled_models():
    metrics = json.loads((DEFAULT_BUNDLE / "metrics.json").read_text())["held_out"]
    found = report.summary(read_logits(COMMITTED))
    ece, said = found.pop("ece_int8"), metrics.pop("ece_int8")
    assert found == metrics
    assert ece == pytest.approx(said, abs=1e-6)  # the file has five places


def test_log_loss_is_that_of_the_probability_given_to_what_came():
    labels, said = np.array([1, 0, 1]), np.array([0.8, 0.5, 1.0])
    assert figures.log_loss(labels, said) == pytest.approx(-(np.log(0.8) + np.log(0.5)) / 3)
    assert np.isfinite(figures.log_loss(labels, np.array([0.0, 0.5, 1.0])))


def test_a_crop_without_a_number_is_right_for_nothing():
    logits = np.array([[3.0, -1.0], [np.nan, 0.0], [0.0, -np.inf], [np.inf, 5.0], [0.0, 4.0]])
    margins = figures.pit_margins(logits, ["clean", "pit"])
    assert np.isnan(margins).tolist() == [False, True, True, True, False]
    counts = figures.confusion(np.array([0, 0, 1, 1, 1]), margins)
    assert (counts.clean_clean, counts.pit_pit, counts.clean_none, counts.pit_none, counts.none) == (1, 1, 1, 2, 3)
    assert (counts.clean_pit, counts.pit_clean) == (0, 0)
    shares = {name: (share.hits, share.of) for name, share in counts.shares.items()}
    assert shares["accuracy"] == (2, 5)
    assert shares["pit recall"] == (1, 3)
    assert shares["clean recall"] == (1, 2)
