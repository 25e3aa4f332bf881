"""Implements the service's side of the candidate: sends it frames, compares its verdicts, and counts.

The loop only copies the cherries of a frame into shared memory, and only if the candidate is idle; the thread
``pitcore-shadow`` does the rest. The candidate has one frame at a time, so a slow candidate judges fewer frames and no
queue grows. The candidate's verdicts go to no verdict line, valve or other output.
"""

from __future__ import annotations

import logging
import queue
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from pitcore.capture.choose import Credit
from pitcore.capture.keeper import CropKeeper
from pitcore.capture.record import CandidateVerdict
from pitcore.config import Config
from pitcore.control.commands import Commands
from pitcore.decision.policy import Shape, judge
from pitcore.loop.headroom import headroom_of
from pitcore.metrics import Mark, Metrics
from pitcore.model_card import Thresholds
from pitcore.preprocess.prepare import Preparer
from pitcore.shadow.messages import MAX_MESSAGE_BYTES, Answer, Ask, CropMemory, Ready, Refused, Start
from pitcore.sinks.child_output import Child, ChildOutput
from pitcore.verdict import Event, ModelRef, Reason, Verdict, VerdictName

log = logging.getLogger("pitcore.shadow")

RETRY_S = 60.0  # time between two starts of the process
LOOK_EVERY_S = 1.0  # interval of checking the headroom of the loop
SILENT_S = 300.0  # limit for the start and for one frame; it may wait long for a free core
SHAPES: frozenset[Reason] = frozenset({"touching", "foreign", "cut"})  # reasons of the shape, not of a network
IDLE = True  # tests set it to False, because their machine may have no free core
FromCandidate = Ready | Answer | Refused


@dataclass(frozen=True, slots=True)
class _Work:
    """A frame whose crops are in the shared memory; ``kept`` has the indices of crops that [capture] already keeps."""

    verdicts: Sequence[Verdict]
    shapes: Sequence[Shape]
    thresholds: Thresholds
    kept: frozenset[int]


class Shadow(ChildOutput):
    """Implements ``sink.Sink``, ``sink.ReportsStatus``, ``pipeline.Keeper`` and ``opening.Publisher``.

    Args:
        config: of the board, with [shadow] enabled.
        keeper: keeps cherries on which the two models disagree; None if the board keeps none.
        metrics: of the run. ``shadow`` counts cherries by "LIVE_CANDIDATE", for example ``maybe_clean``.
    """

    def __init__(self, config: Config, keeper: CropKeeper | None, metrics: Metrics) -> None:
        shadow, planes = config.shadow, config.frame.planes
        self._config, self._keeper, self._metrics = shadow, keeper, metrics
        self._start = Start(str(shadow.bundle), planes, config.runtime.max_cherries)
        size = CropMemory.size(self._start.capacity, len(planes))
        # It is killed at once: it has no data to save, and may wait long for a core to end by itself.
        process = "pitcore.shadow.candidate_process"
        child = Child("shadow", process, size, RETRY_S, end_s=0.0, silent_s=SILENT_S, idle=IDLE)
        super().__init__(child)
        self._crops: NDArray[np.uint8] | None = None  # set before the candidate is ready
        self._credit = Credit(shadow.kept_per_minute)
        self._due, self._copied = 0.0, 0
        self._works = False  # the candidate is ready and not paused
        self._holds = False  # the candidate judges the crops in the shared memory
        self._orders: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._commands: Commands | None = None
        self._candidate: ModelRef | None = None
        self._judges = ""  # hash of the live model with which it is compared
        self._since: Mark = metrics.mark()
        self._paused = False
        self._looked_s = 0.0

    def publish(self, commands: Commands) -> None:
        """See ``opening.Publisher``."""
        self._commands = commands
        self.start_thread()

    def cut(self, preparer: Preparer, planes: Sequence[NDArray[np.uint8]], asked: NDArray[np.int32]) -> None:
        """Copy the cherries of a frame if it is selected and the candidate is idle. The frame is still borrowed."""
        self._copied = 0
        if not len(asked):
            return
        self._due = min(1.0, self._due + self._config.share)
        if self._due < 1.0 - 1e-9:  # ten times 0.1 are less than 1
            return
        self._due -= 1.0
        if self._crops is None or not self._works or self._holds or len(asked) > len(self._crops):
            self._metrics.count("shadow_frames", "passed_over")
            return
        preparer.extract_whole(planes, asked, self._crops[: len(asked)])
        self._copied = len(asked)

    def judged(self, verdicts: Sequence[Verdict], shapes: Sequence[Shape], thresholds: Thresholds) -> None:
        """Give the cherries that were copied last to the candidate."""
        if not self._copied:
            return
        self._copied, self._holds = 0, True
        kept = frozenset() if self._keeper is None else self._keeper.chosen
        self._orders.put(_Work(verdicts, shapes, thresholds, kept))

    def emit(self, records: Sequence[Verdict | Event]) -> None:
        """Do nothing: ``judged`` gets the verdicts."""

    def status(self) -> dict[str, Any]:
        """See ``sink.ReportsStatus``; from any thread. Counts are since the live model was loaded."""
        candidate = self._candidate
        status = {"kind": "shadow", **self._output_state.status(), "path": self._config.bundle}
        if candidate is not None:
            status |= {"candidate": f"{candidate.name}@{candidate.version} ({candidate.sha256[:12]})"}
        pairs = self._metrics.labels("shadow", self._since)
        frames = self._metrics.labels("shadow_frames", self._since)
        differ = {pair: count for pair, count in pairs.items() if len(set(pair.split("_"))) > 1}
        return status | {
            "paused": self._paused,
            "frames": frames.get("judged", 0),
            "passed_over": frames.get("passed_over", 0),
            "cherries": sum(pairs.values()),
            "disagree": sum(differ.values()),
            **{pair.replace("_", "_to_"): count for pair, count in differ.items()},
        }

    def wake(self) -> None:
        """See ``ChildOutput``."""
        self._orders.put(None)

    def map_memory(self, fd: int) -> None:
        """See ``ChildOutput``."""
        self._crops = CropMemory(fd, self._start.capacity, len(self._start.planes)).crops

    def serve(self, connection: socket.socket) -> None:
        """See ``ChildOutput``."""
        try:
            self._serve(connection)
        finally:
            self._works, self._candidate = False, None

    def _serve(self, connection: socket.socket) -> None:
        """Send frames until either side ends. Raises OSError."""
        connection.send(msgspec.msgpack.encode(self._start))
        ready = self._receive(connection)
        if not isinstance(ready, Ready):
            return
        self._candidate = ModelRef(ready.name, ready.version, ready.sha256)
        self._works_again("the candidate judges again")
        log.info("[shadow] %s@%s judges frames in addition to the live model", ready.name, ready.version)
        while not self._closing.is_set():
            self._paused = self._must_pause()
            self._works = not self._paused
            try:
                work = self._orders.get(timeout=LOOK_EVERY_S)
            except queue.Empty:
                if self._process is None or self._process.poll() is not None:
                    raise ConnectionResetError from None
                continue
            if work is None:
                return
            try:
                if not self._ask(connection, work, self._candidate):
                    return
            finally:
                self._holds = False

    def _ask(self, connection: socket.socket, work: _Work, candidate: ModelRef) -> bool:
        """Let the candidate judge a frame, and compare; return False without an answer. Raises OSError."""
        assert self._commands is not None  # noqa: S101  set before the thread starts
        ask = Ask(len(work.verdicts), self._commands.app.config.decision)
        connection.send(msgspec.msgpack.encode(ask))
        answer = self._receive(connection)
        if isinstance(answer, Answer):
            self._compare(work, answer, candidate)
        return isinstance(answer, Answer)

    def _receive(self, connection: socket.socket) -> FromCandidate | None:
        """Return the next message of the process; None if it refused, hangs, or the service ends. Raises OSError."""
        connection.settimeout(0.2)
        self._heard()
        while not self._closing.is_set():
            try:
                raw = connection.recv(MAX_MESSAGE_BYTES)
            except TimeoutError:
                if self._hangs():
                    return None
                continue
            if not raw:
                raise ConnectionResetError
            message: FromCandidate = msgspec.msgpack.decode(raw, type=FromCandidate)
            if isinstance(message, Refused):
                self._fails(message.reason, "Correct [shadow] bundle.")
                return None
            return message
        return None

    def _must_pause(self) -> bool:
        """Return whether the loop needs more of the frame time than allowed; checked once a second."""
        now_s = time.monotonic()
        if now_s - self._looked_s < LOOK_EVERY_S:
            return self._paused
        self._looked_s = now_s
        headroom = headroom_of(self._metrics.work, time.monotonic_ns())
        return headroom is not None and headroom.used > self._config.busy_limit

    def _compare(self, work: _Work, answer: Answer, candidate: ModelRef) -> None:
        """Count the verdicts of both models for each cherry, and keep cherries on which they disagree."""
        model = work.verdicts[0].model.sha256
        if model != self._judges:  # another live model: counts start again
            self._judges, self._since = model, self._metrics.mark()
        self._metrics.count("shadow_frames", "judged")
        thresholds = Thresholds(accept=answer.accept, reject=answer.reject)
        for place, (verdict, p_pit) in enumerate(zip(work.verdicts, answer.p_pit, strict=True)):
            if p_pit is None:
                continue
            live = network_verdict(verdict, work.thresholds)
            other = judge({"pit": p_pit}, _doubt(verdict), thresholds).verdict
            self._metrics.count("shadow", f"{live}_{other}")
            if live == other or self._keeper is None or place in work.kept or not self._credit.take(time.monotonic()):
                continue
            theirs = CandidateVerdict(candidate, other, p_pit, answer.accept, answer.reject)
            assert self._crops is not None  # noqa: S101  mapped before the process starts
            pixels = self._crops[place].copy()  # the next frame overwrites it
            self._keeper.keep_disagreement(verdict, work.shapes[place], work.thresholds, pixels, theirs)


def network_verdict(verdict: Verdict, thresholds: Thresholds) -> VerdictName:
    """Return the verdict without fail-safe: from the network's probability and the shape."""
    if verdict.probabilities is None:
        return "maybe"
    return judge(verdict.probabilities, _doubt(verdict), thresholds).verdict


def _doubt(verdict: Verdict) -> Reason | None:
    return verdict.reason if verdict.reason in SHAPES else None
