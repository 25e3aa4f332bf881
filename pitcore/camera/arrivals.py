"""Judges the frames of one camera as they come: good, or lost and why. Knows metadata, not pixels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from pitcore.camera.cadence import Cadence
from pitcore.camera.lock import Lock
from pitcore.camera.stamps import StampClock, mid_exposure_ns
from pitcore.errors import SourceError
from pitcore.health import LockedPicture

STALE_NS = 1_000_000_000  # a frame this old when it arrives shows belt that is out of reach


class Arrivals:
    """What one camera sent so far. Written by the camera's thread; counters may be read by any.

    Args:
        camera: for messages.
        lock: what every frame must confirm.
        cadence: when frames are due.
        sync: software brings the camera into step with another; no frame is good before it says that it is.

    Attributes:
        frames: good ones.
        lost: by cause: ``sensor`` (a gap between stamps), ``startup`` (before the lock was confirmed), ``unlocked`` (it
            changed afterwards), ``repeated`` (a stamp that is not later than the last), ``stale``. Whoever holds the
            frames adds ``unpaired`` and ``queue_full``.
        locked: what the metadata confirmed; None until then.
        doubt: why the last frame was not good; empty if it was.
        bad_in_row: frames since the last good one.
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
        """Judge a frame by its metadata.

        Args:
            metadata: libcamera's, by name.
            now_ns: CLOCK_MONOTONIC.

        Returns:
            When it was half exposed by CLOCK_MONOTONIC, or None if it is not good.

        Raises:
            SourceError: its stamp is missing, or of an unknown clock.
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
        """Ask every frame from now on to be otherwise."""
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
