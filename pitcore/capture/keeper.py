"""Copies and selects crops in the loop, and writes them to the disk on a thread.

The loop never waits. If the disk is too slow, crops are dropped and counted. Crops are also dropped while the folder
cannot be written; opening it is tried again.
"""

from __future__ import annotations

import datetime as dt
import errno
import hashlib
import logging
import queue
import socket
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from pitcore.camera.crops import MIN_SIDE_PX
from pitcore.capture.choose import Chooser
from pitcore.capture.record import CandidateVerdict, CaptureRecord, Why, encode_record
from pitcore.capture.ring import Ring
from pitcore.config import CaptureConfig
from pitcore.decision.policy import Shape
from pitcore.model_card import Thresholds
from pitcore.preprocess.prepare import WHOLE_PX, Preparer, aligned_batch
from pitcore.sinks.output_state import OutputState, reason_of
from pitcore.verdict import Event, Verdict
from pitcore.wall_clock import utc_now

log = logging.getLogger("pitcore.capture")

RETRY_S = 10.0  # between two attempts to open the folder
LOOK_EVERY_S = 60.0  # interval of removing files that are too old
CLOSE_S = 2.0  # time to write waiting crops when the service stops; the rest is dropped
PLANES = 2


class CropKeeper:
    """Implements ``sink.Sink``, ``sink.ReportsStatus`` and ``pipeline.Keeper``.

    Args:
        config: ``[capture]`` of the configuration, enabled.
        run: the run of the service.

    Attributes:
        chosen: indices of the cherries of the last frame that are kept.
    """

    def __init__(self, config: CaptureConfig, run: str) -> None:
        self._config = config
        self._chooser = Chooser(config)
        self.chosen: frozenset[int] = frozenset()
        self._board, self._run = socket.gethostname(), run
        self._staging = aligned_batch(1, (WHOLE_PX, WHOLE_PX, PLANES), np.uint8)
        self._waiting: queue.Queue[tuple[CaptureRecord, NDArray[np.uint8]] | None] = queue.Queue(config.queue)
        self._kept: Counter[str] = Counter()
        self._dropped = self._passed_over = 0
        self._output_state = OutputState("capture", RETRY_S)
        self._ring: Ring | None = None
        self._tried_s = -RETRY_S
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._write_all, name="pitcore-keep", daemon=True)
        self._thread.start()

    def cut(self, preparer: Preparer, planes: Sequence[NDArray[np.uint8]], asked: NDArray[np.int32]) -> None:
        """Copy the cherries of a frame that the network will judge, while the frame is borrowed.

        Args:
            preparer: the preparer that searched the frame.
            planes: the planes of the frame, (H, W) uint8.
            asked: (N,) indices of the things.
        """
        if len(asked) > len(self._staging):
            self._staging = aligned_batch(len(asked), self._staging.shape[1:], np.uint8)
        preparer.extract_whole(planes, asked, self._staging[: len(asked)])

    def judged(self, verdicts: Sequence[Verdict], shapes: Sequence[Shape], thresholds: Thresholds) -> None:
        """Select from the cherries of the last ``cut``, and queue them for writing.

        Args:
            verdicts: verdict of each cherry, in the order of ``asked``.
            shapes: shape of each cherry, in the same order.
            thresholds: thresholds in force.
        """
        now_s, chosen = time.monotonic(), set[int]()
        for place, (verdict, shape) in enumerate(zip(verdicts, shapes, strict=True)):
            reasons, too_many = self._chooser.why(verdict, shape, thresholds, now_s)
            self._passed_over += too_many
            if not reasons:
                continue
            if self._waiting.full():
                self._dropped += 1
                continue
            chosen.add(place)
            # Copies: the next frame's cherries overwrite these.
            self._put(self._record(verdict, shape, thresholds, reasons), self._staging[place].copy())
        self.chosen = frozenset(chosen)

    def keep_disagreement(
        self,
        verdict: Verdict,
        shape: Shape,
        thresholds: Thresholds,
        pixels: NDArray[np.uint8],
        candidate: CandidateVerdict,
    ) -> None:
        """Keep a cherry on which a candidate disagrees. Callable from any thread.

        Args:
            verdict: verdict of the model that decides.
            shape: shape of the cherry.
            thresholds: thresholds in force.
            pixels: (WHOLE_PX, WHOLE_PX, planes) uint8; not copied.
            candidate: verdict of the candidate.
        """
        record = self._record(verdict, shape, thresholds, ("shadow",))
        self._put(msgspec.structs.replace(record, candidate=candidate), pixels)

    def _put(self, record: CaptureRecord, pixels: NDArray[np.uint8]) -> None:
        """Queue a cherry for writing; if the queue is full, drop and count it."""
        try:
            self._waiting.put_nowait((record, pixels))
        except queue.Full:  # another thread filled it meanwhile
            self._dropped += 1

    def emit(self, records: Sequence[Verdict | Event]) -> None:
        """Do nothing: ``judged`` gets the verdicts with their pixels."""

    def status(self) -> dict[str, Any]:
        """See ``sink.ReportsStatus``. Callable from any thread."""
        ring = self._ring
        return {
            "kind": "capture",
            **self._output_state.status(),
            "path": self._config.folder,
            "random": self._kept["random"],
            "doubtful": self._kept["doubtful"],
            "shadow": self._kept["shadow"],
            "waiting": self._waiting.qsize(),
            "dropped": self._dropped,
            "doubtful_passed_over": self._passed_over,
            "bytes": 0 if ring is None else ring.taken_bytes,
            "max_bytes": self._config.max_bytes,
        }

    def close(self) -> None:
        """Write waiting crops for up to two seconds, and log how many still wait then. Safe to call twice."""
        if self._closing.is_set():
            return
        self._closing.set()
        self._thread.join(CLOSE_S)
        if left := self._waiting.qsize():
            log.warning("[capture] %d crops were not written before the stop, and are lost", left)

    def _record(
        self, verdict: Verdict, shape: Shape, thresholds: Thresholds, reasons: tuple[Why, ...]
    ) -> CaptureRecord:
        return CaptureRecord(
            board=self._board,
            run=self._run,
            at=utc_now(),
            why=reasons,
            random_share=self._config.random_share,
            verdict=msgspec.structs.replace(verdict, latency_us=None),
            accept=thresholds.accept,
            reject=thresholds.reject,
            area_px=shape.area_px,
            elongation=shape.elongation,
            ellipse_fill=shape.ellipse_fill,
            plane_means=shape.plane_means,
            whole=max(verdict.box[2:]) <= WHOLE_PX,
        )

    def _write_all(self) -> None:
        """Write crops until ``close`` was called and none waits."""
        looked_s = 0.0
        while True:
            self._open_if_due()
            try:
                item = self._waiting.get(timeout=0.2)
            except queue.Empty:
                item = None
            if item is None and self._closing.is_set():
                break
            if self._ring is not None and time.monotonic() - looked_s >= LOOK_EVERY_S:
                looked_s = time.monotonic()
                self._try(self._ring.prune)
            if item is not None:
                self._write(*item)
        if self._ring is not None:
            self._ring.close()

    def _open_if_due(self) -> None:
        now_s = time.monotonic()
        if self._ring is not None or now_s - self._tried_s < RETRY_S:
            return
        self._tried_s = now_s
        config = self._config
        try:
            self._ring = Ring(
                Path(config.folder),
                max_bytes=config.max_bytes,
                max_age=dt.timedelta(days=config.max_days),
                free_bytes=config.free_bytes,
            )
        except OSError as error:
            self._fails(error)

    def _write(self, record: CaptureRecord, staged: NDArray[np.uint8]) -> None:
        ring = self._ring
        if ring is None:
            self._dropped += 1
            return
        content = encode_record(record, trimmed(staged))
        kind = "random" if "random" in record.why else "doubtful" if record.candidate is None else "shadow"
        name = f"{kind}-{record.verdict.verdict}-{hashlib.sha256(content).hexdigest()[:12]}"
        if self._try(lambda: ring.add(name, content)):
            self._kept[kind] += 1
            self._output_state.works("crops are kept again")
        else:
            self._dropped += 1

    def _try(self, write: Any) -> bool:  # noqa: ANN401  its result is not used
        """Call a function that writes to the folder; if it fails, return False and open the folder again later."""
        try:
            write()
        except OSError as error:
            self._fails(error)
            if self._ring is not None:
                self._ring.close()
            self._ring, self._tried_s = None, time.monotonic()
            return False
        return True

    def _fails(self, error: OSError) -> None:
        cause = (error.strerror if error.errno in {errno.ENOSPC, errno.EBUSY} else None) or reason_of(error)
        reason = f"{self._config.folder}: no crop is kept: {cause}"
        self._output_state.fails(reason, "Free some space, or choose another [capture] folder.")


def trimmed(staged: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a view of an (S, S, planes) uint8 crop without its zero rim, with sides of at least ``MIN_SIDE_PX``."""
    lit: NDArray[np.bool_] = np.any(staged, axis=2)
    rows, columns = np.flatnonzero(lit.any(axis=1)), np.flatnonzero(lit.any(axis=0))
    return staged[_span(rows, len(staged)), _span(columns, len(staged))]


def _span(lit: NDArray[np.intp], side_px: int) -> slice:
    first, end = (int(lit[0]), int(lit[-1]) + 1) if len(lit) else (0, 0)
    first = max(0, min(first, side_px - MIN_SIDE_PX))
    return slice(first, max(end, first + MIN_SIDE_PX))
