"""``pitcore calibrate`` as a technician runs it."""

import json

import pytest
from PIL import Image

from tests.cli.program import assert_one_clear_line, run_pitcore, write_config

DISTURBED = """true_px_per_tick = 0.5
[source.disturbance]
light = [0.5, 1.0]
edge_light = [0.5, 0.6]
shift_px = [7, -4]
[belt]
px_per_tick = 0.3
[calibration]
file = "calibration.json"
"""


@pytest.fixture
def board(tmp_path, tiny_bundle):
    path = write_config(tmp_path / "board.toml", tiny_bundle)
    text = path.read_text().replace("ring_frames = 6\n", "ring_frames = 6\n" + DISTURBED)
    path.write_text(text.replace("cherries_per_frame = 4.0", "cherries_per_frame = 6.0"))
    return path


def calibrate(step, board, *options):
    done = run_pitcore("calibrate", step, "--config", board, "--out", board.parent / "out", *options)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_calibration_restores_the_truth_table_and_undo_the_table_from_before(board):
    before = board.read_text()

    def missed():
        done = run_pitcore("demo", "--config", board, "--frames", "40", "--out", board.parent / "demo")
        assert done.returncode == 0, done.stderr
        return next(line for line in done.stdout.splitlines() if line.startswith("missed"))

    assert missed() != "missed 0, judged twice 0, nothing there 0"
    said = calibrate("exposure", board)
    assert "top: bright level " in said
    assert "number 1; 'pitcore calibrate undo' restores number 0" in said
    assert "of the light: lifted by up to " in calibrate("flat", board, "--frames", "300")
    assert "alignment (0, 0) -> (7, -4); frames become 236x633 px" in calibrate("align", board, "--frames", "60")
    assert "px_per_tick 0.3 -> 0.500" in calibrate("belt", board, "--frames", "120")
    assert missed() == "missed 0, judged twice 0, nothing there 0"
    for step in ("exposure", "flat", "align", "belt"):
        with Image.open(board.parent / "out" / f"{step}.png") as picture:
            picture.load()
            assert picture.width == 1232
    stored = json.loads((board.parent / "calibration.json").read_text())
    assert (stored["serial"], stored["step"]) == (4, "belt")
    checked = run_pitcore("config", "check", board).stdout
    assert "calibration number 4 of 20" in checked
    assert ": exposure, flat, align, belt\n" in checked
    undone = run_pitcore("calibrate", "undo", "--config", board)
    assert "number 3 is in force again (align, " in undone.stdout
    assert missed() != "missed 0, judged twice 0, nothing there 0"
    assert board.read_text() == before


def test_try_stores_nothing(board):
    assert "nothing stored (--try)" in calibrate("belt", board, "--frames", "120", "--try")
    assert not list(board.parent.glob("calibration.json*"))


def test_calibrate_measures_alignment_but_not_exposure_on_a_recording(board):
    recording = board.parent / "rec"
    assert run_pitcore("record", recording, "--config", board, "--frames", "60").returncode == 0
    assert "alignment (0, 0) -> (7, -4)" in calibrate("align", board, "--recording", recording, "--frames", "60")
    done = run_pitcore("calibrate", "exposure", "--config", board, "--recording", recording)
    assert_one_clear_line(done, "a recording keeps the light it was made with; calibrate on the live cameras")


def test_a_calibration_of_other_frames_or_a_damaged_one_is_refused(board):
    calibrate("belt", board, "--frames", "120")
    path = board.parent / "calibration.json"
    state = json.loads(path.read_text())
    path.write_text(json.dumps(state | {"width_px": 320}))
    demo = run_pitcore("demo", "--config", board, "--frames", "2", "--out", board.parent / "demo")
    assert_one_clear_line(demo, "0x320 px, but [frame] says top + bottom, ")
    path.write_text("{}")
    assert_one_clear_line(run_pitcore("demo", "--config", board, "--frames", "2"), "pitcore calibrate undo")
    undone = run_pitcore("calibrate", "undo", "--config", board)
    assert "number 1 is in force again" in undone.stdout


@pytest.mark.parametrize(
    ("arguments", "fix"),
    [
        (("belt",), "no configuration was read"),
        (("undo",), "no configuration was read"),
        (("exposure", "--config", "{board}", "--target", "top=999"), "give PLANE=LEVEL with one of top, bottom"),
        (("exposure", "--config", "{board}", "--target", "side=99"), "give PLANE=LEVEL with one of top, bottom"),
        (("align", "--config", "{board}", "--frames", "4"), "30 are needed; run the belt with cherries on it"),
        (("undo", "--config", "{board}"), "nothing to undo: no calibration is in force"),
    ],
)
def test_an_impossible_calibration_is_a_one_line_error(board, arguments, fix):
    done = run_pitcore("calibrate", *[word.format(board=board) for word in arguments])
    assert_one_clear_line(done, fix)
    assert not list(board.parent.glob("calibration.json*"))


def test_a_configuration_without_a_calibration_file_is_named(tmp_path, tiny_bundle):
    board = write_config(tmp_path / "board.toml", tiny_bundle)
    done = run_pitcore("calibrate", "belt", "--config", board)
    assert_one_clear_line(done, "[calibration] file is not set, so there is no place for the result")


def test_undo_never_deletes_the_configuration_that_names_itself_as_its_calibration(tmp_path, tiny_bundle):
    path = write_config(tmp_path / "board.toml", tiny_bundle, extra='\n[calibration]\nfile = "board.toml"\n')
    before = path.read_bytes()
    assert_one_clear_line(run_pitcore("calibrate", "undo", "--config", path), "names this configuration")
    assert path.read_bytes() == before
