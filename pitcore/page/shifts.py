"""Counts of each shift, kept over restarts: one file a shift, written through ``durable``.

``shift_at`` is a pure rule. A record tells how much of the run it has counted, so that a page process that starts again
goes on without counting anything twice. A power cut loses at most ``SAVE_EVERY_S`` of counts.
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
        """Name of its file."""
        return f"{self.start:%Y-%m-%dT%H%M}"


class Record(msgspec.Struct, forbid_unknown_fields=True):
    """What was counted in a shift: schema ``pitcore.shift/1``.

    Attributes:
        start, end: RFC 3339, local time with its offset.
        lanes: names.
        hours: counts by lane and verdict, for each hour that had any, by its start.
        events: how many of each.
        run: the last run of the service that was counted here; ``counted`` and ``counted_events`` are what of it was
            counted, here and in shifts before.
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
        """Counts by lane and verdict."""
        found = zero(len(self.lanes))
        for count in self.hours.values():
            found = plus(found, count)
        return found


def shift_at(now: dt.datetime, shifts: Sequence[ShiftConfig]) -> Shift:
    """Return the shift of a moment.

    Args:
        now: with any offset; shifts start by the board's local time.
        shifts: in the order of their start.
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
    """The shifts of one board.

    Args:
        folder: of the files; it is made when the first is written.
        shifts: of the configuration.
        lanes: names.
        run: of the service.
        keep: how many files stay.

    Attributes:
        trouble: why counts cannot be kept; None where they can.
    """

    def __init__(self, folder: Path, shifts: Sequence[ShiftConfig], lanes: Sequence[str], run: str, keep: int) -> None:
        self._folder, self._shifts, self._lanes, self._keep = folder, tuple(shifts), list(lanes), keep
        self._run = run
        self._record: Record | None = None
        self._shift: Shift | None = None
        self._saved_s = 0.0
        self.trouble: str | None = None

    def update(self, now: dt.datetime, now_s: float, total: Count, events: dict[str, int]) -> None:
        """Count what is new.

        Args:
            now: wall clock.
            now_s: a clock that only grows.
            total: of this run, by lane and verdict.
            events: of this run.
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

    def told(self, now: dt.datetime) -> dict[str, Any] | None:
        """Return the counts of the shift so far, JSON-able."""
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
        """Write the record of the shift, and remove files beyond those that are kept."""
        if self._record is None or self._shift is None:
            return
        raw = msgspec.json.encode(self._record)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            replace_file(self._path(self._shift.id), lambda file: file.write(raw))
            for old in self._ids()[self._keep :]:
                self._path(old).unlink(missing_ok=True)
        except OSError as error:
            trouble = f"{self._folder}: counts of the shift cannot be written: {error.strerror}"
            if trouble != self.trouble:
                log.warning("[page] %s; they are kept in memory until the disk takes them", trouble)
            self.trouble = trouble
        else:
            self.trouble = None

    def past(self) -> list[dict[str, Any]]:
        """Return the last shifts, the newest first, JSON-able."""
        found = []
        for shift_id in self._ids()[:MAX_LISTED]:
            record = self.read(shift_id)
            if record is not None:
                sums = [sum(column) for column in zip(*record.total, strict=True)]
                found.append({"id": shift_id, "name": record.name, "start": record.start, "total": sums})
        return found

    def read(self, shift_id: str) -> Record | None:
        """Return the record of a shift, or None where there is no whole one."""
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
        """End the shift before, and begin or go on with another."""
        self.save()
        before = self._record or self._last_record()
        begun = self.read(shift.id)
        self._shift = shift
        fits = begun is not None and begun.lanes == self._lanes
        if begun is not None and not fits:
            self._set_aside(shift.id)
        is_ours = before is not None and before.run == self._run
        counted = before.counted if before is not None and is_ours else zero(len(self._lanes))
        counted_events = before.counted_events if before is not None and is_ours else {}
        if begun is not None and fits:
            self._record = msgspec.structs.replace(begun, run=self._run, counted=counted, counted_events=counted_events)
            return
        start, end = shift.start.isoformat(), shift.end.isoformat()
        self._record = Record(shift.name, start, end, self._lanes, self._run, counted, counted_events, {}, {})

    def _last_record(self) -> Record | None:
        return next((record for one in self._ids() if (record := self.read(one)) is not None), None)

    def _set_aside(self, shift_id: str) -> None:
        """Keep the file of a shift that began with other lanes under another name."""
        path = self._path(shift_id)
        try:
            path.rename(path.with_suffix(".other-lanes.json"))
        except OSError as error:
            log.warning("[page] %s: %s", path, error.strerror)

    def _ids(self) -> list[str]:
        """Return the shifts that have a file, the newest first."""
        found = [path.stem for path in self._folder.glob("*.json") if ID.fullmatch(path.stem)]
        return sorted(found, reverse=True)

    def _path(self, shift_id: str) -> Path:
        return self._folder / f"{shift_id}.json"
