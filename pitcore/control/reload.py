"""Builds a new model beside the running one on a thread, and hands it to the loop between two frames.

The loop keeps judging while the new network is read, checked, loaded, tested on its golden vectors and warmed up. Then
it takes the new stages between two frames, within microseconds, and the thread destroys the old ones. One reload runs
at a time. All requests that arrive meanwhile are served by one more reload. A refused reload changes nothing.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from pitcore.config import Config
from pitcore.errors import ControlError, PitcoreError
from pitcore.loop.app import App, Loaded
from pitcore.metrics import Mark
from pitcore.wall_clock import utc_now

log = logging.getLogger(__name__)

NICENESS = 10  # a tenth of the weight of the loop, if both need one core
TAKEN_WITHIN_S = 30.0  # the loop checks after each frame, and every 0.1 s without one; if it takes longer, it hangs


class StillReloadingError(ControlError):
    """A reload has begun and did not end in time."""


class ReloadResult(msgspec.Struct, frozen=True):
    """The result of the last reload.

    Attributes:
        state: ``refused`` changed nothing.
        by: name of the requester.
        at: when it ended, RFC 3339 in UTC.
        took_s: time from the request to the end.
        detail: the new model and configuration, or the reason of the refusal.
    """

    state: Literal["ok", "refused"]
    by: str
    at: str
    took_s: float
    detail: str


@dataclass(eq=False, slots=True)
class _Request:
    """A request for a reload. One whose client stopped waiting before it began is dropped."""

    by: str
    given_up: bool = False
    begun: bool = False
    asked: float = field(default_factory=time.monotonic)
    answer: queue.SimpleQueue[ReloadResult] = field(default_factory=queue.SimpleQueue)


class Reloader:
    """Serves reloads from ``start`` to ``close``.

    Args:
        app: the service.
        read_config: reads the configuration again; raises ConfigError.
    """

    def __init__(self, app: App, read_config: Callable[[], Config]) -> None:
        self._app, self._read_config = app, read_config
        # SimpleQueue's `put` may be called in a signal handler even if it interrupts itself; no lock could.
        self._requests: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._changed = threading.Condition()
        self._offered: tuple[Loaded, str] | None = None
        self._replaced: Loaded | None = None
        self._refusal: PitcoreError | None = None  # by the loop
        self._closing = False
        self._busy = False
        self._last: ReloadResult | None = None
        self._since = app.metrics.mark()
        self._thread = threading.Thread(target=self._serve, name="pitcore-reload", daemon=True)

    @property
    def last(self) -> ReloadResult | None:
        """Return the result of the last reload; from any thread."""
        return self._last

    @property
    def busy(self) -> bool:
        """Return whether a reload is running; from any thread."""
        return self._busy

    @property
    def since(self) -> Mark:
        """Return the counts at the time when the running model was loaded; from any thread."""
        return self._since

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Refuse waiting requests, and end the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._requests.put(None)
        if self._thread.ident is not None:
            self._thread.join()

    def ask(self, by: str) -> None:
        """Request a reload and return. From any thread or a signal handler."""
        self._requests.put(_Request(by))

    def ask_and_wait(self, by: str, timeout_s: float) -> ReloadResult:
        """Request a reload and wait for its end; not from the loop's thread.

        Raises:
            StillReloadingError: it did not end in time, and may still succeed.
            ControlError: it did not start in time, and was dropped.
        """
        request = _Request(by)
        self._requests.put(request)
        try:
            return request.answer.get(timeout=timeout_s)
        except queue.Empty as error:
            request.given_up = True
            if request.begun:
                raise StillReloadingError(
                    f"the reload did not end within {timeout_s:g} s and may still succeed; see `pitcore status`"
                ) from error
            raise ControlError(f"the reload did not start within {timeout_s:g} s and was dropped; try again") from error

    def between_frames(self) -> None:
        """Take new stages that are ready. The loop calls it after each frame."""
        if self._offered is None:
            return
        with self._changed:
            if self._offered is not None:  # otherwise it was just withdrawn
                (loaded, detail), self._offered = self._offered, None
                self._changed.notify_all()
                try:
                    self._replaced = self._app.take(loaded)
                except PitcoreError as error:  # a camera refuses its exposure: no reason to stop the line
                    self._refusal = error
                    return
                self._since = self._app.metrics.mark()
                self._app.note("reload_ok", detail)

    def _serve(self) -> None:
        ended = False
        while not ended:
            waiting = [self._requests.get()]
            while not self._requests.empty():
                waiting.append(self._requests.get())
            ended = None in waiting
            requests = [request for request in waiting if request is not None and not request.given_up]
            if not requests:
                continue
            for request in requests:
                request.begun = True
            self._busy = True
            self._last = self._execute(", ".join(dict.fromkeys(request.by for request in requests)), requests[0].asked)
            self._busy = False
            for request in requests:
                request.answer.put(self._last)

    def _execute(self, by: str, asked: float) -> ReloadResult:
        state: Literal["ok", "refused"] = "refused"
        try:
            detail = self._reload(by)
            state = "ok"
        except PitcoreError as error:
            detail = f"{error}; asked by {by}"
        except Exception as error:  # a bug must not end the service, which continues with its present model
            log.exception("reload")
            detail = f"a fault of pitcore's: {type(error).__name__}, its log has the traceback; asked by {by}"
        if state == "ok":
            log.info("reloaded: %s", detail)
        else:
            log.error("reload refused, the old configuration stays in use: %s", detail)
            self._app.note("reload_refused", detail)
        return ReloadResult(state, by, utc_now(), round(time.monotonic() - asked, 3), detail)

    def _reload(self, by: str) -> str:
        """Build the new stages, hand them over, and destroy the old ones. Raises PitcoreError."""
        if self._closing:
            raise ControlError("the service stops")
        loaded = self._build(self._read_config())
        detail = f"model {loaded.bundle.label}, configuration {loaded.config.sha256[:12]}; asked by {by}"
        with self._changed:
            self._offered = (loaded, detail)
            ended = self._changed.wait_for(lambda: self._offered is None or self._closing, TAKEN_WITHIN_S)
            if self._offered is not None:
                self._offered = None
                raise ControlError(
                    "the service stops" if ended else f"the loop did not take it within {TAKEN_WITHIN_S:g} s; it hangs"
                )
            refusal, self._refusal = self._refusal, None
            if refusal is not None:
                raise refusal
            self._replaced = None  # here the old network is destroyed, not on the loop's thread
        return detail

    def _build(self, config: Config) -> Loaded:
        """Build the stages of a configuration, with a lower priority than the loop if possible. Raises PitcoreError.

        Workers of a network inherit the priority of the thread that builds them, and a thread cannot raise its own
        priority again. So only a network without workers is built with a low priority, on a thread that ends
        afterwards.
        """
        alone = config.runtime.threads == 1 and config.runtime.workers == 1
        with ThreadPoolExecutor(1, "pitcore-build", initializer=_lower_priority if alone else None) as builder:
            return builder.submit(self._app.prepare, config).result()


def _lower_priority() -> None:
    """Lower the priority of this thread, if that is allowed."""
    with contextlib.suppress(OSError):
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + NICENESS)
