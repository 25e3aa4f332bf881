"""Returns the board's wall clock as text, for people and files. Durations come from the monotonic clock."""

from __future__ import annotations

import datetime as dt


def utc_now() -> str:
    """Return the time in UTC to the second, RFC 3339."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
