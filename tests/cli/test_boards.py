"""Every shipped board starts, with an emulated belt and with its own cameras; each fault of a camera is reported."""

import json
import tomllib

import pytest

from pitcore.camera.replay import ReplaySource
from pitcore.config import (
    CameraConfig,
    Config,
    Picamera2SourceConfig,
    UvcSourceConfig,
    VideoSourceConfig,
    decode_config,
    emulated,
    load_config,
)
from tests.camera.board import BOTTOM, TOP, programs_cameras
from tests.cli.program import run_pitcore
from tests.cli.service import Service, whole_lines
from tests.config_text import two_cameras
from tests.conftest import ROOT

BOARDS = sorted((ROOT / "firmware_configs" / "boards").glob("*.toml"))


def at_home(board, place):
    """The board's configuration with its files below ``place``."""
    text = board.read_text()
    for given in ("/var/log/pitcore", "/var/lib/pitcore", "/run/pitcore", "out/run", "out/webcam"):
        text = text.replace(f'"{given}', f'"{place}')
    (place / "board.toml").write_text(text)
    return place / "board.toml"


def judged(line):
    return line["schema"] == "pitcore.verdict/1" and line["probabilities"]


@pytest.mark.parametrize("board", BOARDS, ids=lambda path: path.stem)
def test_every_shipped_board_starts_the_emulated_service(tmp_path, board):
    service = Service(at_home(board, tmp_path), tmp_path / "log", "--emulate")
    try:
        service.wait_for_line(tmp_path / "verdicts.jsonl", judged)
        assert service.stop() == 0
    finally:
        service.kill()


def test_there_is_a_board_for_every_case():
    assert {board.stem for board in BOARDS} >= {"emulated", "pi5-two-global-shutter", "pi4-one", "webcam"}


@pytest.mark.parametrize("name", ["pi5-two-global-shutter", "pi4-one"])
def test_a_board_with_its_cameras_judges_what_they_show(tmp_path, name):
    (board,) = (path for path in BOARDS if path.stem == name)
    source = load_config(board).source
    cameras = [
        {
            "id": camera.id,
            "plane": "both" if len(camera.planes) == 2 else camera.planes[0],
            "height_px": 1088,
            "width_px": 1456,
            "advance_px": round(source.px_per_s / source.frames_per_s),
        }
        for camera in source.cameras
    ]
    service = Service(at_home(board, tmp_path), tmp_path / "log", env=programs_cameras(cameras=cameras))
    try:
        service.wait_for_line(tmp_path / "verdicts.jsonl", judged)
        service.wait_for_log("ready: a frame of every camera was processed")
        assert service.stop() == 0
    finally:
        service.kill()


def test_a_board_without_its_cameras_says_what_is_missing(tmp_path):
    (board,) = (path for path in BOARDS if path.stem == "pi5-two-global-shutter")
    source = load_config(board).source
    one = {"id": source.cameras[0].id, "plane": "top", "height_px": 1088, "width_px": 1456, "advance_px": 680}
    done = run_pitcore("run", "--config", at_home(board, tmp_path), env=programs_cameras(cameras=[one]))
    assert done.returncode == 2
    assert f"camera bottom ({source.cameras[1].id}) is not connected; found: {one['id']}" in done.stderr


@pytest.mark.parametrize(
    ("name", "classes"),
    [
        ("pi5-two-global-shutter", [Picamera2SourceConfig, CameraConfig]),
        ("webcam", [UvcSourceConfig, VideoSourceConfig]),
    ],
)
def test_the_shipped_board_shows_every_key_of_its_source(name, classes):
    (board,) = (path for path in BOARDS if path.stem == name)
    words = board.read_text().replace("#", " ").split()
    for kind in classes:
        assert set(kind.__struct_fields__) - {"cameras"} <= set(words)


@pytest.mark.parametrize("name", ["pi5-two-global-shutter", "pi4-one"])
def test_the_valves_that_a_board_shows_can_be_uncommented(name):
    (board,) = (path for path in BOARDS if path.stem == name)
    before, mark, rest = board.read_text().partition("# Measure and then uncomment")
    lines, blank, after = rest.partition("\n\n")
    first, *shown = lines.splitlines()
    driven = before + mark + first + "\n" + "\n".join(line.removeprefix("# ") for line in shown) + blank + after
    config = decode_config(driven.replace('kind = "none"', 'kind = "gpio"'), "board.toml")
    assert len(config.actuation.lanes) == 2
    assert config.actuation.encoder.line_a == 23
    assert emulated(config).actuation.kind == "simulated"


def write_small(tmp_path, tiny_bundle, patience_s):
    text = two_cameras(50.0, patience_s=patience_s)
    text += f'[model]\nbundle = "{tiny_bundle}"\n[sink]\npath = "{tmp_path / "v.jsonl"}"\n'
    text += f'[control]\nsocket = "{tmp_path / "c.sock"}"\nstate_dir = "{tmp_path / "state"}"\n'
    (tmp_path / "board.toml").write_text(text)
    return tmp_path / "board.toml"


@pytest.fixture
def small(tmp_path, tiny_bundle):
    """A board of two small cameras that ends for no camera that is only slow."""
    return write_small(tmp_path, tiny_bundle, 60.0)


@pytest.fixture
def impatient(tmp_path, tiny_bundle):
    """The same, which takes a camera for broken after three seconds."""
    return write_small(tmp_path, tiny_bundle, 3.0)


ENDING = {
    "hangs": ({"hang_at": 20}, "sent nothing for 3 s: it hangs, or its cable or power failed"),
    "unplugged": ({"unplug_at": 20}, "sent nothing for 3 s: it hangs, or its cable or power failed"),
    "freezes": ({"freeze_at": 20}, "sent one and the same picture for 3"),
    "never locks": ({"never_locks": True}, "gave no good frame for 3 s: exposure is 1600 us, asked for 500"),
    "no first frame": ({"hang_at": 0}, "sent nothing for 3 s"),
    "no stamps": ({"no_stamp": True}, "its frames carry no SensorTimestamp"),
}


@pytest.mark.parametrize("fault", ENDING)
def test_a_camera_that_fails_ends_the_service_with_its_name(impatient, fault):
    faults, said = ENDING[fault]
    done = run_pitcore("run", "--config", impatient, env=programs_cameras(faults={BOTTOM: faults}))
    assert done.returncode == 2
    assert f"pitcore: camera bottom ({BOTTOM})" in done.stderr.splitlines()[-1]
    assert said in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    lines = [json.loads(line) for line in whole_lines(impatient.parent / "v.jsonl")]
    stuck = [number for number, line in enumerate(lines) if line.get("event") == "frame_stuck"]
    assert bool(stuck) == (fault == "freezes"), "a frozen last frame"
    assert not stuck or not any(line["schema"] == "pitcore.verdict/1" for line in lines[stuck[0] :]), (
        "judged all the same"
    )


# Frame by frame, so that each fault of a camera that goes on is in one run, and distinguished by its cause.
SURVIVED = {"stale": [0, 1], "startup": 6, "dropped": [20, 21], "unlock": [30, 31], "repeated": [40, 41]}
CAUSES = {"stale", "startup", "sensor", "unlocked", "repeated"}


def test_the_service_survives_each_fault_counts_it_and_names_the_camera(small):
    service = Service(small, small.parent / "log", env=programs_cameras(faults={TOP: SURVIVED}))

    def told():
        done = run_pitcore("status", "--json", "--config", small)
        if done.returncode:
            return False
        cameras = {camera["id"]: camera for camera in json.loads(done.stdout)["cameras"]}
        return cameras[TOP]["lost"].keys() >= CAUSES and cameras[BOTTOM]["lost"].get("unpaired", 0) >= 4

    try:
        service.wait(told, f"causes in the status of {TOP}")
        service.wait_for_line(small.parent / "v.jsonl", lambda line: line.get("event") == "frames_lost")
        shown = run_pitcore("status", "--config", small).stdout
        (line,) = [line for line in shown.splitlines() if f"{TOP} (top): ok" in line]
        assert "locked at 500 us, gain 1; lost: " in line
        service.wait_for_line(small.parent / "v.jsonl", lambda line: line["schema"] == "pitcore.verdict/1")
        assert service.stop() == 0
    finally:
        service.kill()


def recorded(config, faults):
    """Record from cameras with faults; return how that ended, and the recording, which is whole and can be replayed."""
    folder = config.parent / "rec"
    env = programs_cameras(faults={TOP: faults})
    done = run_pitcore("record", folder, "--frames", "60", "--config", config, env=env)
    assert run_pitcore("replay", folder, "--out", config.parent / "r.jsonl", "--config", config).returncode == 0
    replay = ReplaySource(folder)
    assert not replay.torn
    return done, replay


def test_a_recording_over_faults_that_pass_is_whole_and_says_what_was_lost(small):
    done, replay = recorded(small, SURVIVED)
    assert (done.returncode, replay.frames) == (0, 60), done.stderr
    assert " lost" in done.stdout


@pytest.mark.parametrize("fault", ["hangs", "unplugged"])
def test_a_recording_that_a_fault_ends_is_whole_and_names_the_camera(impatient, fault):
    done, replay = recorded(impatient, ENDING[fault][0])
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]  # of an unplugged one the log also says that it does not close
    assert last.startswith(f"pitcore: camera top ({TOP}) sent nothing for 3 s")
    assert last.endswith(f"{replay.frames} frames before it are recorded")
    assert 0 < replay.frames <= 20


def test_a_calibrated_exposure_is_what_the_cameras_are_given(small):
    small.write_text(small.read_text() + '[calibration]\nfile = "calibration.json"\n')
    env = programs_cameras(each={"lit_at_us": 2000})  # four times as long as the configuration says
    done = run_pitcore("calibrate", "exposure", "--config", small, env=env)
    assert done.returncode == 0, done.stderr
    measured = json.loads((small.parent / "calibration.json").read_text())["planes"]
    service = Service(small, small.parent / "log", env=env)

    def locked():
        done = run_pitcore("status", "--json", "--config", small)
        if done.returncode:
            return None
        cameras = json.loads(done.stdout)["cameras"]
        return [camera["locked"] for camera in cameras if camera["locked"]]

    try:
        service.wait(lambda: len(locked() or []) == 2, "two locked cameras")
        told = {one: round(measured[one]["exposure_us"]) for one in ("top", "bottom")}
        assert [one["exposure_us"] for one in locked()] == [told["top"], told["bottom"]]
        assert min(told.values()) > 550
        assert service.stop() == 0
    finally:
        service.kill()


def test_a_configuration_with_cameras_goes_through_every_command_that_needs_none(small):
    assert run_pitcore("config", "check", small).returncode == 0
    assert tomllib.loads(small.read_text())["source"]["kind"] == "picamera2"
    assert load_config(small) != Config()
