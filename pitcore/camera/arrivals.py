"""Judges each arriving frame of one camera by its metadata: good, or lost and why. Does not look at pixels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from pitcore.camera.cadence import Cadence
from pitcore.camera.lock import Lock
from pitcore.camera.stamps import StampClock, mid_exposure_ns
from pitcore.errors import SourceError
from pitcore.health import LockedPicture

STALE_NS = 1_000_000_000  # a frame this old on arrival shows belt that the nozzles can no longer reach


class Arrivals:
    """Counts what one camera sent. The camera's thread writes the counters; any thread may read them.

    Args:
        camera: the camera's name, for messages.
        lock: the settings that the metadata of every frame must confirm.
        cadence: when frames are due.
        sync: True if software synchronises the camera with another one. No frame is good before the camera reports
            that it is synchronised.

    Attributes:
        frames: number of good frames.
        lost: number of lost frames by cause: ``sensor`` (a gap between stamps), ``startup`` (before the settings were
            confirmed), ``unlocked`` (the settings changed afterwards), ``repeated`` (a stamp that is not later than
            the last), ``stale``. ``PicameraSource`` adds ``unpaired`` and ``queue_full``.
        locked: the settings that the metadata confirmed; None until then.
        doubt: why the last frame was not good; empty if it was good.
        bad_in_row: number of frames since the last good one.
        last_new_ns, last_good_ns: CLOCK_MONOTONIC when the last new, the last good frame arrived; None before.
    """

    def __init__(self, camera: str, lock: Lock, cadence: Cadence, *, sync: bool = False) -> None:
        self._camera, self.lock, self._cadence = camera, lock, cadence
        self._in_step = not sync
        self._clock = StampClock(camera)
        self._last_stamp_ns: int | None = None
        self.frames = 0
        self.lost: Counter[str] = Counter()
        self.locked: LockedPicture | None = None
        self.doubt = "it has not sent a frame yet"
        self.bad_in_row = 0
        self.last_new_ns: int | None = None
        self.last_good_ns: int | None = None

    def judge(self, metadata: Mapping[str, Any], now_ns: int) -> int | None:
        """Judge a frame by its metadata and count it.

        Args:
            metadata: libcamera's metadata, by name.
            now_ns: time of arrival, CLOCK_MONOTONIC in nanoseconds.

        Returns:
            The time of mid-exposure, CLOCK_MONOTONIC in nanoseconds; None if the frame is not good.

        Raises:
            SourceError: the time stamp is missing or from an unknown clock.
        """
        if "SensorTimestamp" not in metadata:
            raise SourceError(f"{self._camera}: its frames carry no SensorTimestamp; update libcamera and the kernel")
        stamp_ns = self._clock.monotonic_ns(int(metadata["SensorTimestamp"]))
        cause = self._fault(stamp_ns, metadata, now_ns)
        if cause != "repeated":
            self._last_stamp_ns, self.last_new_ns = stamp_ns, now_ns
        if cause:
            self.lost[cause] += 1
            self.bad_in_row += 1
            return None
        self.locked = self.lock.confirmed(metadata)
        self.frames, self.last_good_ns, self.bad_in_row = self.frames + 1, now_ns, 0
        return mid_exposure_ns(stamp_ns, self.locked.exposure_us)

    def relock(self, lock: Lock) -> None:
        """Require other settings of every frame from now on."""
        self.lock, self.locked = lock, None

    def _fault(self, stamp_ns: int, metadata: Mapping[str, Any], now_ns: int) -> str:
        """Return what is wrong with a frame, and note the gap before it."""
        last_ns = self._last_stamp_ns
        if last_ns is not None and stamp_ns <= last_ns:
            self.doubt = "it sends the same exposure again"
            return "repeated"
        if last_ns is not None and self.locked is not None:
            self.lost["sensor"] += max(0, self._cadence.steps(last_ns, stamp_ns) - 1)
        if now_ns - stamp_ns > STALE_NS:
            self.doubt = f"its frames are {(now_ns - stamp_ns) / 1e9:.1f} s old when they arrive"
            return "stale"
        self._in_step = self._in_step or bool(metadata.get("SyncReady"))
        self.doubt = self.lock.differs(metadata) or (
            "" if self._in_step else "it is not synchronised with the other yet"
        )
        if not self.doubt:
            return ""
        return "startup" if self.locked is None else "unlocked"
