"""Keeps the counts of each shift across restarts: one file for each shift, written through ``durable``.

A record contains how much of the run it has counted, so that a restarted page process counts nothing twice. A power cut
loses at most ``SAVE_EVERY_S`` of counts.
"""

from __future__ import annotations

import datetime as dt
import logging
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from pitcore.config import ShiftConfig
from pitcore.durable import replace_file
from pitcore.page.tally import Count, minus, plus, zero

log = logging.getLogger("pitcore.page")

SAVE_EVERY_S = 30.0
MAX_LISTED = 60
ID = re.compile(r"\d{4}-\d{2}-\d{2}T\d{4}")


@dataclass(frozen=True, slots=True)
class Shift:
    """One shift of one day. ``start`` and ``end`` are local times with their offset."""

    name: str
    start: dt.datetime
    end: dt.datetime

    @property
    def id(self) -> str:
        """Name of the shift's file, without the suffix."""
        return f"{self.start:%Y-%m-%dT%H%M}"


class Record(msgspec.Struct, forbid_unknown_fields=True):
    """The counts of a shift: schema ``pitcore.shift/1``.

    Attributes:
        start, end: local time with its offset, RFC 3339.
        lanes: names of the lanes.
        run: the last run of the service that was counted.
        counted, counted_events: the part of that run that was counted, in this and earlier shifts.
        hours: counts by lane and verdict for each hour that has any, by the start of the hour.
        events: numbers of events, by name.
    """

    name: str
    start: str
    end: str
    lanes: list[str]
    run: str
    counted: Count
    counted_events: dict[str, int]
    hours: dict[str, Count] = {}
    events: dict[str, int] = {}
    schema: Literal["pitcore.shift/1"] = "pitcore.shift/1"

    @property
    def total(self) -> Count:
        """Counts of the shift by lane and verdict."""
        total = zero(len(self.lanes))
        for count in self.hours.values():
            total = plus(total, count)
        return total


def shift_at(now: dt.datetime, shifts: Sequence[ShiftConfig]) -> Shift:
    """Return the shift at a time.

    Args:
        now: the time, with any offset; shifts start by the board's local time.
        shifts: the configured shifts, in the order of their start.
    """
    today = now.astimezone().date()
    starts = []
    for day in range(-1, 3):
        date = today + dt.timedelta(days=day)
        for shift in shifts:
            local = dt.datetime.combine(date, dt.time.fromisoformat(shift.start)).astimezone()
            starts.append((local, shift.name))
    following = next(place for place, (start, _) in enumerate(starts) if start > now)
    start, name = starts[following - 1]
    return Shift(name, start, starts[following][0])


class ShiftBook:
    """Counts and stores the shifts of one board.

    Args:
        folder: folder of the files; it is created with the first file.
        shifts: the configured shifts.
        lanes: names of the lanes.
        run: identifies the run of the service.
        keep: number of files to keep.

    Attributes:
        trouble: why counts cannot be stored; None if they can.
    """

    def __init__(self, folder: Path, shifts: Sequence[ShiftConfig], lanes: Sequence[str], run: str, keep: int) -> None:
        self._folder, self._shifts, self._lanes, self._keep = folder, tuple(shifts), list(lanes), keep
        self._run = run
        self._record: Record | None = None
        self._shift: Shift | None = None
        self._saved_s = 0.0
        self.trouble: str | None = None

    def update(self, now: dt.datetime, now_s: float, total: Count, events: dict[str, int]) -> None:
        """Add the new counts to the shift, and save it every ``SAVE_EVERY_S``.

        Args:
            now: wall clock.
            now_s: monotonic clock, in seconds.
            total: counts of this run so far, by lane and verdict.
            events: events of this run so far, by name.
        """
        if self._shift is None or not self._shift.start <= now < self._shift.end:
            self._turn_to(shift_at(now, self._shifts))
        record = self._record
        assert record is not None  # noqa: S101  made by _turn_to
        new = minus(total, record.counted)
        if any(map(any, new)):
            hour = now.astimezone().replace(minute=0, second=0, microsecond=0).isoformat()
            record.hours[hour] = plus(record.hours.get(hour, zero(len(self._lanes))), new)
            record.counted = total
        new_events = Counter(events)
        new_events.subtract(record.counted_events)
        if any(new_events.values()):
            record.events = dict(Counter(record.events) + new_events)
            record.counted_events = dict(events)
        if now_s - self._saved_s >= SAVE_EVERY_S:
            self._saved_s = now_s
            self.save()

    def current(self, now: dt.datetime) -> dict[str, Any] | None:
        """Return the counts of the current shift as values that JSON can encode; None before ``update``."""
        if self._record is None or self._shift is None:
            return None
        return {
            "id": self._shift.id,
            "name": self._shift.name,
            "since": f"{self._shift.start:%H:%M}",
            "span_s": (now - self._shift.start).total_seconds(),
            "lanes": self._record.total,
            "trouble": self.trouble,
        }

    def save(self) -> None:
        """Write the record of the shift, and remove the oldest files beyond ``keep``."""
        if self._record is None or self._shift is None:
            return
        raw = msgspec.json.encode(self._record)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            replace_file(self._path(self._shift.id), lambda file: file.write(raw))
            others = [one for one in self._ids() if one != self._shift.id]  # newer ones too, if the clock was ahead
            for old in others[self._keep - 1 :]:
                self._path(old).unlink(missing_ok=True)
        except OSError as error:
            trouble = f"{self._folder}: counts of the shift cannot be written: {error.strerror}"
            if trouble != self.trouble:
                log.warning("[page] %s; they stay in memory until they can be written", trouble)
            self.trouble = trouble
        else:
            self.trouble = None

    def past(self) -> list[dict[str, Any]]:
        """Return the last 60 shifts, the newest first, as values that JSON can encode."""
        shifts = []
        for shift_id in self._ids()[:MAX_LISTED]:
            record = self.read(shift_id)
            if record is not None:
                sums = [sum(column) for column in zip(*record.total, strict=True)]
                shifts.append({"id": shift_id, "name": record.name, "start": record.start, "total": sums})
        return shifts

    def read(self, shift_id: str) -> Record | None:
        """Return the record of a shift, or None if there is none or it is damaged."""
        if not ID.fullmatch(shift_id):
            return None
        if self._shift is not None and shift_id == self._shift.id:
            return self._record
        try:
            return msgspec.json.decode(self._path(shift_id).read_bytes(), type=Record)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            log.warning("[page] %s: cannot be read: %s", self._path(shift_id), error)
            return None

    def _turn_to(self, shift: Shift) -> None:
        """End the previous shift, and begin or continue another one."""
        self.save()
        before = self._record or self._counted_last()
        begun = self.read(shift.id)
        self._shift = shift
        fits = begun is not None and begun.lanes == self._lanes
        if begun is not None and not fits:
            self._set_aside(shift.id)
        counted = zero(len(self._lanes)) if before is None else before.counted
        counted_events = {} if before is None else before.counted_events
        if begun is not None and fits:
            self._record = msgspec.structs.replace(begun, run=self._run, counted=counted, counted_events=counted_events)
            return
        start, end = shift.start.isoformat(), shift.end.isoformat()
        self._record = Record(shift.name, start, end, self._lanes, self._run, counted, counted_events, {}, {})

    def _counted_last(self) -> Record | None:
        """Return the record on the disk that counted most of this run, or None if no record counted any of it.

        The order of the files does not say which one it is, because the clock may have been ahead and set back.
        """
        records = (self.read(one) for one in self._ids())
        ours = (record for record in records if record is not None and record.run == self._run)
        return max(ours, key=_counted_of, default=None)

    def _set_aside(self, shift_id: str) -> None:
        """Rename the file of a shift that began with other lanes, so that its counts are kept."""
        path = self._path(shift_id)
        try:
            path.rename(path.with_suffix(".other-lanes.json"))
        except OSError as error:
            log.warning("[page] %s: %s", path, error.strerror)

    def _ids(self) -> list[str]:
        """Return the ids of the shifts that have a file, the newest first."""
        return sorted((path.stem for path in self._folder.glob("*.json") if ID.fullmatch(path.stem)), reverse=True)

    def _path(self, shift_id: str) -> Path:
        return self._folder / f"{shift_id}.json"


def _counted_of(record: Record) -> tuple[int, int]:
    """Return how many verdicts and events of its run a record has counted. Both never decrease during a run."""
    return sum(map(sum, record.counted)), sum(record.counted_events.values())
