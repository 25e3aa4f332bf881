import json

import pytest

from pitcore.model_card import DEFAULT_BUNDLE
from tests.cli.program import assert_one_clear_line, run_pitcore, write_config
from tests.config_text import SMALL_FRAME


@pytest.fixture
def small(tmp_path, tiny_bundle):
    return write_config(tmp_path / "board.toml", tiny_bundle)


@pytest.fixture
def recording(tmp_path, small):
    done = run_pitcore("record", tmp_path / "rec", "--frames", "12", "--seed", "5", "--config", small)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{tmp_path / 'rec'}: 12 frames, ")
    return tmp_path / "rec"


def replay(recording, small, out, *more):
    return run_pitcore("replay", recording, "--config", small, "--out", out, *more)


def test_an_emulated_belt_of_another_speed_is_reported(tmp_path):
    config = tmp_path / "board.toml"
    config.write_text(SMALL_FRAME + '[source]\nkind = "uvc"\n')
    done = run_pitcore("record", tmp_path / "rec", "--emulate", "--frames", "2", "--config", config)
    assert done.returncode == 0, done.stderr
    assert "the emulated belt moves 160 px a frame: the configuration gives no speed of the belt" in done.stderr


def test_two_replays_are_equal_byte_for_byte_and_name_the_same_hash(tmp_path, recording, small):
    first, second = (replay(recording, small, tmp_path / name) for name in ("a.jsonl", "b.jsonl"))
    assert (first.returncode, second.returncode) == (0, 0)
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes() != b""
    assert first.stdout.split()[-1] == second.stdout.split()[-1]
    assert "missed 0, judged twice 0, nothing there 0" in first.stdout


def test_a_replay_is_the_same_byte_for_byte_on_one_core_and_on_several(tmp_path, recording, small):
    written = set()
    for workers in ([], ["--workers", 1], ["--workers", 2], ["--workers", 3], ["--workers", 4]):
        done = replay(recording, small, tmp_path / "v.jsonl", "--bundle", DEFAULT_BUNDLE, *workers)
        assert done.returncode == 0, done.stderr
        written.add((tmp_path / "v.jsonl").read_bytes())
    assert len(written) == 1


def test_a_replay_gives_the_verdicts_of_the_demo_on_the_same_belt(tmp_path, recording, small):
    assert replay(recording, small, tmp_path / "replay.jsonl").returncode == 0
    demo = run_pitcore("demo", "--config", small, "--frames", "12", "--seed", "5", "--out", tmp_path / "demo")
    assert demo.returncode == 0

    def verdicts(path):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        return [{key: value for key, value in line.items() if key not in {"latency_us", "config"}} for line in lines]

    assert verdicts(tmp_path / "replay.jsonl") == verdicts(tmp_path / "demo" / "verdicts.jsonl")


def test_a_replay_says_by_which_operating_point_it_judged(tmp_path, recording, small):
    done = run_pitcore("replay", recording, "--config", small, "--out", tmp_path / "v.jsonl")
    assert "\noperating point strict: " in done.stdout


def test_timings_are_written_when_asked_for(tmp_path, recording, small):
    assert replay(recording, small, tmp_path / "t.jsonl", "--timings").returncode == 0
    lines = [json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines()]
    assert {line["reason"] for line in lines if line["latency_us"] is None} <= {"unseen"}  # those have no frame
    assert sum(line["latency_us"] is not None for line in lines) > 10


def test_a_recording_without_truth_is_counted(tmp_path, recording, small):
    (recording / "truth.jsonl").unlink()
    done = replay(recording, small, tmp_path / "v.jsonl")
    assert done.returncode == 0
    assert "12 frames, 0 dropped" in done.stdout
    assert "verdict  count" in done.stdout
    assert "missed" not in done.stdout


def test_an_incomplete_recording_is_played_up_to_its_last_whole_frame(tmp_path, recording, small):
    index = (recording / "index.jsonl").read_bytes()
    (recording / "index.jsonl").write_bytes(index[:-10])
    done = replay(recording, small, tmp_path / "v.jsonl")
    assert done.returncode == 0
    assert "its last frame is not whole and was left out" in done.stdout
    assert "11 frames" in done.stdout


def test_an_altered_frame_is_one_clear_line(tmp_path, recording, small):
    frames = bytearray((recording / "frames.raw").read_bytes())
    frames[len(frames) // 2] ^= 1
    (recording / "frames.raw").write_bytes(frames)
    assert_one_clear_line(replay(recording, small, tmp_path / "v.jsonl"), "frames.raw", "was altered")


def test_a_recording_of_another_geometry_is_one_clear_line(tmp_path, recording):
    assert_one_clear_line(run_pitcore("replay", recording, "--out", tmp_path / "v.jsonl"), "240x640", "500x2464")


def test_a_recording_is_never_overwritten(recording, small):
    before = (recording / "frames.raw").read_bytes()
    assert_one_clear_line(run_pitcore("record", recording, "--config", small), "already holds a recording")
    assert (recording / "frames.raw").read_bytes() == before


def test_nothing_to_replay_is_one_clear_line(tmp_path, small):
    assert_one_clear_line(replay(tmp_path / "none", small, tmp_path / "v.jsonl"), "none", "pitcore record")
