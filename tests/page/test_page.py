"""Tests the data that viewers see: counts, signs, the age of the picture, alarms."""

import os
import re
import signal
import socket
import subprocess
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from pitcore.belt.lanes import Lane, Plan
from pitcore.config import AlarmName, PageConfig
from pitcore.page.board_view import BoardView
from pitcore.page.hand_over import lanes_of
from pitcore.page.messages import Start, Update
from pitcore.page.tally import Window
from pitcore.page.words import ALARMS, EVENTS, REASONS
from pitcore.palette import COLOURS, TINTS, hex_of
from pitcore.verdict import Event, Reason
from tests.page.board import LINE, Board, HangingStarts, alarm, camera, frame, no_memory, verdict

pytest.importorskip("uvicorn", reason="the live page needs the extra `page`")
ROOT = Path(__file__).parents[2]
STATIC = ROOT / "pitcore" / "page" / "static"


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    with Board(tmp_path_factory.mktemp("page")) as one:
        yield one.ready()


# Words and signs


def rows_of(document, columns):
    """Rows of a document's tables, by their first cell; without links to other documents."""
    text = re.sub(r" \(\[[^]]*\]\([^)]*\)\)", "", (ROOT / "docs" / document).read_text())
    lines = [line.strip("|").split("|") for line in text.splitlines()]
    rows = [[cell.strip().replace("`", "") for cell in line] for line in lines if line[0].startswith(" `")]
    return {row[0]: row[1:] for row in rows if len(row) == columns}


def test_an_alarm_has_the_texts_of_the_fault_table():
    said = rows_of("faults.md", 5)
    for name in AlarmName.__args__:
        assert tuple(ALARMS[name]) == (said[name][0], said[name][3])


def test_another_event_has_the_text_of_the_fault_table():
    said = rows_of("faults.md", 4) | rows_of("actuation.md", 2)
    assert {name: cells[0] for name, cells in said.items()} == EVENTS


def test_every_reason_is_explained():
    assert set(REASONS) == set(Reason.__args__)


def test_the_page_has_the_colours_of_the_other_pictures():
    css, script = (STATIC / "page.css").read_text(), (STATIC / "page.js").read_text()
    for name, colour in COLOURS.items():
        assert f"--{name}: {hex_of(colour)};" in css
    for name, tint in TINTS.items():
        assert f"{name}: [{', '.join(str(round(255 * share)) for share in tint)}]" in script


def test_the_page_requests_nothing_from_other_hosts():
    for path in STATIC.iterdir():
        found = re.findall(r"https?://[^\s\"'`)]+", path.read_text())
        assert set(found) <= {"http://www.w3.org/2000/svg"}, path


# Counts


def test_a_window_counts_what_came_within_its_span():
    window = Window(0.0, [[0, 0, 0, 0]], 60.0)
    for second in range(200):
        count, span_s = window.update(float(second), [[second * 10, 0, 0, 0]])
    assert span_s == pytest.approx(60, abs=1)
    assert count[0][0] == pytest.approx(600, abs=10)


def test_a_window_that_is_not_full_yet_says_so():
    window = Window(0.0, [[0, 0, 0, 0]], 60.0)
    count, span_s = window.update(5.0, [[7, 0, 0, 0]])
    assert (count, span_s) == ([[7, 0, 0, 0]], 5.0)


def test_counts_are_by_the_lanes_that_reject():
    lanes = (Lane((0, 50), 99, 9), Lane((40, 90), 99, 9), Lane((0, 100), 99, 9, "review"))
    names, lane_of = lanes_of(Plan(0.5, (0, 100), 40, lanes), 100, strips=4)
    assert names == ("lane 1", "lane 2")
    assert [lane_of[column] for column in (0, 49, 50, 95)] == [0, 0, 1, 1]


def test_without_lanes_counts_are_by_strips():
    names, lane_of = lanes_of(Plan(0.5, (0, 100), 40, ()), 100, strips=2)
    assert names == ("strip 1", "strip 2")
    assert [lane_of[column] for column in (0, 49, 50, 99)] == [0, 0, 1, 1]


def test_counts_agree_with_the_verdicts(board):
    before = board.state()["total"]
    board.sink.emit([verdict("clean", x=10), verdict("pit", x=300, pit=0.9), verdict("pit", x=300, pit=0.9)])
    board.sink.emit([Event("pitcore.event/1", 1, 1, "overload", "too many", 3)])
    order = board.state()["verdicts"]

    def new(lane, name):
        at = order.index(name)
        return board.state()["total"][lane][at] - before[lane][at]

    board.wait(lambda: new(3, "pit") == 2, "the count of pits")
    assert new(0, "clean") == 1


def test_rates_after_a_restart_of_the_page_process_are_those_of_the_belt():
    one, clean = BoardView(start_of(1000.0, 480_000)), 480_000  # three hours of the run are over
    assert one.counts()["minute"] == {"span_s": 0.0, "lanes": [[0, 0, 0, 0]]}
    rejects = {"late": 70}
    for step in range(1, 241):  # 48 cherries a second; the messages of the first seconds are read late, all at once
        clean += 24
        line = msgspec.structs.replace(LINE, frames=LINE.frames | {"dropped": 900}, rejects=rejects)
        one.take(Update(1000.0 + step / 2, [[clean, 0, 0, 0]], {}, [], None, line))
        if step < 20:
            continue
        for span in one.counts().values():
            assert sum(map(sum, span["lanes"])) == pytest.approx(48 * span["span_s"])
    assert one.counts()["minute"]["span_s"] == pytest.approx(60, abs=2)
    assert {(point["cherries"], point["dropped"], point["late"]) for point in one.points} == {(48.0, 0.0, 0.0)}


# The picture


def test_a_viewer_gets_the_picture_with_its_cherries(board):
    tick = 1000
    for kind, said in board.events():
        if kind == "picture":
            told = said
            break
        board.sink.observe(frame(tick))
        board.sink.emit([verdict("maybe", tick=tick - 20, x=100, y=30, reason="uncertain", pit=0.4)])
    mine = next(cherry for cherry in told["cherries"] if cherry[5] == "maybe")
    assert mine[1:] == [100, 40, 40, 40, "maybe", "uncertain", 0.4]  # the belt moved by 20 ticks: 10 px
    status, _, raw = board.ask(f"/cherry/{mine[0]}")
    cherry = msgspec.json.decode(raw)
    assert (status, cherry["lane"], cherry["why"]) == (200, "strip 2", REASONS["uncertain"])
    assert cherry["thresholds"] == {"accept": 0.05, "reject": 0.8}
    for plane in (0, 1):
        assert board.ask(f"/cherry/{mine[0]}/{plane}.png")[2].startswith(b"\x89PNG")
    assert board.ask(f"/cherry/{mine[0]}/2.png")[0] == 404


def test_no_frame_is_copied_without_viewers(tmp_path):
    with Board(tmp_path) as board:
        board.ready()
        board.sink.observe(frame())
        assert board.sink._copied is None
        assert board.sink.looked_ns is not None


# The age of the picture


def start_of(at_s, clean):
    fixed = (PageConfig(), ("top", "bottom"), (100, 100), (0, 0), 0.5, ("strip 1",), "/s", "/c", None, "run")
    return Start(*fixed, at_s, [[clean, 0, 0, 0]], {})


def view(now_s, **changes):
    one = BoardView(start_of(now_s, 0))
    line = msgspec.structs.replace(LINE, looked_ns=int(now_s * 1e9), cameras=[camera()])
    one.take(Update(now_s, [[0, 0, 0, 0]], {}, [], None, msgspec.structs.replace(line, **changes)))
    return one


def test_a_fresh_picture_is_not_stale():
    one = view(100.0)
    assert one.stale(100.2) is None
    assert one.headline(100.2)["text"] == "JUDGING"


def test_the_headline_says_sorting_only_while_valves_are_armed():
    assert view(100.0, armed=True).headline(100.2)["text"] == "SORTING"
    assert view(100.0, armed=False).headline(100.2)["text"] == "JUDGING"


def test_a_camera_without_pictures_is_reported_within_two_seconds():
    one = view(100.0, cameras=[camera(age_s=0.8)])
    assert one.stale(100.1) is None
    assert one.stale(100.5) == {"why": "Camera top + bottom sends no picture", "age_s": 1.3}
    assert one.headline(100.5) == {"kind": "bad", "text": "NO PICTURE"}


def stale_at(frames_s, end_s):
    """Give a page the frames of a camera, which come at these times; return at which times it is stale."""
    one, found = view(0.0, looked_ns=None, cameras=[]), []
    for step in range(1, round(end_s * 10)):
        now_s = step / 10
        come = [at_s for at_s in frames_s if at_s <= now_s]
        if not come:
            continue
        line = None
        if step % 5 == 0:  # the state of the line comes in each fifth message
            frames, seen = LINE.frames | {"processed": len(come)}, [camera(age_s=now_s - come[-1])]
            line = msgspec.structs.replace(LINE, frames=frames, cameras=seen, looked_ns=int(come[-1] * 1e9))
        one.take(Update(now_s, [[0, 0, 0, 0]], {}, [], None, line))
        found += [now_s] * (one.stale(now_s) is not None)
    return found


def every(interval_s, first_s, last_s):
    return [first_s + number * interval_s for number in range(round((last_s - first_s) / interval_s) + 1)]


def test_a_slow_camera_is_not_stale_between_its_pictures():
    stale_s = stale_at(every(2.0, 0.1, 30.0), 31.0)
    assert all(at_s < 3.0 for at_s in stale_s)  # until the page knows its interval


def test_frames_that_come_at_once_after_a_stall_do_not_make_a_slow_camera_stale():
    frames_s = every(2.0, 0.1, 30.1) + every(0.1, 50.0, 51.0) + every(2.0, 52.0, 90.0)
    stale_s = [at_s for at_s in stale_at(frames_s, 91.0) if at_s > 3.0]
    assert max(stale_s) <= 50.5
    assert min(stale_s) > 36.0


@pytest.mark.parametrize("before_s", [[], every(2.0, 0.1, 60.0), [0.1, 10.0, 20.0]])
def test_a_usual_camera_without_pictures_is_stale_within_two_seconds_whatever_was_before(before_s):
    stale_s = stale_at(before_s + every(0.05, 62.0, 70.0), 80.0)
    assert 71.0 < min(at_s for at_s in stale_s if at_s > 64.0) <= 72.0


def test_frames_that_cannot_be_judged_make_the_picture_old():
    one = view(100.0, looked_ns=int(98.5e9))
    assert one.stale(100.0) == {"why": "No picture can be judged", "age_s": 1.5}


def test_a_hanging_service_is_reported():
    assert view(100.0).stale(102.0) == {"why": "The inspection does not answer", "age_s": 2.0}


def test_a_stopped_belt_is_no_fault():
    one = view(100.0, cameras=[camera(state="idle", age_s=50.0)], looked_ns=int(50e9))
    assert one.stale(100.0) is None
    assert one.headline(100.0)["text"] == "BELT STOPPED"


def test_an_alarm_is_shown_with_its_fix():
    one = view(100.0, alarms=[alarm("light_off")])
    assert one.headline(100.1) == {"kind": "bad", "text": "ALARM"}
    assert one.alarms()[0]["fix"] == "Check the lamp, its supply and its cable."


def test_a_point_of_the_charts_has_the_least_time_to_spare_since_the_last_one():
    one = view(100.0, spare_ms=80.0)
    for now_s, spare_ms in ((100.5, 300.0), (101.1, None), (102.2, None)):
        one.take(Update(now_s, [[0, 0, 0, 0]], {}, [], None, msgspec.structs.replace(LINE, spare_ms=spare_ms)))
    assert [point["spare_ms"] for point in one.points] == [80.0, None]


# An output that fails


def test_a_port_in_use_is_reported_and_tried_again(tmp_path, board):
    with Board(tmp_path, {"port": board.sink.port}) as other:
        other.wait(lambda: "cannot listen on" in other.sink.status().get("reason", ""), "the reason")
        assert other.sink.status()["state"] == "failing"


def test_the_reason_of_a_page_process_that_ends_at_once_is_reported(tmp_path, monkeypatch):
    def ends(_module, _memory_fd, idle):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.send(b"the start, which it does not read")
        theirs.send(b"it needs starlette, which is not installed")
        theirs.close()
        return ours, subprocess.Popen(["true"])

    monkeypatch.setattr("pitcore.sinks.child_output.start_child", ends)
    with Board(tmp_path) as board:
        board.wait(lambda: board.sink.status()["state"] == "failing", "the reason")
        assert board.sink.status()["reason"] == "it needs starlette, which is not installed"


def test_page_without_shared_memory_is_reported_as_failing_and_tried_again(tmp_path, monkeypatch):
    monkeypatch.setattr("pitcore.page.hand_over.RETRY_S", 0.1)
    with monkeypatch.context() as full:
        full.setattr(os, "memfd_create", no_memory)
        board = Board(tmp_path).__enter__()
        try:
            board.wait(lambda: board.sink.status()["state"] == "failing", "the reason")
            assert "cannot be created: Cannot allocate memory" in board.sink.status()["reason"]
            board.sink.observe(frame())
            board.sink.emit([verdict()])
            full.undo()
            board.ready()
            board.wait(lambda: sum(map(sum, board.state()["total"])) == 1, "the count")
        finally:
            board.sink.close()


def test_a_page_process_that_is_killed_is_started_again(tmp_path, monkeypatch):
    monkeypatch.setattr("pitcore.page.hand_over.RETRY_S", 0.1)
    with Board(tmp_path) as board:
        board.ready()
        board.sink.emit([verdict()])
        first = board.sink._process
        first.kill()
        board.wait(lambda: board.sink._process not in {first, None}, "another process")
        board.wait(lambda: board.sink.status()["state"] == "ok", "a page that listens")
        board.wait(lambda: sum(map(sum, board.state()["total"])) == 1, "the count before")


HANGS = "its process said nothing for 0.2 s and is ended"


def test_a_page_process_that_hangs_at_its_start_is_ended_and_started_again(tmp_path, monkeypatch, caplog):
    for name, value_s in (("RETRY_S", 0.1), ("END_S", 0.0), ("SILENT_S", 0.2)):
        monkeypatch.setattr(f"pitcore.page.hand_over.{name}", value_s)
    with closing(HangingStarts(monkeypatch)) as hanging, Board(tmp_path) as board:
        board.ready()
        assert [process.returncode for process in hanging.processes] == [-signal.SIGKILL] * 2
    assert (hanging.told["state"], hanging.told["reason"]) == ("failing", HANGS)
    assert f"[page] {HANGS}; it is tried again every 0.1 s. The belt is judged without it." in caplog.text


def test_a_page_process_that_hangs_later_is_ended_and_started_again(tmp_path, monkeypatch):
    monkeypatch.setattr("pitcore.page.hand_over.RETRY_S", 0.1)
    monkeypatch.setattr("pitcore.page.hand_over.END_S", 0.0)
    with Board(tmp_path) as board:
        board.ready()
        first, patient = board.sink._process, board.sink._child
        os.kill(first.pid, signal.SIGSTOP)
        board.sink._child = replace(patient, silent_s=0.2)
        reason = board.wait(lambda: board.sink.status().get("reason"), "the failure")
        board.sink._child = patient
        assert reason == HANGS
        board.ready()
        assert first.returncode == -signal.SIGKILL


def test_a_page_without_viewers_and_verdicts_says_that_it_is_alive(tmp_path):
    with Board(tmp_path) as board:
        board.ready()
        before_s = board.sink._heard_s
        board.wait(lambda: board.sink._heard_s > before_s, "a sign of life")


def test_the_loop_does_not_wait_for_a_page_that_hangs(tmp_path):
    with Board(tmp_path) as board:
        board.ready()
        pid = board.sink._process.pid
        os.kill(pid, signal.SIGSTOP)
        try:
            board.sink._is_watched = True
            for tick in range(3000):
                board.sink.observe(frame(tick))
                board.sink.emit([verdict(tick=tick)] * 20)
            assert len(board.sink._seen) <= 400
            time.sleep(0.5)  # the page process does not read the thread's messages
        finally:
            os.kill(pid, signal.SIGCONT)
        board.wait(lambda: sum(map(sum, board.state()["total"])) == 60_000, "every count")
