"""What viewers see of the board: built from what the service tells. No network here; the time is an argument."""

from __future__ import annotations

from collections import deque
from typing import Any

import msgspec

from pitcore.page.messages import LineNow, Seen, Start, Told
from pitcore.page.tally import Count, Window, zero
from pitcore.page.words import ALARMS
from pitcore.verdict import VERDICTS

SILENT_S = 1.5  # without a word from the service for longer, it hangs
STALE_S = 1.0  # a picture of the belt must not be older, or three frames where the camera is slower
MAX_SEEN = 1500  # verdicts that may lie in the next picture
MAX_POINTS = 300  # of each chart; one a second
MINUTE_S, HOUR_S = 60.0, 3600.0
SERIES = ("cherries", "p50_ms", "p99_ms", "dropped", "late", "headroom")


class BoardView:
    """What is known of the board.

    Args:
        start: of the page.
        now_s: CLOCK_MONOTONIC, as all times here.

    Attributes:
        total: verdicts of this run, by lane and verdict.
        events: of this run, by name.
        seen: the last verdicts.
    """

    def __init__(self, start: Start, now_s: float) -> None:
        self.start = start
        self.total: Count = zero(len(start.lanes))
        self.events: dict[str, int] = {}
        self.seen: deque[Seen] = deque(maxlen=MAX_SEEN)
        self._minute = Window(len(start.lanes), MINUTE_S)
        self._hour = Window(len(start.lanes), HOUR_S)
        self._now: LineNow | None = None
        self._told_s = self._looked_s = now_s
        self._points: deque[dict[str, float | None]] = deque(maxlen=MAX_POINTS)
        self._point_s = now_s
        self._before = (now_s, 0, 0, 0, 0)
        self._frames_per_s = 0.0

    @property
    def line(self) -> LineNow | None:
        """What was told last of the line; None before the first time."""
        return self._now

    @property
    def points(self) -> list[dict[str, float | None]]:
        """The charts, one point a second, the oldest first; the keys are ``SERIES``."""
        return list(self._points)

    def take(self, told: Told, now_s: float) -> None:
        """Take in a message."""
        self._told_s = now_s
        self.total, self.events = told.counts, told.events
        self.seen.extend(told.seen)
        if told.now is not None:
            self._now, self._looked_s = told.now, now_s
            if now_s - self._point_s >= 1.0:
                self._point_s = now_s
                self._add_point(told.now, now_s)

    def _add_point(self, now: LineNow, now_s: float) -> None:
        cherries = sum(map(sum, self.total))
        dropped = now.frames["dropped"] + now.frames["lost"]
        so_far = (now_s, now.frames["processed"], cherries, dropped, now.rejects.get("late", 0))
        passed_s = max(0.5, now_s - self._before[0])
        frames, new, drops, late = (a - b for a, b in zip(so_far[1:], self._before[1:], strict=True))
        self._before = so_far
        self._frames_per_s = max(0.99 * self._frames_per_s, frames / passed_s)
        latency = now.latency_ms or (None, None)
        headroom = None if now.busy is None else 1.0 - now.busy
        values = (new / passed_s, latency[0], latency[1], float(drops), float(late), headroom)
        self._points.append(dict(zip(SERIES, values, strict=True)))

    def counts(self, now_s: float) -> dict[str, Any]:
        """Return counts over the last minute and hour."""
        spans = {"minute": self._minute, "hour": self._hour}
        found = {}
        for name, window in spans.items():
            count, span_s = window.update(now_s, self.total)
            found[name] = {"span_s": round(span_s, 1), "lanes": count}
        return found

    def stale(self, now_s: float) -> dict[str, Any] | None:
        """Return why the picture cannot be trusted, and its age in seconds; None where it can."""
        silent_s = now_s - self._told_s
        now = self._now
        if silent_s > SILENT_S:
            return {"why": "The inspection does not answer", "age_s": round(silent_s, 1)}
        if now is None or now.looked_ns is None:
            return None
        limit_s = STALE_S if not self._frames_per_s else max(STALE_S, 3 / self._frames_per_s)
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

    def standing(self) -> bool:
        """Tell whether no camera is due to give a frame: the belt is stopped."""
        return self._now is not None and all(camera["state"] == "idle" for camera in self._now.cameras)

    def headline(self, now_s: float) -> dict[str, str]:
        """Return what the line is doing, in one word or two for a large display, and its kind for colour."""
        stale, now = self.stale(now_s), self._now
        if stale is not None:
            return {"kind": "bad", "text": "NO PICTURE"}
        if now is None or now.state == "starting":
            return {"kind": "wait", "text": "STARTING"}
        if now.state == "stopping":
            return {"kind": "wait", "text": "STOPPING"}
        if now.alarms:
            return {"kind": "bad", "text": "ALARM"}
        if self.standing():
            return {"kind": "wait", "text": "BELT STANDS"}
        return {"kind": "good", "text": "SORTING"}

    def alarms(self) -> list[dict[str, Any]]:
        """Return the alarms that are on, with what is wrong and what to do."""
        found = []
        for alarm in self._now.alarms if self._now else []:
            wrong, fix = ALARMS.get(alarm["name"], ("", "See docs/faults.md."))
            found.append({**alarm, "wrong": wrong, "fix": fix})
        return found

    def told(self, now_s: float) -> dict[str, Any]:
        """Return all of it, JSON-able: schema ``pitcore.page/1``."""
        now: dict[str, Any] | None = None if self._now is None else msgspec.to_builtins(self._now)
        return {
            "schema": "pitcore.page/1",
            "verdicts": list(VERDICTS),
            "lanes": list(self.start.lanes),
            "headline": self.headline(now_s),
            "stale": self.stale(now_s),
            "alarms": self.alarms(),
            "counts": self.counts(now_s),
            "total": self.total,
            "line": now,
            "point": self._points[-1] if self._points else None,
        }
