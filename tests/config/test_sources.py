"""Every kind of [source] says what belt it shows, and the rules that depend on it hold: add a new kind to SOURCES."""

from typing import get_args

import pytest

from pitcore.config import SourceConfig, decode_config, weakened
from pitcore.config.section import Belt
from pitcore.doctor.examine import check_source
from pitcore.doctor.software import EXTRAS, wanted_extras
from pitcore.errors import ConfigError
from pitcore.line_watch.card_drift import CardCheck
from pitcore.loop.headroom import brought_per_s
from pitcore.model_card import DEFAULT_BUNDLE
from tests.config_text import SMALL_FRAME, camera_source
from tests.doctor.boards import board
from tests.line_belt import line_source, run_line

# The belt that each kind shows, and [source] of a board with it.
SOURCES = {
    "emulated": ("emulated", '[source]\nkind = "emulated"\nadvance_px = 120\n'),
    "replay": ("recorded", '[source]\nkind = "replay"\npath = "rec"\n'),
    "video": ("recorded", '[source]\nkind = "video"\npath = "film.mp4"\n'),
    "picamera2": ("real", camera_source(20.0)),
    "uvc": ("real", '[source]\nkind = "uvc"\n'),
}
REAL = {kind for kind, (belt, _) in SOURCES.items() if belt == "real"}
VALVES = '[actuation]\nkind = "simulated"\nencoder = { line_a = 1, line_b = 2 }\n'


def config_of(kind, more=""):
    return decode_config(SMALL_FRAME + SOURCES[kind][1] + more, "board.toml")


def test_every_kind_of_source_is_tested_here():
    assert {kind.__struct_config__.tag for kind in get_args(SourceConfig)} == set(SOURCES)


@pytest.mark.parametrize("kind", get_args(SourceConfig))
def test_every_kind_of_source_says_which_belt_it_shows_and_what_it_needs(kind):
    assert kind.belt == SOURCES[kind.__struct_config__.tag][0]
    assert kind.belt in get_args(Belt)
    assert kind.extra is None or kind.extra in EXTRAS
    assert not {"belt", "extra"} & set(kind.__struct_fields__), "a file could change it"


@pytest.mark.parametrize("kind", SOURCES)
def test_light_that_nothing_watches_is_reported_over_a_real_belt_only(kind):
    assert any("a change of the light is not detected" in said for said in weakened(config_of(kind))) == (kind in REAL)


@pytest.mark.parametrize("kind", SOURCES)
def test_only_over_a_real_belt_no_cherry_is_clean_until_the_planes_are_known(kind, tiny_bundle):
    memory, _, _ = run_line(config_of(kind, f'[model]\nbundle = "{tiny_bundle}"\n'), line_source(12))
    assert any(one.reason == "failsafe" for one in memory.verdicts) == (kind in REAL)


@pytest.mark.parametrize("kind", SOURCES)
def test_only_over_a_real_belt_cherries_are_compared_with_the_card(kind, monkeypatch):
    monkeypatch.setattr(CardCheck, "unlike", lambda _: True)
    monkeypatch.setattr(CardCheck, "describe", lambda _: "unlike")
    _, _, app = run_line(config_of(kind, f'[model]\nbundle = "{DEFAULT_BUNDLE}"\n'), line_source(6))
    assert ("unlike_card" in [alarm.name for alarm in app.alarms]) == (kind in REAL)


@pytest.mark.parametrize("kind", SOURCES)
def test_only_a_recorded_belt_drives_no_valves_and_has_no_rate(kind):
    recorded = SOURCES[kind][0] == "recorded"
    assert (brought_per_s(config_of(kind)) is None) == recorded
    if recorded:
        with pytest.raises(ConfigError, match="a recording cannot drive valves"):
            config_of(kind, VALVES)
    else:
        config_of(kind, VALVES)


@pytest.mark.parametrize("kind", SOURCES)
def test_doctor_looks_for_every_camera_over_a_real_belt(kind, tmp_path):
    assert (check_source(board(tmp_path, {}), config_of(kind)).status != "skip") == (kind in REAL)


def test_the_extra_of_a_source_is_one_that_its_configuration_needs():
    assert {kind for kind in SOURCES if "video" in wanted_extras(config_of(kind))} == {"video", "uvc"}
