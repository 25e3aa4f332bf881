"""Shifts: which one it is, and that their counts survive."""

import csv
import datetime as dt
import io
import json
import time
import zoneinfo

import pytest

from pitcore.config import PageConfig, ShiftConfig
from pitcore.page.report import to_csv, to_html
from pitcore.page.shifts import ShiftBook, shift_at
from pitcore.verdict import Event
from tests.page.board import Board, verdict

SHIFTS = PageConfig().shifts
LANES = ("lane 1", "lane 2")


@pytest.fixture(autouse=True)
def in_berlin(monkeypatch):
    """Local time with summer time."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def at(text):
    return dt.datetime.fromisoformat(text).replace(tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"))


def book(folder, run="run", **changes):
    return ShiftBook(folder, changes.get("shifts", SHIFTS), changes.get("lanes", LANES), run, changes.get("keep", 400))


def count(pits):
    return [[0, 0, pits, 0], [1, 0, 0, 0]]


@pytest.mark.parametrize(
    ("now", "name", "start", "hours"),
    [
        ("2026-07-01T06:00", "early", "2026-07-01T0600", 8),
        ("2026-07-01T05:59", "night", "2026-06-30T2200", 8),
        ("2026-07-01T23:30", "night", "2026-07-01T2200", 8),
        ("2026-03-29T04:00", "night", "2026-03-28T2200", 7),  # the clock went forward
        ("2026-10-25T04:00", "night", "2026-10-24T2200", 9),  # and back
    ],
)
def test_a_moment_belongs_to_one_shift(now, name, start, hours):
    shift = shift_at(at(now), SHIFTS)
    assert (shift.name, shift.id) == (name, start)
    assert (shift.end.astimezone(dt.UTC) - shift.start.astimezone(dt.UTC)) == dt.timedelta(hours=hours)


def test_one_shift_lasts_a_day():
    shift = shift_at(at("2026-07-01T05:00"), (ShiftConfig(name="day", start="07:00"),))
    assert shift.id == "2026-06-30T0700"


def test_counts_survive_a_restart_of_the_service(tmp_path):
    first = book(tmp_path, "first")
    first.update(at("2026-07-01T07:00"), 0.0, count(5), {"belt_gap": 2})
    first.save()
    second = book(tmp_path, "second")  # counts from 0 again
    second.update(at("2026-07-01T08:00"), 0.0, count(3), {"belt_gap": 1})
    record = second.read("2026-07-01T0600")
    assert record.total == [[0, 0, 8, 0], [2, 0, 0, 0]]
    assert record.events == {"belt_gap": 3}
    assert len(record.hours) == 2


def test_nothing_is_counted_twice_when_the_page_starts_again(tmp_path):
    first = book(tmp_path)
    first.update(at("2026-07-01T07:00"), 0.0, count(5), {})
    first.save()
    again = book(tmp_path)  # the same run of the service goes on
    again.update(at("2026-07-01T07:01"), 0.0, count(6), {})
    assert again.read("2026-07-01T0600").total == [[0, 0, 6, 0], [1, 0, 0, 0]]


def test_a_shift_ends_and_the_next_begins_with_nothing(tmp_path):
    one = book(tmp_path)
    one.update(at("2026-07-01T13:59"), 0.0, count(5), {})
    one.update(at("2026-07-01T14:00"), 1.0, count(7), {})
    one.save()
    again = book(tmp_path)
    assert [shift["total"][2] for shift in again.past()] == [2, 5]


def test_the_page_that_starts_again_in_the_next_shift_counts_only_what_is_new(tmp_path):
    one = book(tmp_path)
    one.update(at("2026-07-01T13:59"), 0.0, count(5), {})
    one.save()
    again = book(tmp_path)
    again.update(at("2026-07-01T14:01"), 0.0, count(7), {})
    assert again.read("2026-07-01T1400").total == [[0, 0, 2, 0], [0, 0, 0, 0]]


def test_a_clock_that_was_ahead_does_not_make_a_restarted_page_count_twice(tmp_path):
    one = book(tmp_path)
    one.update(at("2027-03-01T08:00"), 0.0, count(1000), {})
    one.update(at("2026-07-01T07:00"), 100.0, count(9000), {"belt_gap": 50})  # the clock is right from here on
    one.update(at("2026-07-01T14:00"), 200.0, count(9500), {"belt_gap": 60})
    one.save()
    for now, shift in (("2026-07-01T14:01", "2026-07-01T1400"), ("2026-07-01T07:01", "2026-07-01T0600")):
        again = book(tmp_path)
        before = again.read(shift)
        again.update(at(now), 0.0, count(9500), {"belt_gap": 60})
        assert (again.read(shift).total, again.read(shift).events) == (before.total, before.events)


def test_old_shifts_are_removed(tmp_path):
    one = book(tmp_path, keep=2)
    for day in range(1, 6):
        one.update(at(f"2026-07-0{day}T07:00"), day * 100.0, count(day), {})
    assert len(list(tmp_path.iterdir())) == 2


def test_the_present_shift_is_kept_though_the_clock_was_ahead(tmp_path):
    one = book(tmp_path, keep=1)
    one.update(at("2027-03-01T08:00"), 100.0, count(1), {})
    one.update(at("2026-07-01T07:00"), 200.0, count(2), {})
    assert [path.stem for path in tmp_path.iterdir()] == ["2026-07-01T0600"]


def test_a_damaged_shift_file_does_not_end_the_page(tmp_path):
    (tmp_path / "2026-07-01T0600.json").write_bytes(b"\0" * 100)
    one = book(tmp_path)
    one.update(at("2026-07-01T07:00"), 0.0, count(5), {})
    assert one.past() == [] or one.read("2026-07-01T0600").total[0][2] == 5


def test_a_full_disk_is_reported_and_counts_stay(tmp_path):
    (tmp_path / "file").write_text("")
    one = book(tmp_path / "file" / "shifts")
    one.update(at("2026-07-01T07:00"), 100.0, count(5), {})
    current = one.current(at("2026-07-01T07:00"))
    assert "cannot be written" in current["trouble"]
    assert current["lanes"] == count(5)


def test_csv_and_page_agree(tmp_path):
    one = book(tmp_path)
    one.update(at("2026-07-01T07:00"), 0.0, count(1200), {"light_off": 1, "armed": 1})
    record = one.read("2026-07-01T0600")
    rows = list(csv.DictReader(io.StringIO(to_csv(record))))
    assert [(row["lane"], row["pit"], row["total"]) for row in rows] == [
        ("lane 1", "1200", "1200"),
        ("lane 2", "0", "1"),
    ]
    page = to_html(record, "2026-07-01T0600", "<board>")
    assert "1,200" in page
    assert "light_off" in page
    assert "armed" not in page  # no fault
    assert "&lt;board&gt;" in page


def test_a_page_process_that_starts_again_counts_nothing_twice_and_shows_no_past_as_present(tmp_path):
    pytest.importorskip("uvicorn", reason="the live page needs the extra `page`")
    with Board(tmp_path) as board:
        board.ready()
        board.sink.emit([verdict("pit", pit=0.9)] * 300)
        board.sink.emit([Event("pitcore.event/1", 1, 1, "overload", "too many", 7)])
        board.wait(lambda: sum(map(sum, board.state()["total"])) == 300, "the counts")
        board.start_again()
        board.wait(lambda: board.state()["counts"].get("shift"), "a shift")
        board.sink.emit([verdict()])
        board.wait(lambda: sum(map(sum, board.state()["total"])) == 301, "the counts")
        assert sum(map(sum, board.state()["counts"]["minute"]["lanes"])) <= 1
    records = [json.loads(path.read_text()) for path in (tmp_path / "state" / "shifts").glob("*.json")]
    assert sum(sum(map(sum, hour)) for record in records for hour in record["hours"].values()) == 301
    assert sum(record["events"].get("overload", 0) for record in records) == 7


def test_a_shift_is_served_by_its_name_and_no_other_file(tmp_path):
    pytest.importorskip("uvicorn", reason="the live page needs the extra `page`")
    with Board(tmp_path) as board:
        board.ready()
        board.sink.emit([verdict("pit", pit=0.9)])
        shift = board.wait(lambda: board.state()["counts"].get("shift"), "a shift")
        board.wait(lambda: sum(map(sum, board.state()["counts"]["shift"]["lanes"])) == 1, "the count")
        assert board.ask(f"/shifts/{shift['id']}.csv")[2].decode().count("\n") == 5
        assert board.ask(f"/shifts/{shift['id']}")[0] == 200
        (tmp_path / "secret.json").write_text("{}")
        for path in ("..%2fsecret", "../secret", "..%2f..%2fsecret.csv", "%2e%2e/secret", "2026-07-01T0600%00"):
            assert board.ask(f"/shifts/{path}")[0] == 404
    assert list((tmp_path / "state" / "shifts").glob("*.json"))  # kept when the service ends
