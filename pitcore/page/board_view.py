"""Holds what viewers see of the board, from the messages of the service. Does no IO; the time is an argument.

All times are CLOCK_MONOTONIC in seconds. A message tells what held at its own time, not when it was read. Counts are
those of the service's run, which may be older than this process: rates compare with the first message.
"""

from __future__ import annotations

from collections import deque
from statistics import median
from typing import Any

import msgspec

from pitcore.page.messages import LineNow, Seen, Start, Update
from pitcore.page.tally import Window
from pitcore.page.words import ALARMS
from pitcore.verdict import VERDICTS

SILENT_S = 1.5  # a service that sends no message for longer hangs
STALE_S = 1.0  # largest age of a picture of the belt, or three intervals of frames if the camera is slower
INTERVALS = 15  # number of messages with new frames that say what the usual interval is
MAX_SEEN = 1500  # last verdicts, which may be in the next picture
MAX_POINTS = 300  # points in each chart; one a second
MINUTE_S, HOUR_S = 60.0, 3600.0
SERIES = ("cherries", "p50_ms", "p99_ms", "dropped", "late", "headroom", "spare_ms")


class BoardView:
    """The state of the board that viewers see.

    Args:
        start: the first message of the service.

    Attributes:
        total: numbers of verdicts of this run, by lane and verdict.
        events: numbers of events of this run, by name.
        seen: the last verdicts.
    """

    def __init__(self, start: Start) -> None:
        self.start = start
        self.total, self.events = start.counts, start.events
        self.seen: deque[Seen] = deque(maxlen=MAX_SEEN)
        self._minute = Window(start.at_s, start.counts, MINUTE_S)
        self._hour = Window(start.at_s, start.counts, HOUR_S)
        self._now: LineNow | None = None
        self._updated_s = self._looked_s = start.at_s
        self._points: deque[dict[str, float | None]] = deque(maxlen=MAX_POINTS)
        self._before: tuple[float, int, int, int] | None = None  # time and counts of the last point of the charts
        self._intervals_s: deque[float] = deque(maxlen=INTERVALS)
        self._spare_ms: list[float] = []  # since the last point

    @property
    def line(self) -> LineNow | None:
        """The last known state of the line; None before the first message with one."""
        return self._now

    @property
    def points(self) -> list[dict[str, float | None]]:
        """The points of the charts, one a second, the oldest first; the keys are ``SERIES``."""
        return list(self._points)

    @property
    def _limit_s(self) -> float:
        """The largest age of a picture that is current, in seconds.

        A stall and the burst of frames after it are in a few messages only, so they do not move the median.
        """
        return max(STALE_S, 3 * median(self._intervals_s or (0.0,)))

    def take(self, update: Update) -> None:
        """Apply a message of the service."""
        self._updated_s = update.at_s
        self.total, self.events = update.counts, update.events
        self.seen.extend(update.seen)
        if update.now is not None:
            self._add_interval(update.now)
            self._now, self._looked_s = update.now, update.at_s
            if update.now.spare_ms is not None:
                self._spare_ms.append(update.now.spare_ms)
            self._add_point(update.now, update.at_s)

    def _add_interval(self, now: LineNow) -> None:
        """Add the mean interval of the frames that were searched since the last message, if there were any."""
        before = self._now
        if before is None or before.looked_ns is None or now.looked_ns is None or now.looked_ns == before.looked_ns:
            return
        frames = now.frames["processed"] - before.frames["processed"]
        self._intervals_s.append((now.looked_ns - before.looked_ns) / 1e9 / max(1, frames))

    def _add_point(self, now: LineNow, at_s: float) -> None:
        """Add a point if the last one is a second old. The first state of the line is only compared with."""
        cherries = sum(map(sum, self.total))
        dropped = now.frames["dropped"] + now.frames["lost"]
        so_far = (at_s, cherries, dropped, now.rejects.get("late", 0))
        before = self._before
        if before is not None and at_s - before[0] < 1.0:
            return
        self._before = so_far
        if before is None:
            return
        passed_s, new, drops, late = (a - b for a, b in zip(so_far, before, strict=True))
        latency = now.latency_ms or (None, None)
        headroom = None if now.busy is None else 1.0 - now.busy
        spare_ms, self._spare_ms = min(self._spare_ms, default=None), []
        values = (new / passed_s, latency[0], latency[1], float(drops), float(late), headroom, spare_ms)
        self._points.append(dict(zip(SERIES, values, strict=True)))

    def counts(self) -> dict[str, Any]:
        """Return counts over the minute and the hour before the last message, by lane and verdict."""
        spans = {"minute": self._minute, "hour": self._hour}
        counts = {}
        for name, window in spans.items():
            count, span_s = window.update(self._updated_s, self.total)
            counts[name] = {"span_s": round(span_s, 1), "lanes": count}
        return counts

    def stale(self, now_s: float) -> dict[str, Any] | None:
        """Return why the picture is out of date, and its age in seconds; None if it is current."""
        silent_s = now_s - self._updated_s
        now = self._now
        if silent_s > SILENT_S:
            return {"why": "The inspection does not answer", "age_s": round(silent_s, 1)}
        if now is None or now.looked_ns is None:
            return None
        limit_s = self._limit_s
        due = [camera for camera in now.cameras if camera["state"] != "idle"]
        for camera in due:
            age_s = None if camera["age_s"] is None else camera["age_s"] + now_s - self._looked_s
            if camera["state"] == "stalled" or (age_s is not None and age_s > limit_s):
                names = " + ".join(camera["planes"])
                return {"why": f"Camera {names} sends no picture", "age_s": round(age_s or 0.0, 1)}
        age_s = now_s - now.looked_ns / 1e9
        if due and age_s > limit_s:
            return {"why": "No picture can be judged", "age_s": round(age_s, 1)}
        return None

    def belt_stopped(self) -> bool:
        """Return True if no camera should give frames, because the belt is stopped."""
        return self._now is not None and all(camera["state"] == "idle" for camera in self._now.cameras)

    def headline(self, now_s: float) -> dict[str, str]:
        """Return the state of the line in one or two words for a large display, and its kind for the colour."""
        stale, now = self.stale(now_s), self._now
        if stale is not None:
            return {"kind": "bad", "text": "NO PICTURE"}
        if now is None or now.state == "starting":
            return {"kind": "wait", "text": "STARTING"}
        if now.state == "stopping":
            return {"kind": "wait", "text": "STOPPING"}
        if now.alarms:
            return {"kind": "bad", "text": "ALARM"}
        if self.belt_stopped():
            return {"kind": "wait", "text": "BELT STOPPED"}
        return {"kind": "good", "text": "SORTING" if now.armed else "JUDGING"}

    def alarms(self) -> list[dict[str, Any]]:
        """Return the alarms that are on, each with what is wrong and what to do."""
        alarms = []
        for alarm in self._now.alarms if self._now else []:
            wrong, fix = ALARMS.get(alarm["name"], ("", "See docs/faults.md."))
            alarms.append({**alarm, "wrong": wrong, "fix": fix})
        return alarms

    def state(self, now_s: float) -> dict[str, Any]:
        """Return the whole state as values that JSON can encode: schema ``pitcore.page/1``."""
        now: dict[str, Any] | None = None if self._now is None else msgspec.to_builtins(self._now)
        return {
            "schema": "pitcore.page/1",
            "verdicts": list(VERDICTS),
            "lanes": list(self.start.lanes),
            "headline": self.headline(now_s),
            "stale": self.stale(now_s),
            "stale_after_s": round(self._limit_s, 2),
            "alarms": self.alarms(),
            "counts": self.counts(),
            "total": self.total,
            "line": now,
            "point": self._points[-1] if self._points else None,
        }
