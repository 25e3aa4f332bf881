import tomllib
from pathlib import Path

import msgspec
import pytest

from pitcore.config import (
    Config,
    DecisionConfig,
    EncoderConfig,
    decode_config,
    effective_thresholds,
    load_config,
    weakened,
)
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
        ("[actuation]\nlanes = []\n[[actuation.lanes]]\nline = 5", "; it is given twice: keep one"),
        ("[belt]\npx_per_tick = 1\npx_per_tick = 2", "; it is given twice: keep one"),
        ("[belt]\n[belt]", "; it is given twice: keep one"),
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


def test_without_own_thresholds_those_of_the_card_are_used():
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
    decision = DecisionConfig(point="balanced")  # a file that names no point gets strict
    assert load_config(path) == msgspec.structs.replace(Config(), decision=decision)
    shown = tomllib.loads(path.read_text())
    # optional: they override the card, the bundled model and the [belt], or come from elsewhere
    hidden = {
        "accept",
        "reject",
        "bundle",
        "cherries_per_s",
        "url",
        "device_id",
        "controller_id",
        "true_px_per_tick",
        "disturbance",
        "file",
        "values",
        "textfile",
        "device",
        "user",
        "password_file",
        "ca_file",
        "cert_file",
        "key_file",
        "certificate",
        "sample_seed",
        "key",
    }
    for name in Config.__struct_fields__:
        section = getattr(Config(), name)
        if hasattr(section, "__struct_fields__") and name != "model":
            assert set(shown[name]) - {"kind"} == set(section.__struct_fields__) - {"kind"} - hidden
    assert set(shown["actuation"]["encoder"]) | {"line_a", "line_b"} == set(EncoderConfig.__struct_fields__)


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ('[actions]\npit = "rejct"', r"\[actions\] pit: .*; choose one of: pass, review, reject"),
        ('[segmentation]\ncombine = "some"', r"\[segmentation\] combine: .*; choose one of: any, all"),
        ('[source]\nkind = "camera"', r"\[source\] kind: .*; choose one of: emulated, replay"),
        ('[source]\nkind = "emulated"\nadvance_px = 900', r"advance_px = 900: .*more than frame.height_px = 500"),
    ],
)
def test_a_wrong_choice_names_the_right_ones(text, fix):
    with pytest.raises(ConfigError, match=fix):
        decode_config(text, "board.toml")


LANE = """
[actuation]
kind = "simulated"
encoder = { line_a = 1, line_b = 2 }
review_by_plc = true
[[actuation.lanes]]
line = 5
x_px = [0, 2464]
distance_ticks = 3000
pulse_ticks = 60
"""


def test_lanes_of_an_action_are_read_in_order():
    more = LANE.replace("x_px = [0, 2464]", "x_px = [0, 1300]") + LANE[LANE.index("[[") :].replace(
        "line = 5", "line = 6"
    )
    lanes = decode_config(more, "board.toml").actuation.lanes
    assert [(lane.line, lane.x_px, lane.action) for lane in lanes] == [
        (5, (0, 1300), "reject"),
        (6, (0, 2464), "reject"),
    ]


@pytest.mark.parametrize(
    ("old", "new", "fix"),
    [
        (
            "review_by_plc = true",
            "",
            r"say `review`, but no lane .*: add one, change \[actions\], or set actuation.review_by",
        ),
        ("x_px = [0, 2464]", "x_px = [100, 2464]", "no `reject` lane of actuation serves column 0 of 2464"),
        ("x_px = [0, 2464]", "x_px = [0, 2465]", "x_px ends at 2465, but frame.width_px is 2464"),
        ("x_px = [0, 2464]", "x_px = [9, 9]", r"x_px = \[9, 9\] is empty"),
        (
            "distance_ticks = 3000",
            "distance_ticks = 1029",
            "before the cherry has left the frame, 1000 ticks behind row 0",
        ),
        ("line = 5", "line = 2", "line 2 is used twice"),
        ("line_a = 1, line_b = 2", "", "needs encoder.line_a"),
        ("line_a = 1, line_b = 2", "line_a = 1, reverse = true", "one channel has no direction"),
        ("line_a = 1, line_b = 2", "line_b = 1", "needs encoder.line_a"),
        ('"simulated"', '"gpio"', 'an emulated belt has no encoder: set actuation.kind = "simulated"'),
        ("[actuation]", '[source]\nkind = "replay"\npath = "x"\n[actuation]', "a recording cannot drive valves"),
        ('"simulated"', '"wired"', "choose one of: none, gpio, simulated"),
    ],
)
def test_valves_that_cannot_carry_out_the_configuration_are_refused_with_the_fix(old, new, fix):
    assert old in LANE
    with pytest.raises(ConfigError, match=fix):
        decode_config(LANE.replace(old, new, 1), "board.toml")


REVIEW_ONLY = '[actions]\npit = "review"\n' + LANE + 'action = "review"\n'


def test_a_fail_safe_that_rejects_without_a_valve_to_do_it_is_refused():
    keys = "failsafe.not_judging, failsafe.light_off, failsafe.nothing_seen, failsafe.encoder_dead, actuation.fail_safe"
    with pytest.raises(ConfigError, match=f"{keys} say `reject`, but no lane .*: add one, change {keys}"):
        decode_config(REVIEW_ONLY, "board.toml")
    passing = REVIEW_ONLY.replace("review_by_plc = true", 'fail_safe = "pass"')
    softer = '[failsafe]\nnot_judging = "maybe"\nlight_off = "maybe"\nnothing_seen = "maybe"\nencoder_dead = "maybe"\n'
    with pytest.raises(ConfigError, match=f"{keys.removesuffix(', actuation.fail_safe')} say `reject`"):
        decode_config(passing, "board.toml")
    assert decode_config(softer + passing, "board.toml").actuation.lanes[0].action == "review"


def test_lanes_do_not_matter_while_nothing_is_driven():
    decode_config(LANE.replace('"simulated"', '"none"').replace("[0, 2464]", "[0, 9]"), "board.toml")


def test_an_emulated_loop_of_one_frame_would_look_like_a_frozen_camera():
    with pytest.raises(ConfigError, match=r"ring_frames = 1 is a frozen picture"):
        decode_config('[source]\nkind = "emulated"\nring_frames = 1\n', "board.toml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[metrics]\ntextfile = "out/pitcore.txt"', "textfile must end in .prom"),
        ('[metrics]\nbind = ""', r"\[metrics\] bind: Expected `str` of length >= 1"),
        ("[metrics]\nport = 65536", r"\[metrics\] port: Expected `int` <= 65535"),
        ('[mqtt]\npassword_file = "p"', "password_file needs a user"),
        ('[mqtt]\ntls = true\ncert_file = "c"', "cert_file and key_file belong together"),
        ('[mqtt]\nca_file = "c"', "ca_file, cert_file and key_file need tls = true"),
        ('[mqtt]\ndevice = "line/3"', r"\[mqtt\] device: Expected `str`; write at most 64 letters .*, not \"line/3\""),
        ('[mqtt]\ncommands = ["arm"]', r"\[mqtt\] commands\[0\]: .*; choose one of: status, disarm, reload"),
    ],
)
def test_outputs_that_cannot_work_are_refused_with_the_fix(text, said):
    with pytest.raises(ConfigError, match=said):
        decode_config(text, "board.toml")


@pytest.mark.parametrize(("host", "tls", "told"), [("broker", "false", 1), ("broker", "true", 0), ("::1", "false", 0)])
def test_a_password_that_others_can_read_is_reported_as_long_as_it_lasts(host, tls, told):
    text = f'[mqtt]\nenabled = true\nhost = "{host}"\ntls = {tls}\nuser = "a"\npassword_file = "p"'
    said = weakened(decode_config(text, "board.toml"))
    assert len([line for line in said if "[mqtt] tls = false: the password" in line]) == told
