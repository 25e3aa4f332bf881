"""The line's rates from few labels, and intervals that hold."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from pitcore.camera.crops import crop_hash
from pitcore.capture.keeper import CropKeeper
from pitcore.errors import DataError
from pitcore.loop.pipeline import Hooks
from pitcore_tools.cli.main import pitcore_tools
from pitcore_tools.label.book import Book
from pitcore_tools.label.crops import choose, crops_of
from pitcore_tools.line.rates import VERDICTS, Stratum, rates
from tests.capture.test_keeper import capture, end, kept
from tests.scene import ListSource, config_for, planes_with, run_scene, still

SHARES = {"clean": 0.80, "maybe": 0.15, "pit": 0.05}
PITS = {"clean": 0.01, "maybe": 0.20, "pit": 0.90}
MISSED = "pits said clean, of all pits"


def true_rates():
    return {rate.name: rate.value for rate in rates(_exact(1_000_000))}


def _exact(number):
    return {
        name: Stratum(round(number * share), round(number * share), round(number * share * PITS[name]))
        for name, share in SHARES.items()
    }


def test_the_estimates_are_the_weighed_ones():
    found = true_rates()
    pits = 0.8 * 0.01 + 0.15 * 0.2 + 0.05 * 0.9
    assert found["said clean or pit and right"] == pytest.approx(0.8 * 0.99 + 0.05 * 0.9, abs=1e-6)
    assert found["sent to review"] == pytest.approx(0.15)
    assert found["cherries with a pit"] == pytest.approx(pits)
    assert found[MISSED] == pytest.approx(0.008 / pits)
    assert found["clean ones said pit, of all clean ones"] == pytest.approx(0.005 / (1 - pits))
    assert found["pits among those said clean"] == pytest.approx(0.01)


def test_the_truth_lies_in_the_intervals_as_often_as_they_say():
    """150 lines with 2,000 cherries drawn and 200 of each verdict labelled; 95 % less three standard deviations."""
    random, truth, lines = np.random.default_rng(5), true_rates(), 150
    held = dict.fromkeys(truth, 0)
    for seed in range(lines):
        sampled = dict(zip(VERDICTS, random.multinomial(2000, list(SHARES.values())).tolist(), strict=True))
        strata = {}
        for name, count in sampled.items():
            labelled = min(200, count)
            strata[name] = Stratum(count, labelled, int(random.binomial(labelled, PITS[name])))
        for rate in rates(strata, seed=seed):
            held[rate.name] += rate.low <= truth[rate.name] <= rate.high
    least = 0.95 - 3 * (0.95 * 0.05 / lines) ** 0.5
    assert min(held.values()) >= least * lines, held


def test_the_interval_is_not_empty_without_errors():
    strata = {"clean": Stratum(1800, 200, 0), "maybe": Stratum(150, 100, 20), "pit": Stratum(50, 50, 50)}
    found = {rate.name: rate for rate in rates(strata)}
    among = found["pits among those said clean"]
    assert (among.value, among.low) == (0.0, 0.0)
    assert among.high == pytest.approx(0.0125, abs=0.001)  # of Beta(0.5, 200.5): 97.5 %
    assert found[MISSED].value == 0.0
    assert found[MISSED].high > 0.05


def test_a_verdict_without_labels_is_named():
    with pytest.raises(DataError, match="verdict maybe: 2 of 90 labelled"):
        rates({"clean": Stratum(900, 50, 1), "maybe": Stratum(90, 2, 1)})
    with pytest.raises(DataError, match="no cherry"):
        rates({"clean": Stratum(0, 0, 0)})


def test_from_the_belt_to_the_rates(tiny_bundle, tmp_path):
    """The tiny net says pit by the level; people say pit from another level on, so the truth can be worked out."""
    keeper = CropKeeper(capture(tmp_path / "ring", random_share=1.0), "0a" * 16)
    levels = [84 + number for number in range(90)]
    frames = [
        planes_with(*((20 + 100 * place, 60 + start % 5, levels[start + place]) for place in range(3)), seed=start)
        for start in range(0, 90, 3)
    ]
    memory, _, _ = run_scene(ListSource(still(*frames)), config_for(tiny_bundle), hooks=Hooks(keepers=[keeper]))
    end(keeper)
    asked = choose(crops_of(tmp_path / "ring"), 1000)
    book = Book(tmp_path / "labels", [one.crop for one in asked])
    files = kept(tmp_path / "ring")
    assert len(files) == sum(line.probabilities is not None for line in memory.verdicts)
    of = {crop_hash(pixels): (record, int(pixels[..., 0].max())) for _, record, pixels in files}
    for one in asked:
        book.say("anna", one.crop, "pit" if of[one.crop][1] >= 127 else "clean")
    done = CliRunner().invoke(
        pitcore_tools,
        ["audit-line", str(tmp_path / "ring"), "--labels", str(tmp_path / "labels" / "labels.csv"), "--json"],
    )
    assert done.exit_code == 0, done.output
    told = json.loads(done.output)
    for name, stratum in told["strata"].items():
        levels = [of[crop_hash(pixels)][1] for _, record, pixels in files if record.verdict.verdict == name]
        assert stratum["sampled"] == stratum["labelled"] == len(levels)
        assert stratum["pits"] == sum(level >= 127 for level in levels)
    found = {rate["name"]: rate for rate in told["rates"]}
    assert found["cherries with a pit"]["value"] == pytest.approx(
        sum(stratum["pits"] for stratum in told["strata"].values()) / len(files)
    )


def test_a_sample_has_the_requested_number_of_each_verdict_in_random_order(tiny_bundle, tmp_path):
    keeper = CropKeeper(capture(tmp_path / "ring", random_share=1.0), "0a" * 16)
    frames = [
        planes_with(*((20 + 100 * place, 60 + seed % 5, 84 + 3 * seed + place) for place in range(3)), seed=seed)
        for seed in range(30)
    ]
    run_scene(ListSource(still(*frames)), config_for(tiny_bundle), hooks=Hooks(keepers=[keeper]))
    end(keeper)
    asked = choose(crops_of(tmp_path / "ring"), 4)
    verdicts = [one.record.verdict.verdict for one in asked]
    assert {name: verdicts.count(name) for name in VERDICTS} == dict.fromkeys(VERDICTS, 4)
    assert [one.crop for one in asked] == sorted(one.crop for one in asked)
