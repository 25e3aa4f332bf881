import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pitcore.errors import SinkError
from pitcore.metrics import Metrics
from pitcore.sinks import jsonl
from pitcore.sinks.jsonl import JsonlSink
from pitcore.verdict import Event, encode_lines


def event(seq, detail="x" * 60):
    return Event("pitcore.event/1", seq, seq * 10, "test", detail, 1)


def opened(path, *, rotate_bytes=1 << 20, keep=3, metrics=None):
    return JsonlSink(path, rotate_bytes=rotate_bytes, keep=keep, metrics=metrics or Metrics())


def sequence(path):
    return [json.loads(line)["seq"] for line in path.read_text().splitlines()]


def test_lines_come_out_in_order(tmp_path):
    sink = opened(tmp_path / "deep" / "v.jsonl")
    sink.emit([event(1), event(2)])
    sink.emit([])
    sink.emit([event(3)])
    sink.close()
    sink.close()
    assert sequence(tmp_path / "deep" / "v.jsonl") == [1, 2, 3]


def test_rotation_keeps_whole_lines_and_the_youngest_files(tmp_path):
    path = tmp_path / "v.jsonl"
    sink = opened(path, rotate_bytes=4096, keep=2)
    for seq in range(200):
        sink.emit([event(seq)])
    sink.close()
    files = [path.with_name("v.jsonl.2"), path.with_name("v.jsonl.1"), path]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(p.name for p in files)
    kept = [seq for file in files for seq in sequence(file)]
    assert kept == list(range(kept[0], 200))
    assert all(file.stat().st_size <= 4096 for file in files)


def test_each_run_of_the_service_and_each_of_its_files_says_which_run_its_lines_are_of(tmp_path):
    path = tmp_path / "v.jsonl"
    for run in ("aa", "bb"):
        sink = JsonlSink(path, rotate_bytes=4096, keep=9, metrics=Metrics(), run=run)
        for seq in range(20):
            sink.emit([event(seq)])
        sink.close()
    files = [path, *(path.with_name(f"v.jsonl.{age}") for age in range(1, 9))]
    files = [file for file in reversed(files) if file.exists()]
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    assert [(one["run"], one["seq"]) for one in lines if one["event"] == "run_started"] == [("aa", 0), ("bb", 0)]
    assert all(json.loads(file.read_text().splitlines()[0])["event"].startswith("run_") for file in files)
    runs, found = "", []
    for line in lines:
        runs = line.get("run", runs)
        found += [(runs, line["seq"])] if line["event"] == "test" else []
    assert found == [(run, seq) for run in ("aa", "bb") for seq in range(20)]
    mark = lines[0]
    assert mark["at"].endswith("+00:00")
    assert 0 < mark["t_ns"] <= time.monotonic_ns()


def test_a_run_that_finds_an_almost_full_file_begins_a_new_one_with_its_mark(tmp_path):
    def begun(place, rotate_bytes):
        place.mkdir()
        path = place / "v.jsonl"
        path.write_bytes(old)
        sink = JsonlSink(path, rotate_bytes=rotate_bytes, keep=2, metrics=Metrics(), run="bb")
        sink.emit([event(7)])
        sink.close()
        return path

    old = encode_lines([event(seq) for seq in range(50)])
    with_room = begun(tmp_path / "room", 100_000).read_bytes()
    assert with_room.startswith(old)
    mark, line = with_room[len(old) :].splitlines(keepends=True)
    for room in (len(mark) // 2, len(mark) + len(line) // 2):  # for no mark; for the mark, but not for its first line
        path = begun(tmp_path / str(room), len(old) + room)
        assert path.with_name("v.jsonl.1").read_bytes() == old
        lines = [json.loads(one) for one in path.read_text().splitlines()]
        assert [(one["event"], one.get("run")) for one in lines] == [("run_started", "bb"), ("test", None)]


def test_an_incomplete_last_line_of_an_earlier_run_is_cut_off(tmp_path):
    path = tmp_path / "v.jsonl"
    whole = encode_lines([event(1), event(2)])
    path.write_bytes(whole + b'{"sche')
    sink = opened(path)
    sink.emit([event(3)])
    sink.close()
    assert sequence(path) == [1, 2, 3]


@pytest.mark.parametrize("torn", [b'{"schema":"pitcore.verdict/1"' + b"x" * 200_000, b'{"sch', bytes(4096)])
def test_a_file_with_one_incomplete_line_becomes_empty(tmp_path, torn):
    path = tmp_path / "v.jsonl"
    path.write_bytes(torn)
    opened(path).close()
    assert path.read_bytes() == b""


def test_a_path_that_cannot_be_opened_is_one_clear_error(tmp_path):
    (tmp_path / "v.jsonl").mkdir()
    with pytest.raises(SinkError, match=r"v\.jsonl: verdicts cannot be written: .*\[sink\] path"):
        opened(tmp_path / "v.jsonl")


def test_on_a_full_disk_lines_wait_and_none_is_lost_or_torn(small_disk, caplog):
    metrics = Metrics()
    path = small_disk / "v.jsonl"
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 40_000)
    sink = opened(path, metrics=metrics)
    for seq in range(400):
        sink.emit([event(seq), event(seq)])
    assert metrics.value("sink_retries") > 0
    assert path.read_bytes().endswith(b"\n")
    assert sequence(path)
    ballast.unlink()
    with pytest.raises(SinkError):  # the rest does not fit the 64 KiB either
        sink.close()
    assert caplog.text.count("cannot write") == 1
    whole = sequence(path)
    assert whole == [seq for seq in range(400) for _ in (0, 1)][: len(whole)]
    assert metrics.value("sink_lines") == len(whole)
    assert metrics.value("sink_lines_lost") == 800 - len(whole)


def test_when_space_comes_back_everything_that_waited_is_written(small_disk):
    metrics = Metrics()
    ballast = small_disk / "ballast"
    sink = opened(small_disk / "v.jsonl", metrics=metrics)
    ballast.write_bytes(b"x" * 50_000)
    for seq in range(200):
        sink.emit([event(seq)])
    assert metrics.value("sink_retries") > 0
    ballast.unlink()
    sink.close()
    assert sequence(small_disk / "v.jsonl") == list(range(200))
    assert metrics.value("sink_lines_lost") == 0


def test_memory_for_waiting_lines_is_bounded_and_what_is_dropped_is_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(jsonl, "MAX_WAITING_BYTES", 1000)
    metrics = Metrics()
    path = tmp_path / "v.jsonl"
    sink = opened(path, metrics=metrics)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    old_handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, before[1]))  # a write beyond 500 bytes fails with EFBIG
    try:
        for seq in range(100):
            sink.emit([event(seq)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, old_handler)
    assert sink._waiting_bytes <= 1000
    lost = metrics.value("sink_lines_lost")
    assert lost > 0
    with pytest.raises(SinkError, match=f"{lost} lines could not be written"):
        sink.close()
    found = sequence(path)
    assert len(found) == 100 - lost
    assert found == sorted(set(found))


def test_a_killed_writer_leaves_whole_lines(tmp_path):
    path = tmp_path / "v.jsonl"
    script = f"""
from pathlib import Path
from pitcore.metrics import Metrics
from pitcore.sinks.jsonl import JsonlSink
from pitcore.verdict import Event, encode_lines
sink = JsonlSink(Path({str(path)!r}), rotate_bytes=1 << 30, keep=1, metrics=Metrics())
for seq in range(10**9):
    sink.emit([Event("pitcore.event/1", seq, 0, "e", "d" * 50, 1)])
    if seq == 2000:
        print("going", flush=True)
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    ) as writer:
        writer.stdout.readline()
        writer.kill()
    opened(path).close()
    found = sequence(path)
    assert found == list(range(len(found)))
    assert len(found) > 2000


def test_the_status_shows_a_full_disk_while_it_is_full(small_disk):
    metrics = Metrics()
    sink = JsonlSink(small_disk / "v.jsonl", rotate_bytes=1 << 20, keep=1, metrics=metrics)
    assert sink.status()["state"] == "ok"
    filler = small_disk / "filler"
    with contextlib.suppress(OSError):
        filler.write_bytes(b"x" * (1 << 20))
    sink.emit([event(0)] * 100)
    now = sink.status()
    assert (now["state"], now["lines_lost"]) == ("failing", 0)
    assert now["bytes_waiting"] > 0
    assert now["reason"] == "No space left on device"
    filler.unlink()
    sink.emit([])
    assert sink.status()["state"] == "ok"
    assert "reason" not in sink.status()
    assert sink.status()["lines"] == 100
    sink.close()


@pytest.mark.parametrize("how", ["removed", "moved", "folder removed"])
def test_a_removed_file_is_started_again_and_the_status_says_so(tmp_path, how, caplog):
    path, metrics = tmp_path / "log" / "v.jsonl", Metrics()
    sink = opened(path, metrics=metrics)
    sink.emit([event(1)])
    if how == "moved":
        path.rename(tmp_path / "old.jsonl")
    else:
        path.unlink()
        if how == "folder removed":
            path.parent.rmdir()
    sink.emit([event(2)])
    assert sequence(path) == [2]
    assert sink.status()["reopened"] == 1
    assert "was removed or moved away" in caplog.text
    sink.close()
    if how == "moved":
        assert sequence(tmp_path / "old.jsonl") == [1]


def test_a_file_that_another_process_writes_is_refused(tmp_path):
    first = opened(tmp_path / "v.jsonl")
    with pytest.raises(SinkError, match="another process writes it"):
        opened(tmp_path / "v.jsonl")
    first.close()
    opened(tmp_path / "v.jsonl").close()


def test_a_link_stays_and_what_it_points_to_is_rotated(tmp_path):
    target, link = tmp_path / "disk" / "v.jsonl", tmp_path / "v.jsonl"
    target.parent.mkdir()
    link.symlink_to(target)
    sink = opened(link, rotate_bytes=4096)
    for seq in range(100):
        sink.emit([event(seq)])
    sink.close()
    assert link.is_symlink()
    assert sequence(link)[-1] == 99
    assert (target.parent / "v.jsonl.1").exists()


def test_a_pipe_or_a_device_as_verdict_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(SinkError, match=r"is a (named pipe|character device)"):
            opened(path)


@pytest.mark.parametrize("text", ["one line without an end", '{"json": "of somebody"', "[sink]\npath = 1\n", "{}\n"])
def test_a_file_of_something_else_is_neither_cut_nor_appended_to(tmp_path, text):
    path = tmp_path / "notes.txt"
    path.write_text(text)
    with pytest.raises(SinkError, match="does not hold verdicts"):
        opened(path)
    assert path.read_text() == text
