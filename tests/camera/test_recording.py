import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pitcore.camera.recorder import Recorder
from pitcore.camera.replay import ReplaySource
from pitcore.emulator.emulated import EmulatedSource
from pitcore.errors import RecordingError, SourceError
from pitcore.frame import Frame, Geometry
from tests.camera.belts import belt_of, frames_of, small_spec

SPEC = small_spec(frames=5)
GEOMETRY = EmulatedSource(SPEC).geometry


@pytest.fixture
def belt():
    return belt_of(SPEC)


@pytest.fixture
def folder(tmp_path, belt):
    with Recorder(tmp_path / "rec", GEOMETRY) as recorder:
        for seq, t_ns, tick, planes in belt:
            recorder.write(Frame(seq, t_ns, tick, tuple(planes)))
        recorder.write_truth(EmulatedSource(SPEC).all_truths())
    return tmp_path / "rec"


def test_a_recording_is_played_bit_for_bit(folder, belt):
    played = frames_of(ReplaySource(folder))
    assert [frame[:3] for frame in played] == [frame[:3] for frame in belt]
    assert all(np.array_equal(a[3], b[3]) for a, b in zip(played, belt, strict=True))
    source = ReplaySource(folder)
    assert source.geometry == GEOMETRY
    assert source.frames == 5
    assert not source.live
    assert source.truths() == EmulatedSource(SPEC).all_truths()


def test_any_tool_can_read_a_recording(folder, belt):
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest == {
        "schema": "pitcore.recording/1",
        "plane_names": ["top", "bottom"],
        "height_px": 240,
        "width_px": 700,
        "px_per_tick": 0.5,
        "noise": "sensor",
    }
    raw = np.fromfile(folder / "frames.raw", np.uint8).reshape(5, 2, 240, 700)
    index = [json.loads(line) for line in (folder / "index.jsonl").read_text().splitlines()]
    assert np.array_equal(raw[3], belt[3][3])
    assert [(line["seq"], line["t_ns"], line["tick"]) for line in index] == [frame[:3] for frame in belt]
    assert [line["offset"] for line in index] == [2 * 240 * 700 * k for k in range(5)]


def test_rows_with_padding_are_recorded_without(tmp_path):
    wide = np.arange(2 * 240 * 800, dtype=np.uint32).astype(np.uint8).reshape(2, 240, 800)
    with Recorder(tmp_path / "rec", GEOMETRY) as recorder:
        recorder.write(Frame(0, 0, 0, tuple(wide[:, :, :700])))
    assert np.array_equal(frames_of(ReplaySource(tmp_path / "rec"))[0][3], wide[:, :, :700])


def test_a_frame_of_another_shape_is_refused_and_the_rest_stays(tmp_path, belt):
    with Recorder(tmp_path / "rec", GEOMETRY) as recorder:
        recorder.write(Frame(*belt[0][:3], tuple(belt[0][3])))
        with pytest.raises(RecordingError, match="frame 7 does not have the recording's shape"):
            recorder.write(Frame(7, 0, 0, tuple(belt[0][3][:, :200])))
        with pytest.raises(RecordingError, match="frame 8"):
            recorder.write(Frame(8, 0, 0, (belt[0][3][0],)))
    assert len(frames_of(ReplaySource(tmp_path / "rec"))) == 1


def damage(path, position=None, *, cut=None, replace=None):
    content = bytearray(path.read_bytes())
    if position is not None:
        content[position] ^= 0x10
    if cut is not None:
        content = content[:cut]
    if replace is not None:
        content = bytearray(replace)
    path.write_bytes(content)


DAMAGE = {
    "altered pixel": (lambda f: damage(f / "frames.raw", 1_000_000), "frame 2 was altered"),
    "frames cut": (lambda f: damage(f / "frames.raw", cut=1_000_000), "but the index needs"),
    "frames missing": (lambda f: (f / "frames.raw").unlink(), "frames.raw: No such file"),
    "index missing": (lambda f: (f / "index.jsonl").unlink(), "index.jsonl: No such file"),
    "index damaged": (lambda f: damage(f / "index.jsonl", 0), "line 1 is damaged"),
    "index empty": (lambda f: damage(f / "index.jsonl", replace=b""), "holds no frame"),
    "manifest missing": (lambda f: (f / "manifest.json").unlink(), "manifest.json: No such file"),
    "manifest damaged": (lambda f: damage(f / "manifest.json", 0), "manifest.json: damaged"),
    "manifest of no size": (
        lambda f: damage(f / "manifest.json", replace=(f / "manifest.json").read_bytes().replace(b"240", b"0")),
        "a size is 0",
    ),
    "another schema": (
        lambda f: damage(f / "manifest.json", replace=(f / "manifest.json").read_bytes().replace(b"ing/1", b"ing/9")),
        "schema 'pitcore.recording/9'",
    ),
    "a line of the index missing": (
        lambda f: damage(
            f / "index.jsonl", replace=b"".join((f / "index.jsonl").read_bytes().splitlines(keepends=True)[1:])
        ),
        "line 1 has a wrong offset",
    ),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_recording_is_refused_with_file_and_fix(folder, what):
    act, message = DAMAGE[what]
    act(folder)
    with pytest.raises(RecordingError, match=message) as caught:
        frames_of(ReplaySource(folder))
    assert str(folder) in str(caught.value)
    assert ";" in str(caught.value)  # the fault and the fix


def test_damaged_truth_is_named_and_not_needed(folder):
    damage(folder / "truth.jsonl", 0)
    source = ReplaySource(folder)
    with pytest.raises(RecordingError, match=r"truth\.jsonl: damaged"):
        source.truths()
    assert len(frames_of(source)) == 5


def test_an_altered_frame_is_played_only_without_verification(folder, belt):
    damage(folder / "frames.raw", 1_000_000)
    played = frames_of(ReplaySource(folder, verify=False))
    assert (np.stack([frame[3] for frame in played]) != np.stack([frame[3] for frame in belt])).sum() == 1


@pytest.mark.parametrize("cut", [1, 20])
def test_an_incomplete_last_line_is_left_out_and_reported(folder, cut):
    content = (folder / "index.jsonl").read_bytes()
    (folder / "index.jsonl").write_bytes(content[:-cut])
    source = ReplaySource(folder)
    assert len(frames_of(source)) == 4
    assert source.torn


def test_a_recording_is_not_written_over(folder):
    with pytest.raises(RecordingError, match="already holds a recording; name another folder"):
        Recorder(folder, GEOMETRY)
    assert len(frames_of(ReplaySource(folder))) == 5


@pytest.mark.parametrize("rest", ["frames.raw", "index.jsonl"])
def test_the_rest_of_a_recording_is_not_written_over_either(tmp_path, rest):
    (tmp_path / rest).write_bytes(b"precious")
    with pytest.raises(RecordingError, match="already holds a recording"):
        Recorder(tmp_path, GEOMETRY)
    assert (tmp_path / rest).read_bytes() == b"precious"


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordingError, match=r"file/rec: cannot be written: Not a directory"):
        Recorder(tmp_path / "file" / "rec", GEOMETRY)


def test_a_closed_recorder_takes_no_more(tmp_path, belt):
    recorder = Recorder(tmp_path / "rec", GEOMETRY)
    recorder.close()
    recorder.close()
    with pytest.raises(RecordingError, match="is closed"):
        recorder.write(Frame(0, 0, 0, tuple(belt[0][3])))


def test_another_geometry_than_expected_is_refused(folder):
    wanted = Geometry(("top", "bottom"), 500, 2464, 0.5)
    with pytest.raises(RecordingError, match=r"240x700 .* the configuration says top,bottom 500x2464"):
        ReplaySource(folder, expected=wanted)


def test_a_replay_that_is_not_started_says_so(folder):
    with pytest.raises(SourceError, match="call start first"):
        ReplaySource(folder).read(1.0)


def test_a_paced_replay_keeps_the_time_between_frames_and_says_when_it_may_not(tmp_path, belt):
    with Recorder(tmp_path / "rec", GEOMETRY) as recorder:
        for seq, _, tick, planes in belt[:2]:
            recorder.write(Frame(seq, seq * 3600 * 10**9, tick, tuple(planes)))  # an hour apart
    source = ReplaySource(tmp_path / "rec", paced=True)
    source.start()
    assert source.read(1.0).seq == 0
    with pytest.raises(RecordingError, match=r"frame 1 is due in 3[56]\d\d\.\d s; allow more"):
        source.read(0.0)


def test_a_paced_replay_waits_for_a_frame_that_is_due(folder):
    source = ReplaySource(folder, paced=True)
    source.start()
    assert [source.read(60.0).seq for _ in range(3)] == [0, 1, 2]


RECORD_FOR_EVER = """
import itertools, sys
from pathlib import Path
from pitcore.camera.recorder import Recorder
from pitcore.frame import Frame
from tests.camera.test_recording import GEOMETRY, belt_of, SPEC
belt = belt_of(SPEC)
with Recorder(Path(sys.argv[1]), GEOMETRY) as recorder:
    print("started", flush=True)
    for seq in itertools.count():
        recorder.write(Frame(seq, seq, seq, tuple(belt[seq % 5][3])))
"""


def test_a_recorder_killed_in_the_midst_leaves_every_whole_frame(tmp_path, belt):
    folder = tmp_path / "rec"
    process = subprocess.Popen([sys.executable, "-c", RECORD_FOR_EVER, str(folder)], stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"started\n"
        index = folder / "index.jsonl"
        deadline = time.monotonic() + 60
        while index.stat().st_size < 2000 and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    played = frames_of(ReplaySource(folder))
    assert len(played) > 10
    assert all(np.array_equal(frame[3], belt[frame[0] % 5][3]) for frame in played)


def fill_disk_after(limit_bytes):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))

    return limit


@pytest.mark.parametrize("limit_bytes", [1_000_000, 3 * 2 * 240 * 700])
def test_a_full_disk_keeps_the_frames_before_it_and_says_how_many(tmp_path, belt, limit_bytes):
    folder = tmp_path / "rec"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("COVERAGE")}
    done = subprocess.run(
        [sys.executable, "-c", RECORD_FOR_EVER, str(folder)],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=fill_disk_after(limit_bytes),
        env=environment,
        cwd=Path(__file__).parents[2],
    )
    whole = limit_bytes // (2 * 240 * 700)
    assert f"at frame {whole}; {whole} frames before it are safe" in done.stderr.splitlines()[-1]
    played = frames_of(ReplaySource(folder))
    assert len(played) == whole
    assert all(np.array_equal(frame[3], belt[frame[0]][3]) for frame in played)
