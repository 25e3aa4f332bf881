import tomllib
from pathlib import Path

import pytest

from pitcore.config import Config, DecisionConfig, decode_config, effective_thresholds, load_config
from pitcore.errors import ConfigError
from pitcore.model_card import Thresholds


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[segmentation]\nthreshold = [0, 14]", "[segmentation] threshold[0]: Expected `int` >= 1"),
        ("[segmentation]\nbackground = [6]", "segmentation.background has 1 values"),
        ("[decision]\naccept = nan", "[decision] accept: Expected `float` >= 0.0"),
        ("[decision]\nreject = 1.5", "[decision] reject: Expected `float` <= 1.0"),
        ("[belt]\npx_per_tick = 0", "px_per_tick must not be 0"),
        ("[source]\nkind = 'webcam'", "[source] kind: Invalid value 'webcam'"),
        ("[actions]\npit = 'pass'", "pit must not be `pass`"),
        ("[frame]\nheight_px = 'tall'", "[frame] height_px: Expected `int`, got `str`"),
        ("[sink]\npaht = 'x'", "[sink]: unknown key `paht`; known: path, rotate_bytes, keep"),
        ("[sinks]\npath = 'x'", "unknown key `sinks`; known: schema, frame, belt"),
        ("x =", "not valid TOML"),
        ("schema = 'pitcore.config/2'", "schema: "),
    ],
)
def test_a_bad_value_is_named_by_file_section_and_key(text, said):
    with pytest.raises(ConfigError) as caught:
        decode_config(text, "board.toml")
    message = str(caught.value)
    assert message.startswith("board.toml: ")
    assert said in message
    assert "\n" not in message


def test_an_empty_file_means_the_defaults():
    assert decode_config("", "board.toml") == Config() == load_config(None)


def test_a_missing_file_says_so(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        load_config(tmp_path / "none.toml")


def test_a_binary_file_is_refused(tmp_path):
    path = tmp_path / "board.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_config(path)


def test_the_hash_follows_every_value_and_nothing_else():
    changed = decode_config("[runtime]\nthreads = 2", "a.toml")
    assert changed.sha256 != Config().sha256
    assert decode_config("# a comment\n[runtime]\nthreads = 1", "b.toml").sha256 == Config().sha256


CARD = Thresholds(accept=0.2, reject=0.8)


def test_a_board_may_be_stricter():
    board = DecisionConfig(accept=0.1, reject=0.5)
    assert effective_thresholds(CARD, board) == Thresholds(accept=0.1, reject=0.5)


def test_without_a_wish_the_card_rules():
    assert effective_thresholds(CARD, DecisionConfig()) == CARD


@pytest.mark.parametrize("board", [DecisionConfig(accept=0.3), DecisionConfig(reject=0.9)])
def test_a_board_may_not_be_looser(board):
    with pytest.raises(ConfigError, match="a board may only be stricter"):
        effective_thresholds(CARD, board)


def test_thresholds_that_cross_are_refused():
    with pytest.raises(ConfigError, match="is above reject"):
        effective_thresholds(CARD, DecisionConfig(reject=0.1))


BOARDS = sorted((Path(__file__).parent.parent / "firmware_configs" / "boards").glob("*.toml"))


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.name)
def test_every_shipped_board_is_valid(path):
    load_config(path)


def test_the_emulated_board_shows_the_defaults():
    (path,) = (path for path in BOARDS if path.name == "emulated.toml")
    assert load_config(path) == Config()
    shown = tomllib.loads(path.read_text())
    # optional: they override the card, the bundled model and the [belt], or come from elsewhere
    hidden = {"accept", "reject", "bundle", "url", "device_id", "true_px_per_tick", "disturbance", "file", "values"}
    for name in Config.__struct_fields__:
        section = getattr(Config(), name)
        if hasattr(section, "__struct_fields__") and name != "model":
            assert set(shown[name]) - {"kind"} == set(section.__struct_fields__) - hidden


@pytest.mark.parametrize(
    ("text", "mend"),
    [
        ('[actions]\npit = "rejct"', r"\[actions\] pit: .*; choose one of: pass, review, reject"),
        ('[segmentation]\ncombine = "some"', r"\[segmentation\] combine: .*; choose one of: any, all"),
        ('[source]\nkind = "camera"', r"\[source\] kind: .*; choose one of: emulated, replay"),
        ('[source]\nkind = "emulated"\nadvance_px = 900', r"advance_px = 900 is more than frame.height_px = 500"),
    ],
)
def test_a_wrong_choice_names_the_right_ones(text, mend):
    with pytest.raises(ConfigError, match=mend):
        decode_config(text, "board.toml")
