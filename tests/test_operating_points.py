"""Operating points: what a card promises by name, and what a board gets of it. No update may loosen a running line."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from pitcore.config import Config, DecisionConfig, LineConfig, decode_config, load_config, operating_point, weakened
from pitcore.config.safety import WEAKER
from pitcore.errors import CardError, ConfigError
from pitcore.model_card import SCHEMA, decode_card, load_bundle
from tests.cli.program import run_pitcore
from tests.conftest import ROOT, tiny_card, write_card

EVIDENCE = {
    "method": "by hand",
    "max_miss": 0.01,
    "confidence": 0.95,
    "pits": 1000,
    "pits_passed": 4,
    "pits_rejected": 900,
    "clean": 2000,
    "clean_passed": 1000,
    "clean_rejected": 20,
}

BOARDS = sorted((ROOT / "firmware_configs" / "boards").glob("*.toml"))


def point(accept, reject=0.8, **evidence):
    return {"thresholds": {"accept": accept, "reject": reject}, "evidence": EVIDENCE | evidence}


def card_of(bundle, **points):
    card = tiny_card(bundle)
    del card["thresholds"]
    return card | {"schema": SCHEMA, "points": points}


def decoded(card):
    return decode_card(json.dumps(card).encode(), "card.json")


@pytest.fixture
def three(tiny_bundle):
    return card_of(
        tiny_bundle,
        strict=point(0.01),
        balanced=point(0.03, max_miss=0.02),
        throughput=point(0.1, max_miss=0.05),
    )


def test_a_board_that_names_no_point_gets_the_strict_one(three):
    operating = operating_point(decoded(three), DecisionConfig())
    assert (operating.point, operating.thresholds.accept) == ("strict", 0.01)
    assert operating.promise == "at most 1 % of pits pass, with 95% confidence (4 of 1000 held-out pits do)"


@pytest.mark.parametrize(("name", "accept"), [("strict", 0.01), ("balanced", 0.03), ("throughput", 0.1)])
def test_a_board_gets_the_point_that_it_names(three, name, accept):
    operating = operating_point(decoded(three), decode_config(f'[decision]\npoint = "{name}"\n', "b.toml").decision)
    assert (operating.point, operating.thresholds.accept) == (name, accept)


@pytest.mark.parametrize(("name", "verdict"), [("strict", "maybe"), ("balanced", "clean"), ("throughput", "clean")])
def test_pictures_are_judged_by_the_point_that_is_named(three, tiny_bundle, tmp_path, name, verdict):
    write_card(tiny_bundle, three)
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[..., 0], pixels[..., 2] = 85, 40  # the tiny network gives it a probability of 0.023
    Image.fromarray(pixels).save(tmp_path / "one.png")
    done = run_pitcore("classify", tmp_path / "one.png", "--bundle", tiny_bundle, "--point", name)
    assert done.stdout.split()[:1] == [verdict], done.stderr
    if name == "strict":
        assert run_pitcore("classify", tmp_path / "one.png", "--bundle", tiny_bundle).stdout == done.stdout


def test_a_point_that_the_card_lacks_becomes_a_stricter_one_and_never_a_looser(three):
    del three["points"]["balanced"]
    operating = operating_point(decoded(three), DecisionConfig(point="balanced"))
    assert operating.point == "strict"
    assert "no point balanced" in operating.promise


def test_a_stricter_number_stays_allowed_and_a_looser_one_refused(three):
    card = decoded(three)
    assert operating_point(card, DecisionConfig(point="balanced", accept=0.02)).thresholds.accept == 0.02
    with pytest.raises(ConfigError, match=r"looser than the model card's 0\.03"):
        operating_point(card, DecisionConfig(point="balanced", accept=0.05))


def test_a_card_of_the_first_schema_has_the_one_point_strict(tiny_bundle):
    card = load_bundle(tiny_bundle).card
    assert set(card.points) == {"strict"}
    assert operating_point(card, DecisionConfig(point="throughput")).thresholds == card.thresholds


def test_a_card_of_a_later_schema_is_refused_with_the_fix(tiny_bundle):
    write_card(tiny_bundle, tiny_card(tiny_bundle) | {"schema": "pitcore.card/3"})
    with pytest.raises(CardError, match=r"schema pitcore\.card/3, but this pitcore reads .*; update pitcore"):
        load_bundle(tiny_bundle)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"strict": point(0.01, max_miss=0.03)}, r"points\.strict promises 0\.03"),
        ({"strict": point(0.01, confidence=0.5)}, "with at least 0.95"),
        ({"balanced": point(0.005, max_miss=0.02)}, r"points\.balanced accepts less than a stricter point"),
        ({"strict": point(0.01, pits_passed=999)}, "more pits passed and rejected than there are"),
        ({"loose": point(0.01)}, "loose"),
    ],
)
def test_a_point_that_is_not_what_its_name_says_is_refused(three, changes, said):
    three["points"] |= changes
    with pytest.raises(CardError, match=said):
        decoded(three)


def test_a_card_without_the_strict_point_is_refused(three):
    del three["points"]["strict"]
    with pytest.raises(CardError, match="points must hold strict"):
        decoded(three)


@pytest.mark.parametrize("thresholds", [{"accept": 1.0, "reject": 1.0}, {"accept": 0.6, "reject": 0.8},
                                        {"accept": 0.1, "reject": 1.0}])  # fmt: skip
def test_a_card_that_declares_everything_clean_is_refused(tiny_bundle, thresholds):
    write_card(tiny_bundle, tiny_card(tiny_bundle) | {"thresholds": thresholds})
    with pytest.raises(CardError, match="nothing would be stopped"):
        load_bundle(tiny_bundle)


@pytest.mark.parametrize(
    "text",
    [
        '[actions]\nmaybe = "pass"\n',
        "[segmentation]\nmin_area_px = 1000000\n",
        "[segmentation]\nthreshold = [255, 255]\n",
        "[decision]\nmax_area_px = 1000000\n",
        "[decision]\nmin_area_px = 6001\n",
        "[decision]\nmin_area_px = 299\n",  # smaller things than 300 px are not judged
        "[decision]\nmax_elongation = 50.0\n",
        "[decision]\nmin_ellipse_fill = 0.0\n",
        "[belt]\ntolerance_px = 41.0\n",
        "[line]\nlight_off = 0.0\n",
    ],
)
def test_a_configuration_that_disarms_the_safety_case_is_refused(text):
    with pytest.raises(ConfigError):
        decode_config(text, "board.toml")


def test_what_is_less_safe_than_the_default_is_named_and_the_default_is_not():
    assert weakened(Config()) == []
    found = weakened(decode_config('[actions]\nside = "pass"\n[failsafe]\nencoder_dead = "alarm"\n', "board.toml"))
    assert [said.split(":")[0] for said in found] == [
        "[actions] side = pass",
        "[failsafe] encoder_dead = alarm",
    ]


LOOSER = {
    "light_off": 0.3,
    "light_low": 0.6,
    "light_high": 5.0,
    "dirt_levels": 100.0,
    "misaligned_px": 50.0,
    "nothing_seen_s": 3600.0,
    "foreign_share": 1.0,
    "psi": 5.0,
    "min_area_px": 400,
    "max_area_px": 12_000,
    "max_elongation": 4.0,
    "min_ellipse_fill": 0.85,
    "min_plane_mean": [40.0, 0.0],
    "max_plane_mean": [160.0, 255.0],
    "max_foreground_share": 1.0,
}


@pytest.mark.parametrize(("section", "key"), WEAKER)
def test_every_bound_of_a_check_is_named_if_it_is_loosened(section, key):
    (said,) = weakened(decode_config(f"[{section}]\n{key} = {LOOSER[key]}\n", "board.toml"))
    assert said.startswith(f"[{section}] {key} = ")
    assert "the check finds less than by default" in said
    usual = getattr(getattr(Config(), section), key)
    stricter = [value + (-1 if WEAKER[section, key] > 0 else 1) * 1e-3 for value in np.atleast_1d(usual)]
    if isinstance(usual, float):
        assert weakened(decode_config(f"[{section}]\n{key} = {stricter[0]}\n", "board.toml")) == []


def test_no_bound_of_the_line_is_left_out():
    assert {key for section, key in WEAKER if section == "line"} == {*LineConfig.__struct_fields__} - {"reference"}


def test_planes_that_must_both_show_a_cherry_are_named():
    (said,) = weakened(decode_config('[segmentation]\ncombine = "all"\n', "board.toml"))
    assert said.startswith("[segmentation] combine = all")


def test_an_encoder_that_triggers_the_cameras_is_named():
    (board,) = (path for path in BOARDS if path.name == "pi5-two-global-shutter.toml")
    free = board.read_text()
    triggered = re.sub(r"(?m)^sync = .*$", "", free).replace(
        'trigger = "none"', 'trigger = "external"\ntrigger_ticks = 9'
    )
    for text, count in ((free, 0), (triggered, 1)):
        found = [said for said in weakened(decode_config(text, "b.toml")) if said.startswith("[source] trigger")]
        assert len(found) == count


def test_a_line_with_cameras_that_is_not_calibrated_is_named_for_as_long_as_it_lasts():
    (board,) = (path for path in BOARDS if path.name == "pi5-two-global-shutter.toml")
    assert any("not calibrated" in said for said in weakened(load_config(board)))
    dark = decode_config(re.sub(r"(?m)^background = .*$", "background = [2, 1]", board.read_text()), "b.toml")
    assert any("a lamp that fails is not detected" in said for said in weakened(dark))
