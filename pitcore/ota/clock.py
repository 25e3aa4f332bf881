"""Reads the clock, whether a time service has set it, and the time that it cannot be before."""

from __future__ import annotations

import ctypes
import time
from dataclasses import dataclass

WRITTEN_S = 1_795_564_800.0  # 2026-11-25: this program did not run before it was written; raise it with each release
_TIME_ERROR = 5  # adjtimex(2) returns it while no time service has set the clock


@dataclass(frozen=True, slots=True)
class Time:
    """A reading of the clock.

    Attributes:
        now_s: seconds since 1970, UTC.
        synced: a time service has set the clock.
    """

    now_s: float
    synced: bool


class _Timex(ctypes.Structure):
    """``struct timex``, 208 bytes or less. All zero: adjtimex reads the state and changes nothing."""

    _fields_ = [("content", ctypes.c_byte * 512)]


def read_clock() -> Time:
    """Return the time, and whether a time service (ntpd, chrony or timesyncd) has synchronised the clock."""
    state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(_Timex()))
    return Time(time.time(), synced=state not in {_TIME_ERROR, -1})


@dataclass(frozen=True, slots=True)
class ExpiryTime:
    """The time that is compared with expiry dates.

    Attributes:
        at_s: never before the floor.
        floor_s: the time is certainly later than this.
        sure: the clock is set, and not before the floor; if not, ``at_s`` may be off by years.
    """

    at_s: float
    floor_s: float
    sure: bool


def judge(reading: Time, floor_s: float) -> ExpiryTime:
    """Return the time to compare with expiry dates. It is never before the newest signature that was seen."""
    return ExpiryTime(max(reading.now_s, floor_s), floor_s, sure=reading.synced and reading.now_s >= floor_s)
