"""Implements the loop: capture -> prepare -> infer -> decide -> emit.

``Pipeline._process`` processes one frame. ``pitcore.loop.app`` builds the stages; this module calls them in order,
measures their times, and makes verdict lines of the judgements.
"""

from __future__ import annotations

import dataclasses
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pitcore.belt.track import BeltTracker, Box
from pitcore.config import Config
from pitcore.decision import policy
from pitcore.decision.policy import Judgement
from pitcore.errors import SegmentationError, SourceError
from pitcore.frame import Frame, Window
from pitcore.inference.session import Session
from pitcore.line_watch import LineWatch, Seen
from pitcore.line_watch.frame_watch import FrameWatch, event_of
from pitcore.loop.capture import Arrival, Capture
from pitcore.loop.searched import Searched, shapes_of
from pitcore.loop.stage_clock import StageClock
from pitcore.metrics import FrameWork, Metrics
from pitcore.model_card import Thresholds
from pitcore.preprocess.crop_writer import CropWriter
from pitcore.preprocess.prepare import Preparer
from pitcore.sinks.sink import BeltSink, Sink, name_of
from pitcore.verdict import CODES, SINGLE, Event, LatencyUs, ModelRef, Reason, Verdict

BOX = ["x", "y", "w", "h"]


@dataclass(frozen=True, slots=True)
class Stages:
    """The stages that the loop calls.

    Attributes:
        belt_sink: the sink of ``sinks`` that acts on the belt, if there is one.
    """

    capture: Capture
    watch: FrameWatch
    window: Window
    line: LineWatch
    preparer: Preparer
    tracker: BeltTracker
    crops: CropWriter
    session: Session
    sinks: Sequence[Sink]
    belt_sink: BeltSink | None = None


@dataclass(frozen=True, slots=True)
class DecisionRules:
    """Rules by which the loop decides.

    Attributes:
        config: configuration of the board.
        thresholds: thresholds of the card, or stricter ones of the board.
        live: True if the source is live; latency then counts from mid-exposure.
        timings: write latencies into the verdicts; without them two replays are byte-equal.
    """

    config: Config
    thresholds: Thresholds
    live: bool
    timings: bool


class Keeper(Protocol):
    """Takes the pixels of some cherries. Its methods never wait."""

    def cut(self, preparer: Preparer, planes: Sequence[NDArray[np.uint8]], asked: NDArray[np.int32]) -> None:
        """Copy the cherries of a searched frame that the network will judge, while the frame is borrowed."""
        ...

    def judged(self, verdicts: Sequence[Verdict], shapes: Sequence[policy.Shape], thresholds: Thresholds) -> None:
        """Take the verdicts and shapes of the cherries of the last ``cut``, in the same order."""
        ...


@dataclass(frozen=True, slots=True)
class Hooks:
    """Functions of a command that the loop calls.

    Attributes:
        observe: called with each searched frame while it is borrowed, before it is judged: for pictures and progress.
        between_frames: called after each frame, and every 0.1 s while none comes. ``replace`` may be called only here.
        keepers: each gets every cherry that the network judges.
    """

    observe: Callable[[Frame], None] | None = None
    between_frames: Callable[[], None] | None = None
    keepers: Sequence[Keeper] = ()


class Pipeline:
    """Processes frames into verdicts until the source ends.

    Args:
        stages: the stages, ready to use.
        rules: thresholds, limits, actions.
        metrics: gets counts and durations of stages.
        hooks: functions of the command.

    Attributes:
        busy_with: what the loop is doing, in words; empty before and after the run. Readable from any thread, so that a
            message can name what hangs.
    """

    def __init__(self, stages: Stages, rules: DecisionRules, metrics: Metrics, hooks: Hooks) -> None:
        self._metrics, self._hooks = metrics, hooks
        self._last: Searched | None = None
        self._notes: deque[tuple[str, str]] = deque()
        self._named_sinks = [(sink, name_of(sink)) for sink in stages.sinks]
        self.busy_with = ""
        self._take(stages, rules)

    def replace(self, stages: Stages, rules: DecisionRules) -> None:
        """Change stages and rules between two frames. The state of tracker and watches is kept."""
        stages.watch.continue_from(self._stages.watch)
        stages.line.continue_from(self._stages.line)
        self._take(dataclasses.replace(stages, tracker=self._stages.tracker), rules)

    def note(self, event: str, detail: str) -> None:
        """Queue an event to be written with the next frame, or soon if none comes. Callable from any thread."""
        self._notes.append((event, detail))

    def _take(self, stages: Stages, rules: DecisionRules) -> None:
        self._stages, self._rules = stages, rules
        card = stages.session.bundle.card
        self._model = ModelRef(card.name, card.version, stages.session.bundle.sha256)
        self._config_sha256 = rules.config.sha256

    def run(self) -> None:
        """Process every frame; at the end report things that never came completely into view.

        Raises:
            SourceError: the source failed, or a camera is frozen.
            SinkError: at the end, if lines could not be written.
            HungError: the source hangs when it is closed, and there was no other error.
        """
        with ExitStack() as closing:
            closing.push(self._stages.capture)
            for sink, name in reversed(self._named_sinks):  # ExitStack reverses: the valves are closed first
                closing.callback(self._close, sink, name)
            asked_ns = time.monotonic_ns()
            for arrival in self._stages.capture.frames(self._idle):
                self.busy_with = "judging a frame"
                self._process(arrival, asked_ns)
                del arrival  # views that outlive the loop would prevent the cameras from freeing their buffers
                self._end_if_frozen()
                self._between_frames()
                asked_ns = time.monotonic_ns()
                self.busy_with = "waiting for a frame"
            self._finish()

    def _close(self, sink: Sink, name: str) -> None:
        self.busy_with = f"closing {name}"
        sink.close()
        self.busy_with = ""

    def _between_frames(self) -> None:
        self.busy_with = "what is done between two frames"
        if self._hooks.between_frames is not None:
            self._hooks.between_frames()

    def _idle(self) -> None:
        """Run the work between two frames while no frame comes, for example because the belt is stopped."""
        self._between_frames()
        self._emit_notes()

    def _process(self, arrival: Arrival, asked_ns: int) -> None:
        """Process one frame."""
        stages = self._stages
        frame = stages.window.of(arrival.frame)
        clock = StageClock(frame.t_ns if self._rules.live else asked_ns)
        clock.mark("capture")
        with frame:
            self._metrics.count("frames")
            stages.line.look_at_strips(arrival.frame)
            events, things = self._find(arrival, frame)
            if things is None:
                stages.tracker.not_searched(frame.tick)
                self._emit([*events, *stages.line.unfit(frame, events[-1])], [])  # the last event has the reason
                return
            clock.mark("search")
            if stages.line.is_on("encoder_dead"):
                stages.tracker.forget()  # things cannot be matched without an encoder, so all are judged
            seen = Seen(things[BOX].tolist(), things["border"].tolist())
            chosen = stages.tracker.update(frame.tick, seen.boxes, seen.border)
            stages.line.look(frame, stages.preparer, seen, chosen)
            clock.mark("track")
            at = Searched.of(frame, chosen, self._rules.config.runtime.max_cherries)
            indices = np.asarray(at.asked, dtype=np.int32)
            stages.crops.write(frame.planes, indices, stages.session.batch)
            for keeper in self._hooks.keepers:
                keeper.cut(stages.preparer, frame.planes, indices)
            if self._hooks.observe is not None:
                self._hooks.observe(arrival.frame)
        clock.mark("extract")
        shapes = shapes_of(things, len(frame.planes), at.asked)
        doubts = self._doubts(at, shapes)
        stages.line.look_at_cherries(stages.crops.written(stages.session.batch, len(at.asked)), doubts)
        clock.mark("decide")
        logits = stages.session.run(len(at.asked))
        clock.mark("infer")
        judged = self._judge(at, doubts, logits)
        of_asked = [judged[index] for index in at.asked]
        events += self._events_of(frame, at, of_asked)
        events += stages.line.judge(frame, list(zip(shapes, of_asked, strict=True)))
        unseen = [(box, policy.judge_unseen("unseen")) for box in chosen.unseen]
        decided = unseen + [(chosen.box_of(index, seen.boxes), judged[index]) for index in sorted(judged)]
        clock.mark("decide")
        self._last = at
        verdicts = self._verdicts(at, decided, clock.latency(total_from_start=self._rules.live))
        self._emit(events, verdicts)
        if stages.belt_sink is not None and stages.line.failsafe != "reject":
            # With fail-safe "reject" the belt counts as not judged, because without light cherries are missed.
            stages.belt_sink.judged(frame.tick, frame.t_ns, chosen.waiting_px)
        if self._hooks.keepers:
            self._tell_keepers(at, dict(zip(sorted(judged), verdicts[len(unseen) :], strict=True)), shapes)
        self._count_network(of_asked)
        self._metrics.count("judged")  # the watchdog relies on this counter
        clock.mark("emit")
        self._count(at, clock)

    def _tell_keepers(self, at: Searched, verdicts: dict[int, Verdict], shapes: Sequence[policy.Shape]) -> None:
        """Pass on the verdicts, by the index of the thing, and the shapes of what the network judged."""
        of_asked = [verdicts[index] for index in at.asked]
        for keeper in self._hooks.keepers:
            keeper.judged(of_asked, shapes, self._rules.thresholds)

    def _find(self, arrival: Arrival, frame: Frame) -> tuple[list[Event], NDArray[np.void] | None]:
        """Search a frame. Return events and things; None if it cannot be searched, and the last event says why."""
        watch, preparer = self._stages.watch, self._stages.preparer
        events, is_new = watch.check_arrival(arrival.frame, arrival.dropped)
        events = [*self._noted(frame.seq, frame.tick), *events]
        if not is_new:
            return events, None
        fault = watch.check_picture(frame)
        if fault is None:
            try:
                things = preparer.segment(frame.planes)
            except SegmentationError as error:
                fault = event_of(frame, "frame_unreadable", str(error))
            else:
                fault = watch.check_things(frame, things, preparer.foreground_px)
        if fault is not None:
            return [*events, fault], None
        self._metrics.count("specks", by=preparer.specks)
        return events, things

    def _end_if_frozen(self) -> None:
        """Raise SourceError if a camera of a live source is frozen for as long as the capture time-out."""
        if not self._rules.live or self._stages.watch.frozen is None:
            return
        plane, for_s = self._stages.watch.frozen
        if for_s >= self._rules.config.runtime.capture_timeout_s:
            camera = next(one for one in self._stages.capture.health() if plane in one.planes)
            raise SourceError(
                f"camera {' + '.join(camera.planes)} ({camera.id}) sent one and the same picture for {for_s:.2g} s: it "
                "hangs; the service has to restart"
            )

    def _doubts(self, at: Searched, shapes: Sequence[policy.Shape]) -> list[Reason | None]:
        """Return the doubt about the shape of each thing that the network judges; None if there is none."""
        cut, limits = frozenset(at.chosen.cut), self._rules.config.decision
        return [
            "cut" if index in cut else policy.shape_reason(shape, limits)
            for index, shape in zip(at.asked, shapes, strict=True)
        ]

    def _judge(
        self, at: Searched, doubts: Sequence[Reason | None], logits: NDArray[np.float32]
    ) -> dict[int, Judgement]:
        """Judge the selected things of a frame. Return judgements by the index of the thing."""
        card = self._stages.session.bundle.card
        judged: dict[int, Judgement] = dict.fromkeys(at.chosen.side, policy.SIDE)
        judged |= dict.fromkeys(at.beyond, policy.judge_unseen("overload"))
        for index, doubt, row in zip(at.asked, doubts, logits.tolist(), strict=True):
            shares = policy.probabilities(row, card.labels, card.calibration)
            judged[index] = policy.judge(shares, doubt, self._rules.thresholds)
        return judged

    def _verdicts(
        self, at: Searched, judged: Sequence[tuple[Box, Judgement]], latency: LatencyUs | None
    ) -> list[Verdict]:
        """Make verdict lines of the judgements of a frame."""
        left, top = self._stages.window.origin  # boxes in verdicts are in pixels of the whole first plane
        failsafe = self._stages.line.failsafe
        judged = [(box, policy.fail_safe(judgement, failsafe)) for box, judgement in judged]
        return [
            Verdict(
                schema="pitcore.verdict/1",
                frame=at.ref,
                tick=at.tick,
                box=(box[0] + left, box[1] + top, box[2], box[3]),
                verdict=judgement.verdict,
                code=CODES[judgement.verdict],
                reason=judgement.reason,
                probabilities=judgement.probabilities,
                model=self._model,
                config=self._config_sha256,
                latency_us=latency if self._rules.timings else None,
                action=policy.action_of(judgement.verdict, self._rules.config.actions, failsafe),
            )
            for box, judgement in judged
        ]

    def _events_of(self, frame: Frame, at: Searched, judged: Sequence[Judgement]) -> list[Event]:
        """Return the events of a searched frame that a technician should know."""
        events = []
        unknown = sum(judgement.probabilities is None for judgement in judged)  # by the network
        if unknown:
            detail = f"the network gave NaN or infinity for {unknown} cherries, they are `maybe`; replace the model"
            events.append(event_of(frame, "logits_not_finite", detail, unknown))
        if at.chosen.gap_px:
            detail = f"{at.chosen.gap_px} px of belt passed between two frames; nothing on them was judged"
            events.append(event_of(frame, "belt_gap", detail))
        if at.beyond:
            most = len(at.asked)
            detail = f"{len(at.beyond)} cherries beyond [runtime] max_cherries = {most} are `maybe` and were not judged"
            events.append(event_of(frame, "overload", detail, len(at.beyond)))
        return events

    def _noted(self, seq: int, tick: int) -> list[Event]:
        """Return the events that other threads and the belt sink noted since the last frame."""
        notes = [(*self._notes.popleft(), 1) for _ in range(len(self._notes))]
        if self._stages.belt_sink is not None:
            notes += [(note.event, note.detail, note.count) for note in self._stages.belt_sink.notices()]
        return [Event("pitcore.event/1", seq, tick, *note) for note in notes]

    def _finish(self) -> None:
        """Report the things that were still entering the frame as `unseen`, at the end of the run."""
        self._emit_notes()
        left = self._stages.tracker.finish()
        if left.unseen and self._last is not None:
            judged = [(box, policy.judge_unseen("unseen")) for box in left.unseen]
            self._emit([], self._verdicts(self._last, judged, None))

    def _emit_notes(self) -> None:
        """Write the events noted since the last frame, with its number and tick."""
        events = self._noted(0, 0) if self._last is None else self._noted(self._last.ref.seq, self._last.tick)
        if events:
            self._emit(events, [])

    def _emit(self, events: Sequence[Event], verdicts: Sequence[Verdict]) -> None:
        """Give the records of a frame to every sink, the valves first, and then count them."""
        before = self.busy_with
        records: list[Verdict | Event] = [*events, *verdicts]
        for sink, sink_name in self._named_sinks:
            self.busy_with = sink_name
            sink.emit(records)
        self.busy_with = before
        for event in events:
            self._metrics.count("events", event.event, event.count)
            self._metrics.count("event_lines", event.event)
        for name, number in Counter(verdict.verdict for verdict in verdicts).items():
            self._metrics.count("verdicts", name, number)
        for reason, number in Counter(verdict.reason for verdict in verdicts if verdict.reason).items():
            self._metrics.count("reasons", reason, number)

    def _count_network(self, judged: Iterable[Judgement]) -> None:
        """Count the network's verdicts before a fail-safe. A model on trial is compared by them."""
        own: Counter[str] = Counter(one.verdict for one in judged if one.reason in SINGLE)
        for verdict, number in own.items():
            self._metrics.count("network", verdict, number)
        self._metrics.network.add(own)

    def _count(self, at: Searched, clock: StageClock) -> None:
        for stage, duration_ns in clock.durations_ns.items():
            self._metrics.stages[stage].add(duration_ns)
        self._metrics.stages["prepare"].add(clock.prepare_ns)
        self._metrics.stages["total"].add(clock.total_ns(from_start=self._rules.live))
        durations, asked = clock.durations_ns, len(at.asked)
        others_ns = clock.total_ns(from_start=False) - durations["infer"]
        self._metrics.work.add(
            FrameWork(clock.last_ns, at.ref.seq, asked + len(at.beyond), asked, durations["infer"], others_ns)
        )
        self._metrics.count("things_known", by=at.chosen.known)
        self._metrics.count("crops", by=asked)
