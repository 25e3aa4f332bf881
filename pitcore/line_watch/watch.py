"""Runs the checks on every frame and keeps the alarms that are on.

A frame costs about 0.1 ms: two of its cherries are examined. In every other frame a row of each plane is summed; in the
frames between them the verdicts are evaluated. Slow changes are checked only every few frames.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pitcore.belt.track import Box, Selection
from pitcore.config import AlarmName, Config, FailSafe, failsafe_of
from pitcore.frame import Frame
from pitcore.line_watch.alarm import Alarm, Latch, detail_of, finding_of
from pitcore.line_watch.drift import DriftCheck, Item
from pitcore.line_watch.drift_memory import DriftMemory
from pitcore.line_watch.frame_watch import event_of
from pitcore.line_watch.identity import IdentityCheck
from pitcore.line_watch.judging import JudgingCheck
from pitcore.line_watch.lens import LensCheck
from pitcore.line_watch.light import LightCheck
from pitcore.line_watch.motion import MotionCheck
from pitcore.line_watch.planes import PlanesCheck
from pitcore.line_watch.reference import ReferenceCheck
from pitcore.line_watch.stream import StreamCheck
from pitcore.preprocess.prepare import Preparer
from pitcore.verdict import CLEARED, SINGLE, Event, Reason
from pitcore.wall_clock import utc_now

SELDOM = 4  # interval in frames at which planes are compared and slow changes are checked
STRENGTH: tuple[FailSafe, ...] = ("alarm", "maybe", "reject")
DRIFTS: frozenset[AlarmName] = frozenset({"drift", "unlike_card"})


@dataclass(frozen=True, slots=True)
class Seen:
    """The result of the search in a frame.

    Attributes:
        boxes: boxes of all things.
        border: flags for each thing of the frame's edges that cut it.
    """

    boxes: Sequence[Box]
    border: Sequence[int]


@dataclass(frozen=True, slots=True)
class _Check:
    """One alarm's check.

    Attributes:
        ask: returns True for bad, False for good, None for neither.
        describe: returns what was found, and what to do.
        latch: decides how many findings in a row turn the alarm on and off.
    """

    ask: Callable[[], bool | None]
    describe: Callable[[], str]
    latch: Latch


class LineWatch:
    """Implements the alarms of docs/faults.md. Other threads may read only ``alarms``.

    Args:
        config: configuration of the board.
        shape: (H, W) of the planes that are searched.
        drift: the drift check of the model.
        memory: stores the state of the drift check; None stores nothing.

    Attributes:
        drift: the drift check.
    """

    def __init__(
        self, config: Config, shape: tuple[int, int], drift: DriftCheck, memory: DriftMemory | None = None
    ) -> None:
        self.drift, self._memory = drift, memory
        self._config, rules = config, config.line
        judging = self._judging = JudgingCheck()
        light = self._light = LightCheck(config)
        reference = self._reference = ReferenceCheck(config)
        lens = self._lens = LensCheck(config, shape)
        planes = self._planes = PlanesCheck(rules.misaligned_px)
        identity = self._identity = IdentityCheck(config.frame.planes)
        stream = self._stream = StreamCheck(rules.foreign_share)
        motion = self._motion = MotionCheck(
            shape[0], config.px_per_tick, config.belt.tolerance_px, rules.nothing_seen_s
        )
        self._holds = config.source.belt == "real"  # planes of an emulated or recorded belt are not held back
        self._off_by: tuple[bool | None, bool | None] = (None, None)  # results for belt and strip
        self._stuck = False  # True if the current frame repeats the last picture
        self._stuck_plane: str | None = None  # None: all planes
        # Missing light and a dead encoder are detected within four frames, a fifth of a second.
        self._often: dict[AlarmName, _Check] = {
            "not_judging": _Check(judging.not_judging, judging.describe, Latch(1, 1)),
            "planes_swapped": _Check(identity.swapped, identity.describe, Latch(1, 1)),
            "reference_strip": _Check(reference.changed, reference.describe, Latch(3, 3)),
            "camera_frozen": _Check(self._frozen, self._describe_frozen, Latch(2, 2)),
            "encoder_dead": _Check(motion.encoder_dead, motion.describe_dead, Latch(3, 3)),
            "belt_reversing": _Check(motion.reversing, motion.describe_reversing, Latch(1, 1)),
            "encoder_mismatch": _Check(motion.mismatch, motion.describe_mismatch, Latch(2, 1)),
        }
        # Run only in frames whose rows were measured. The lens check's levels come from many measurements, so one
        # finding is enough; it finds no dirt only when the levels are normal.
        self._by_rows: dict[AlarmName, _Check] = {
            "light_off": _Check(self._light_off, self._describe_light_off, Latch(2, 2)),
            "lens_dirty": _Check(lens.dirty, lens.describe, Latch(1, 1)),
        }
        self._seldom: dict[AlarmName, _Check] = {
            "light_dim": _Check(light.dim, light.describe, Latch(4, 4)),
            "light_bright": _Check(light.bright, light.describe, Latch(4, 4)),
            "planes_misaligned": _Check(planes.misaligned, planes.describe, Latch(4, 4)),
            "nothing_seen": _Check(motion.nothing_seen, motion.describe_nothing, Latch(1, 1)),
            "only_foreign": _Check(stream.only_foreign, stream.describe, Latch(1, 1)),
            "drift": _Check(drift.drifted, drift.describe, Latch(1, 1)),
        }
        if drift.card is not None and self._holds:  # an emulated belt does not resemble the card's cherries
            self._seldom["unlike_card"] = _Check(drift.card.unlike, drift.card.describe, Latch(1, 1))
        self._frames = 0
        self._alarms: dict[AlarmName, Alarm] = {}

    def continue_from(self, before: LineWatch) -> None:
        """Take over the alarms that are on, after a reload. Measurements start again.

        Alarms that compare with a calibration are dropped if there is none any more. The new configuration determines
        the fail-safe of each alarm.
        """
        self._identity.continue_from(before._identity)
        gone = set() if self._light.is_calibrated else {"light_dim", "light_bright"}
        gone |= set() if self._reference.is_watched else {"reference_strip"}
        if not self.drift.continue_from(before.drift):
            gone |= {"drift", "unlike_card"}
        self._alarms = {name: self._as_configured(alarm) for name, alarm in before._alarms.items() if name not in gone}
        for name, check in (self._often | self._by_rows | self._seldom).items():
            check.latch.on = name in self._alarms

    @property
    def alarms(self) -> tuple[Alarm, ...]:
        """The alarms that are on now. Callable from any thread."""
        return tuple(self._alarms.values())

    @property
    def failsafe(self) -> FailSafe:
        """What happens to verdicts now: the strictest fail-safe of all alarms that are on.

        None of a camera's first cherries is clean, until they show that the planes are not exchanged.
        """
        first: FailSafe = "maybe" if self._holds and self._identity.is_open else "alarm"
        return max((first, *(alarm.failsafe for alarm in self._alarms.values())), key=STRENGTH.index)

    def is_on(self, name: AlarmName) -> bool:
        """Return True if an alarm is on."""
        return name in self._alarms

    def look_at_strips(self, frame: Frame) -> None:
        """Measure the reference strips of a frame as the source gave it, before any other processing."""
        self._reference.look(frame)

    def look(self, frame: Frame, preparer: Preparer, seen: Seen, chosen: Selection) -> None:
        """Examine a searched frame while it is borrowed.

        Args:
            frame: the frame, cut to the window that both planes show.
            preparer: the preparer that searched it.
            seen: the result of the search.
            chosen: the tracker's selection.
        """
        self._frames += 1
        self._judging.add("belt_gap" if chosen.gap_px else None)
        self._motion.add(frame.t_ns, frame.tick, seen.boxes, chosen)
        if self._frames % 2:
            self._light.add_belt(self._lens.look(frame.planes, preparer, moved=self._motion.moved))
        if self._frames % SELDOM == 0 and len(frame.planes) == 2:
            self._planes.add(frame.planes, preparer, seen.border)

    def look_at_cherries(self, crops: NDArray[np.uint8], doubts: Sequence[Reason | None]) -> None:
        """Examine some crops of a frame, before the network judged them.

        Args:
            crops: (N, S, S, P) uint8 crops of the things that the network judges.
            doubts: why each of them may not be one whole cherry; None if it is one.
        """
        single = [at for at, doubt in enumerate(doubts) if doubt is None]
        self._identity.add([crops[at] for at in single[: self._identity.looks]])

    def judge(self, frame: Frame, judged: Sequence[Item]) -> list[Event]:
        """Evaluate the judgements of a frame.

        Args:
            frame: the same frame; its planes are not read.
            judged: shape and judgement of each thing that the network judged.

        Returns:
            Events of the alarms that came on or went off.
        """
        if judged and self._frames % 2 == 0:  # half of the frames are enough
            self._stream.add([judgement.reason for _, judgement in judged])
            if self._stream.tells_light:
                single = [shape for shape, judgement in judged if judgement.reason in SINGLE]
                self._light.add_cherries([shape.plane_means for shape in single])
        self.drift.add(judged, trusted=not self._alarms.keys() - DRIFTS)
        events = self._run(frame, self._often)
        if self._frames % 2:
            events += self._run(frame, self._by_rows)
        if self.is_on("light_off"):  # without light, measurements of light and of verdicts are worthless
            self._light.forget()
            self._stream.forget()
        if self._frames % SELDOM == 0:
            events += self._run(frame, self._seldom)
            if self._memory is not None:
                self._memory.save_seldom(self.drift.state)
        return events

    def unfit(self, frame: Frame, fault: Event) -> list[Event]:
        """Take a frame that was not judged, with the event that says why. Return events of changed alarms."""
        self._judging.add(fault.event)
        checks: tuple[AlarmName, ...] = ("not_judging", "reference_strip")
        return self._run(frame, {name: self._often[name] for name in checks}) + self._own_fault(frame, fault)

    def _own_fault(self, frame: Frame, fault: Event) -> list[Event]:
        if fault.event == "frame_black":
            self._light.set_black()
            return self._run(frame, {"light_off": self._by_rows["light_off"]})
        if fault.event == "frame_stuck":
            self._stuck, self._stuck_plane = True, fault.camera
            return self._run(frame, {"camera_frozen": self._often["camera_frozen"]})
        return []

    def _light_off(self) -> bool | None:
        """Check the light by the belt, and by the reference strips in planes whose belt is too dark."""
        self._off_by = (self._light.off(), self._reference.off())
        return True if True in self._off_by else None if self._off_by == (None, None) else False

    def _describe_light_off(self) -> str:
        return self._light.describe() if self._off_by[0] else self._reference.describe_off()

    def _frozen(self) -> bool:
        stuck, self._stuck = self._stuck, False
        return stuck

    def _describe_frozen(self) -> str:
        where = "all planes" if self._stuck_plane is None else f"plane {self._stuck_plane}"
        return f"{where}: the camera repeats the same picture, it hangs; check its cable and supply"

    def _run(self, frame: Frame, checks: dict[AlarmName, _Check]) -> list[Event]:
        events = []
        for name, check in checks.items():
            bad = check.ask()
            if bad is None or (not bad and check.latch.is_idle):
                continue
            change = check.latch.update(bad=bad)
            if change is not None:
                events.append(
                    self._raised(frame, name, check.describe()) if change == "raised" else self._cleared(frame, name)
                )
        return events

    def _raised(self, frame: Frame, name: AlarmName, detail: str) -> Event:
        failsafe = failsafe_of(self._config, name)
        text = detail_of(detail, failsafe)
        self._alarms = {**self._alarms, name: Alarm(name, text, utc_now(), frame.seq, frame.t_ns, failsafe)}
        return event_of(frame, name, text)

    def _as_configured(self, alarm: Alarm) -> Alarm:
        failsafe = failsafe_of(self._config, alarm.name)
        finding = finding_of(alarm.detail, alarm.failsafe)
        return replace(alarm, failsafe=failsafe, detail=detail_of(finding, failsafe))

    def _cleared(self, frame: Frame, name: AlarmName) -> Event:
        lasted_s = (frame.t_ns - self._alarms[name].since_ns) / 1e9
        self._alarms = {key: alarm for key, alarm in self._alarms.items() if key != name}
        return event_of(frame, f"{name}{CLEARED}", f"{name} is off, it was on for {lasted_s:.1f} s")
