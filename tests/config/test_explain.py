from typing import get_args

import pytest

from pitcore.config import Config, EmulatedSourceConfig, SourceConfig, decode_config, explain, load_config
from pitcore.config.explain import meanings
from tests.cli.program import run_pitcore
from tests.config_text import camera_source
from tests.conftest import ROOT

BOARDS = sorted((ROOT / "firmware_configs" / "boards").glob("*.toml"))
FILE = "[frame]\nheight_px = 240\n" + camera_source(10.0, ids=("one", "two")) + "gain = 2.0\n"


def explained(text):
    return {(one.section, one.key): one for one in explain(decode_config(text, "board.toml"), text)}


@pytest.mark.parametrize("board", BOARDS, ids=lambda path: path.stem)
def test_every_key_of_every_shipped_board_has_a_meaning(board):
    silent = [one for one in explain(load_config(board), board.read_text()) if not one.meaning]
    assert silent == []


@pytest.mark.parametrize("kind", get_args(SourceConfig))
def test_a_meaning_belongs_to_a_key_that_exists(kind):
    assert set(meanings(kind)) == set(kind.__struct_fields__)


def test_a_value_is_explained_with_its_default_and_origin():
    told = explained(FILE)
    height = told["frame", "height_px"]
    assert (height.value, height.default, height.given) == ("240", "500", True)
    width = told["frame", "width_px"]
    assert (width.value, width.default, width.given) == ("2464", "2464", False)
    assert told["source", "kind"].value == '"picamera2"'
    assert (told["source", "sync"].value, told["source", "sync"].default) == ('"none"', '"none"')
    assert told["source", "picture_px"].value == "left out"


def test_each_camera_is_explained_separately():
    told = explained(FILE)
    assert told["source.cameras[0]", "id"].value == '"one"'
    assert told["source.cameras[0]", "id"].default == "must be given"
    assert (told["source.cameras[0]", "gain"].value, told["source.cameras[0]", "gain"].given) == ("1.0", False)
    assert (told["source.cameras[1]", "gain"].value, told["source.cameras[1]", "gain"].given) == ("2.0", True)
    assert told["source.cameras[1]", "planes"].value == '["bottom"]'


def test_an_empty_file_explains_every_section():
    told = explained("")
    assert {section.partition(".")[0] for section, _ in told} == set(Config.__struct_fields__) - {"schema"}
    assert not any(one.given for one in told.values())


def test_a_meaning_that_runs_over_lines_is_one_line():
    assert meanings(EmulatedSourceConfig)["true_px_per_tick"].endswith("None if [belt] is right.")
    assert all("\n" not in one.meaning for one in explained("").values())


def test_the_command_prints_value_meaning_default_and_origin(tmp_path):
    (tmp_path / "board.toml").write_text(FILE)
    done = run_pitcore("config", "check", "--explain", tmp_path / "board.toml")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "[source.cameras[1]]" in lines
    assert "gain = 2.0  (board.toml; default 1.0)" in lines
    assert "    analogue, locked for every frame." in lines
    assert "startup_s = 5.0  (default)" in lines
