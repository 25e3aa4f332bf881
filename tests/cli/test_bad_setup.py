"""A bad configuration or bundle is one line and exit code 2. ``config check`` is tested in place of every command."""

import json
import os

import pytest

from pitcore.config import load_config
from pitcore.inference.choice import open_bundle
from tests.cli.program import assert_one_clear_line, run_pitcore, write_config
from tests.conftest import ROOT, tiny_card, tiny_network, write_card, write_tiny_bundle


def check(config):
    return run_pitcore("config", "check", config)


def test_a_good_configuration_is_shown(tmp_path, tiny_bundle):
    config = write_config(tmp_path / "board.toml", tiny_bundle)
    done = check(config)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == f"{config}: good"
    assert "top + bottom, 240x640 px" in done.stdout
    assert "clean below 0.2, pit from 0.8" in done.stdout
    assert load_config(config).sha256 in done.stdout


def test_the_shipped_configurations_are_good():
    boards = sorted((ROOT / "firmware_configs" / "boards").glob("*.toml"))
    assert boards
    for board in boards:
        open_bundle(load_config(board))
    assert check(ROOT / "firmware_configs" / "boards" / "emulated.toml").returncode == 0


@pytest.mark.parametrize(
    ("extra", "parts"),
    [
        ("[decision]\naccept = nan\n", ["[decision] accept"]),
        ("[decision]\nreject = 1.5\n", ["[decision] reject"]),
        ("[decision]\naccept = 0.9\n", ["accept", "0.2"]),
        ("[decision]\nmax_size = 3\n", ["[decision]", "unknown key `max_size`", "max_area_px"]),
        ("[decisions]\n", ["unknown key `decisions`", "decision"]),
        ("[runtime]\nthreads = 0\n", ["[runtime] threads"]),
        ('[runtime]\nthreads = "two"\n', ["[runtime] threads"]),
        ('[actions]\npit = "pass"\n', ["pit", "pass"]),
        ("[belt]\npx_per_tick = 0.0\n", ["px_per_tick"]),
        ("[segmentation]\nthreshold = [14]\n", ["segmentation.threshold", "2 planes"]),
        ("this is no toml\n", ["board.toml"]),
    ],
)
def test_a_bad_value_names_file_section_and_key(tmp_path, tiny_bundle, extra, parts):
    config = write_config(tmp_path / "board.toml", tiny_bundle, extra="\n" + extra)
    assert_one_clear_line(check(config), "board.toml", *parts)


@pytest.mark.parametrize("command", ["run", "demo", "config check"])
def test_thresholds_that_cross_name_the_file_in_every_command(tmp_path, tiny_bundle, command):
    extra = "\n[decision]\naccept = 0.2\nreject = 0.01\n"
    config = write_config(tmp_path / "board.toml", tiny_bundle, extra=extra, sink=tmp_path / "v.jsonl")
    options = [config] if command == "config check" else ["--config", config]
    done = run_pitcore(*command.split(), *options, cwd=tmp_path)
    assert_one_clear_line(done, f"{config}: [decision] accept = 0.2 is above reject = 0.01; lower accept")


@pytest.mark.parametrize("command", [("config", "check"), ("run", "--config")])
@pytest.mark.parametrize(("place", "part"), [("folder", "directory"), ("pipe", "not a regular file"), ("other", "")])
def test_check_and_run_refuse_the_same_sink_paths(tmp_path, tiny_bundle, command, place, part):
    path = tmp_path / place
    if place == "folder":
        path.mkdir()
    elif place == "pipe":
        os.mkfifo(path)
    else:
        path.write_text("a file of somebody else\n")
    config = write_config(tmp_path / "board.toml", tiny_bundle, sink=path)
    assert_one_clear_line(run_pitcore(*command, config), str(path), part)


@pytest.mark.parametrize("kind", ["replay", "video"])
def test_a_recording_that_is_not_there_is_refused(tmp_path, tiny_bundle, kind):
    config = tmp_path / "board.toml"
    config.write_text(f'[source]\nkind = "{kind}"\npath = "{tmp_path}/none"\n[model]\nbundle = "{tiny_bundle}"\n')
    assert_one_clear_line(check(config), "[source] path", f"{tmp_path}/none")


@pytest.mark.parametrize("what", ["missing", "folder", "binary"])
def test_a_configuration_that_cannot_be_read_is_named(tmp_path, what):
    path = tmp_path / "board.toml"
    if what == "folder":
        path.mkdir()
    if what == "binary":
        path.write_bytes(b"\xff\xfe\x00")
    assert_one_clear_line(check(path), str(path))


def remove_card_key(bundle):
    card = tiny_card(bundle)
    del card["resize"]
    write_card(bundle, card)


def add_card_key(bundle):
    write_card(bundle, tiny_card(bundle) | {"gamma": 2.2})


def alter_network(bundle):
    content = bytearray((bundle / "model.onnx").read_bytes())
    content[-1] ^= 1
    (bundle / "model.onnx").write_bytes(content)


def remove_network(bundle):
    (bundle / "model.onnx").unlink()


def wrong_input(bundle):
    (bundle / "model.onnx").write_bytes(tiny_network(side=32))
    write_card(bundle, tiny_card(bundle))


def no_network(bundle):
    (bundle / "model.onnx").write_bytes(b"this is no network")
    write_card(bundle, tiny_card(bundle))


def card_of_nan(bundle):
    (bundle / "card.json").write_text(json.dumps(tiny_card(bundle)).replace("0.2", "NaN"))


def empty_card(bundle):
    (bundle / "card.json").write_bytes(b"")


def torn_card(bundle):
    card = bundle / "card.json"
    card.write_bytes(card.read_bytes()[:99])


DAMAGE = {
    empty_card: ["card.json: it is empty; the file is damaged, copy the bundle again"],
    torn_card: ["card.json: it is no JSON", "; the file is damaged, copy the bundle again"],
    remove_card_key: ["card.json", "resize"],
    add_card_key: ["card.json", "gamma"],
    alter_network: ["model.onnx"],
    remove_network: ["model.onnx"],
    card_of_nan: ["card.json"],
}


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
def test_a_damaged_bundle_is_named(tmp_path, damage):
    bundle = write_tiny_bundle(tmp_path / "bundle")
    damage(bundle)
    assert_one_clear_line(check(write_config(tmp_path / "board.toml", bundle)), str(bundle), *DAMAGE[damage])


@pytest.mark.parametrize("damage", [wrong_input, no_network], ids=lambda damage: damage.__name__)
def test_a_network_that_does_not_match_its_card_is_refused(tmp_path, damage):
    bundle = write_tiny_bundle(tmp_path / "bundle")
    damage(bundle)
    config = write_config(tmp_path / "board.toml", bundle)
    assert_one_clear_line(run_pitcore("demo", "--config", config, "--out", tmp_path / "out"), "model.onnx")
    assert_one_clear_line(check(config), "model.onnx")


def test_a_check_proves_the_model_on_its_golden_vectors(tmp_path):
    good, bad = write_tiny_bundle(tmp_path / "good"), write_tiny_bundle(tmp_path / "bad", golden_shift=0.01)
    assert "golden vectors reproduced" in check(write_config(tmp_path / "good.toml", good)).stdout
    assert_one_clear_line(check(write_config(tmp_path / "bad.toml", bad)), str(bad), "golden vectors are off by")


UPDATES = [f"update {command}" for command in ("check", "fetch", "install", "commit", "rollback", "status")]


@pytest.mark.parametrize("command", ["demo", "run", "classify", "record", "replay", "config", "config check", *UPDATES])
def test_every_command_explains_itself_with_an_example(command):
    done = run_pitcore(*command.split(), "--help")
    assert done.returncode == 0
    assert command == "config" or "Example" in done.stdout
    assert command == "config" or f"pitcore {command} " in done.stdout


def test_an_unknown_option_or_command_is_exit_code_2():
    assert run_pitcore("demo", "--frame", "3").returncode == 2
    assert run_pitcore("demmo").returncode == 2
    assert run_pitcore("demo", "--frames", "0").returncode == 2


def test_the_version_is_the_packages():
    from pitcore import __version__  # noqa: PLC0415  the one place that asks

    assert run_pitcore("--version").stdout.split()[-1] == __version__


def test_a_newline_in_a_name_does_not_add_a_line_to_the_message(tmp_path):
    folder = tmp_path / "a\npitcore: all is well"
    folder.mkdir()
    done = run_pitcore("replay", folder, "--out", tmp_path / "out.jsonl")
    assert_one_clear_line(done, "a\\npitcore: all is well")
