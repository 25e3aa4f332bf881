"""Decides when the service is ready, and when its watchdog is fed.

The rule (``LoopPulse``) does no IO: every required camera gives frames, the loop takes them, and some can be judged. An
empty belt is no fault, because its frames arrive and are searched. A stopped belt that triggers no camera is no fault
either. A separate thread applies the rule and notifies systemd, so that the watchdog is also fed while the belt is
stopped.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from pitcore.health import CameraHealth, stalled
from pitcore.service.notify import Notifier

log = logging.getLogger("pitcore.supervision")
FEEDS_PER_WATCHDOG = 4  # so that one late frame never costs a restart
ASK_S = 0.05  # interval of checks until the service is ready
UNJUDGED_S = 60.0  # a flooded belt raises its alarm at once; only a lasting fault justifies the seconds of a restart
SHORTEST_S = 0.01  # a shorter watchdog time is not supported
STATUS_S = 1.0  # longest time between two messages, also without a watchdog


class Progress(NamedTuple):
    """Counts of the loop.

    Attributes:
        processed: frames that it took.
        judged: processed frames that were judged; the others were not usable.
    """

    processed: int
    judged: int


class LoopPulse:
    """Compares two moments, and reports what stopped between them.

    Args:
        limit_s: a camera that sends nothing for longer has stopped.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._delivered = self._processed = self._judged = 0
        self._unjudged_ns, self._asked_ns = 0, 0

    def fault(
        self, cameras: tuple[CameraHealth, ...], progress: Progress, now_ns: int
    ) -> tuple[str, CameraHealth] | None:
        """Return what has stopped, in words, and the camera that it concerns; None without a fault.

        Args:
            cameras: present state of the source's cameras.
            progress: counts of the loop.
            now_ns: CLOCK_MONOTONIC.
        """
        silent = stalled(cameras, now_ns, self._limit_s)
        if silent:
            age_s = silent[0].age_s(now_ns)
            since = "none yet" if age_s is None else f"the last one {age_s:.1f} s ago"
            return f"camera {silent[0].id} ({', '.join(silent[0].planes)}) gives no frames, {since}", silent[0]
        delivered = sum(camera.frames for camera in cameras)
        comes = delivered > self._delivered
        stuck = comes and progress.processed == self._processed
        if progress.judged != self._judged:
            self._unjudged_ns = 0
        elif comes and self._asked_ns:
            self._unjudged_ns += now_ns - self._asked_ns
        self._delivered, self._asked_ns = delivered, now_ns
        self._processed, self._judged = progress
        if stuck:
            return "frames come, but none is processed: the loop hangs", cameras[0]
        if self._unjudged_ns > UNJUDGED_S * 1e9:
            unjudged_s = self._unjudged_ns / 1e9
            return f"frames come, but none was judged for {unjudged_s:.0f} s; `pitcore status` says why", cameras[0]
        return None


class Supervisor:
    """Sends READY, WATCHDOG, STATUS and STOPPING to systemd at the right time, from a thread.

    Args:
        notifier: sends to systemd.
        limit_s: a camera that sends nothing for longer has stopped.
        health: returns the state of every camera; called on the thread.
        progress: returns the counts of the loop; called on the thread.
        status: returns one line for `systemctl status`; called on the thread.
    """

    def __init__(
        self,
        notifier: Notifier,
        limit_s: float,
        health: Callable[[], tuple[CameraHealth, ...]],
        progress: Callable[[], Progress],
        status: Callable[[], str],
    ) -> None:
        self._notifier, self._health, self._progress, self._status = notifier, health, progress, status
        self._pulse = LoopPulse(limit_s)
        self._told: str | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="pitcore-watchdog", daemon=True)

    def __enter__(self) -> Supervisor:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping()
        self._thread.join()

    def stopping(self) -> None:
        """Report that the service stops, and stop feeding. Safe in a signal handler, and more than once."""
        if not self._stopped.is_set():
            self._stopped.set()
            self._notifier.tell("STOPPING=1", "STATUS=stopping")

    def _watch(self) -> None:
        watchdog_ns = self._notifier.watchdog_ns
        every_s = STATUS_S if watchdog_ns is None else watchdog_ns / FEEDS_PER_WATCHDOG / 1e9
        every_s = min(STATUS_S, max(SHORTEST_S, every_s))
        while not self._all_gave_one():
            if self._stopped.wait(ASK_S):
                return
        self._notifier.tell("READY=1", f"STATUS={self._status()}")
        log.info("ready: a frame of every camera was processed")
        while not self._stopped.wait(every_s):
            self._feed()

    def _all_gave_one(self) -> bool:
        cameras = self._health()
        return self._progress().processed > 0 and bool(cameras) and all(camera.frames > 0 for camera in cameras)

    def _feed(self) -> None:
        fault = self._pulse.fault(self._health(), self._progress(), time.monotonic_ns())
        if fault is None:
            self._notifier.tell("WATCHDOG=1", f"STATUS={self._status()}")
            self._told = None
            return
        text, camera = fault
        self._notifier.tell(f"STATUS={text}")
        if camera.id != self._told:
            self._told = camera.id
            log.error("%s; the watchdog is not fed", text, extra={"journal": {"PITCORE_CAMERA": camera.planes}})
