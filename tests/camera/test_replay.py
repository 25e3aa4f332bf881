"""Tests recordings that were damaged, moved or read twice."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pitcore.camera.recorder import Recorder
from pitcore.camera.replay import ReplaySource
from pitcore.emulator.emulated import EmulatedSource
from pitcore.errors import RecordingError
from pitcore.frame import Frame, Geometry
from tests.camera.belts import belt_of, frames_of, small_spec

SPEC = small_spec(frames=4, height_px=200, width_px=600)
GEOMETRY = EmulatedSource(SPEC).geometry


@pytest.fixture(scope="module")
def belt():
    return belt_of(SPEC)


@pytest.fixture
def folder(tmp_path, belt):
    with Recorder(tmp_path / "rec", GEOMETRY) as recorder:
        for seq, t_ns, tick, planes in belt:
            recorder.write(Frame(seq, t_ns, tick, tuple(planes)))
    return tmp_path / "rec"


def test_half_a_frame_after_the_last_line_is_left_out_and_reported(folder):
    with (folder / "frames.raw").open("ab") as file:
        file.write(b"\x55" * 1000)
    source = ReplaySource(folder)
    assert len(frames_of(source)) == 4
    assert source.torn


def test_an_incomplete_line_is_reported_even_without_further_pixels(folder):
    (folder / "index.jsonl").write_bytes((folder / "index.jsonl").read_bytes()[:-9])
    (folder / "frames.raw").write_bytes((folder / "frames.raw").read_bytes()[: 3 * 2 * 200 * 600])
    source = ReplaySource(folder)
    assert len(frames_of(source)) == 3
    assert source.torn


def test_a_complete_recording_is_not_reported_as_incomplete(folder):
    source = ReplaySource(folder)
    assert len(frames_of(source)) == 4
    assert not source.torn


@pytest.mark.parametrize("position", [0, 2, 3])
def test_a_damaged_line_is_named_by_its_number_wherever_it_is(folder, position):
    lines = (folder / "index.jsonl").read_bytes().splitlines(keepends=True)
    lines[position] = lines[position].replace(b'"tick"', b'"tock"')
    (folder / "index.jsonl").write_bytes(b"".join(lines))
    with pytest.raises(RecordingError, match=rf"index\.jsonl: line {position + 1} is damaged: .*tock"):
        ReplaySource(folder)


def test_lines_out_of_order_are_refused(folder):
    lines = (folder / "index.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "index.jsonl").write_bytes(b"".join([lines[0], lines[2], lines[1], lines[3]]))
    with pytest.raises(RecordingError, match=r"index\.jsonl: line 2 has a wrong offset"):
        ReplaySource(folder)


def test_frames_before_an_altered_one_are_still_played(folder, belt):
    content = bytearray((folder / "frames.raw").read_bytes())
    content[-1] ^= 1
    (folder / "frames.raw").write_bytes(content)
    source = ReplaySource(folder)
    source.start()
    assert [source.read(1.0).seq for _ in range(3)] == [0, 1, 2]
    with pytest.raises(RecordingError, match=r"frames\.raw: frame 3 was altered"):
        source.read(1.0)


@pytest.mark.parametrize(
    "other",
    [
        Geometry(("bottom", "top"), 200, 600, 0.5),
        Geometry(("top",), 200, 600, 0.5),
        Geometry(("top", "bottom"), 200, 601, 0.5),
        Geometry(("top", "bottom"), 200, 600, 0.25),
    ],
    ids=["order", "planes", "width", "scale"],
)
def test_any_difference_from_the_configuration_is_refused(folder, other):
    with pytest.raises(RecordingError, match=r"top,bottom 200x600 at 0\.5 px a tick; the configuration says"):
        ReplaySource(folder, expected=other)
    assert ReplaySource(folder, expected=GEOMETRY).geometry == GEOMETRY


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(RecordingError, match=r"nowhere/manifest\.json: No such file"):
        ReplaySource(tmp_path / "nowhere")


def test_a_recording_is_played_again_from_its_first_frame_and_ends_each_time(folder):
    source = ReplaySource(folder)
    first, second = frames_of(source), frames_of(source)
    assert [frame[:3] for frame in first] == [frame[:3] for frame in second]
    assert len(first) == 4
    with pytest.raises(RecordingError, match="not started"):
        source.read(1.0)


def test_a_frame_stays_readable_after_close_and_cannot_be_altered(folder, belt):
    source = ReplaySource(folder)
    source.start()
    frame = source.read(1.0)
    source.close()
    source.close()
    frame.release()
    assert np.array_equal(np.stack(frame.planes), belt[0][3])
    with pytest.raises(ValueError, match="read-only"):
        frame.planes[0][0, 0] = 1


def test_a_frame_of_wider_pixels_is_refused_before_it_spoils_the_file(tmp_path, belt):
    with Recorder(tmp_path / "rec", GEOMETRY) as recorder:
        with pytest.raises(RecordingError, match=r"frame 9 does not have the recording's shape .* of uint8"):
            recorder.write(Frame(9, 0, 0, tuple(belt[0][3].astype(np.uint16))))
        recorder.write(Frame(0, 0, 0, tuple(belt[0][3])))
    assert [frame[0] for frame in frames_of(ReplaySource(tmp_path / "rec"))] == [0]


FILL_THE_INDEX = """
import itertools, resource, sys
from pathlib import Path
import numpy as np
from pitcore.camera.recorder import Recorder
from pitcore.frame import Frame, Geometry
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
with Recorder(Path(sys.argv[1]), Geometry(("top",), 4, 4, 0.5)) as recorder:
    for seq in itertools.count():
        recorder.write(Frame(seq, 0, 0, (np.full((4, 4), seq, np.uint8),)))
"""


def test_a_disk_that_is_full_within_a_line_leaves_no_half_line(tmp_path):
    folder = tmp_path / "rec"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("COVERAGE")}
    done = subprocess.run(
        [sys.executable, "-c", FILL_THE_INDEX, str(folder)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=Path(__file__).parents[2],
    )
    content = (folder / "index.jsonl").read_bytes()
    lines = content.count(b"\n")
    assert lines > 3
    assert content.endswith(b"\n")
    assert f"File too large at frame {lines}; {lines} frames before it are safe" in done.stderr
    assert [frame[3].max() for frame in frames_of(ReplaySource(folder))] == list(range(lines))


def test_pixels_are_synced_to_disk_before_their_lines(tmp_path, belt, monkeypatch):
    synced, real = [], os.fsync
    with Recorder(tmp_path / "rec", GEOMETRY, sync_every=2) as recorder:
        monkeypatch.setattr(
            os, "fsync", lambda fd: (synced.append(Path(f"/proc/self/fd/{fd}").readlink().name), real(fd))
        )
        for seq in range(4):
            recorder.write(Frame(seq, 0, 0, tuple(belt[seq][3])))
        assert synced == ["frames.raw", "index.jsonl"] * 2


def test_frames_written_before_a_refused_one_survive_a_program_that_fails(tmp_path, belt):
    def record_and_fail():
        with Recorder(tmp_path / "rec", GEOMETRY) as recorder:
            recorder.write(Frame(0, 5, 6, tuple(belt[0][3])))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record_and_fail()
    assert frames_of(ReplaySource(tmp_path / "rec"))[0][:3] == (0, 5, 6)


def test_truth_is_replaced_as_a_whole_and_none_is_no_error(folder):
    assert ReplaySource(folder).truths() == []
    truths = EmulatedSource(SPEC).all_truths()
    with Recorder(folder.parent / "other", GEOMETRY) as recorder:
        recorder.write_truth(truths)
        recorder.write_truth(truths[:2])
    (folder / "truth.jsonl").write_bytes((folder.parent / "other" / "truth.jsonl").read_bytes())
    assert ReplaySource(folder).truths() == truths[:2]
    assert len(truths) > 2


def test_truth_that_cannot_be_written_is_named(folder):
    with Recorder(folder.parent / "other", GEOMETRY) as recorder:
        (folder.parent / "other" / "truth.jsonl").mkdir()
        with pytest.raises(RecordingError, match=r"truth\.jsonl: cannot be written: Is a directory"):
            recorder.write_truth(EmulatedSource(SPEC).all_truths())
