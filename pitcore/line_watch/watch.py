"""Runs the checks on every frame and keeps the alarms that are on.

A frame costs about a tenth of a millisecond: two of its cherries are looked at. Of every other frame a row of each
plane is summed, of those between the verdicts are looked at, and what changes slowly is asked every few frames only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pitcore.belt.track import Box, Selection
from pitcore.config import AlarmName, Config, FailSafe, failsafe_of
from pitcore.config.safety import CAMERAS
from pitcore.frame import Frame
from pitcore.line_watch.alarm import Alarm, Latch
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
from pitcore.verdict import CLEARED, SINGLE, Event
from pitcore.wall_clock import utc_now

SELDOM = 4  # frames, after which planes are compared and what changes slowly is asked
STRENGTH: tuple[FailSafe, ...] = ("alarm", "maybe", "reject")
DRIFTS: frozenset[AlarmName] = frozenset({"drift", "unlike_card"})
CONSEQUENCES: dict[FailSafe, str] = {
    "alarm": "verdicts are unchanged",
    "maybe": "until it is off, nothing is clean",
    "reject": "until it is off, everything is rejected",
}


@dataclass(frozen=True, slots=True)
class Seen:
    """What the search found in a frame.

    Attributes:
        boxes: of all things.
        border: their flags of the frame's edges.
    """

    boxes: Sequence[Box]
    border: Sequence[int]


@dataclass(frozen=True, slots=True)
class _Check:
    """How one alarm is found: bad, good or nothing to say; what to tell; and how many findings in a row it takes."""

    ask: Callable[[], bool | None]
    tell: Callable[[], str]
    latch: Latch


class LineWatch:
    """Implements the alarms of docs/faults.md. One for a run; one thread, but for ``alarms``.

    Args:
        config: of the board.
        shape: (H, W) of the planes as they are searched.
        drift: of the model.
        memory: where what it learns is kept; None where nothing is.

    Attributes:
        drift: the same.
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
        self._holds = isinstance(config.source, CAMERAS)  # the planes of a drawn or recorded belt are what they are
        self._off_by: tuple[bool | None, bool | None] = (None, None)  # found by belt and by strip
        self._stuck = False  # whether the frame in hand shows the last one's picture
        self._stuck_plane: str | None = None  # None: all of them
        # Missing light and a dead encoder are found within four frames, a fifth of a second.
        self._often: dict[AlarmName, _Check] = {
            "not_judging": _Check(judging.not_judging, judging.tell, Latch(1, 1)),
            "planes_swapped": _Check(identity.swapped, identity.tell, Latch(1, 1)),
            "reference_strip": _Check(reference.changed, reference.tell, Latch(3, 3)),
            "camera_frozen": _Check(self._frozen, self._tell_frozen, Latch(2, 2)),
            "encoder_dead": _Check(motion.encoder_dead, motion.tell_dead, Latch(3, 3)),
            "belt_reversing": _Check(motion.reversing, motion.tell_reversing, Latch(1, 1)),
            "encoder_mismatch": _Check(motion.mismatch, motion.tell_mismatch, Latch(2, 1)),
        }
        # Asked only where rows were looked at. Dirt is a median over many passes: one finding is enough.
        self._by_rows: dict[AlarmName, _Check] = {
            "light_off": _Check(self._light_off, self._tell_light_off, Latch(2, 2)),
            "lens_dirty": _Check(lens.dirty, lens.tell, Latch(1, 1)),
        }
        self._seldom: dict[AlarmName, _Check] = {
            "light_dim": _Check(light.dim, light.tell, Latch(4, 4)),
            "light_bright": _Check(light.bright, light.tell, Latch(4, 4)),
            "planes_misaligned": _Check(planes.misaligned, planes.tell, Latch(4, 4)),
            "nothing_seen": _Check(motion.nothing_seen, motion.tell_nothing, Latch(1, 1)),
            "only_foreign": _Check(stream.only_foreign, stream.tell, Latch(1, 1)),
            "drift": _Check(drift.drifted, drift.tell, Latch(1, 1)),
        }
        if drift.card is not None and self._holds:  # a drawn belt is not what a card was made from
            self._seldom["unlike_card"] = _Check(drift.card.unlike, drift.card.tell, Latch(1, 1))
        self._frames = 0
        self._alarms: dict[AlarmName, Alarm] = {}

    def go_on_from(self, before: LineWatch) -> None:
        """Take over the alarms that are on, after a reload; what was measured is measured again.

        Light that drifted from what it was calibrated to has not, where nothing is calibrated any more. What becomes of
        verdicts is as this configuration says, not as that under which an alarm came on.
        """
        self._identity.go_on_from(before._identity)
        gone = set() if self._light.is_calibrated else {"light_dim", "light_bright"}
        gone |= set() if self._reference.is_watched else {"reference_strip"}
        if not self.drift.go_on_from(before.drift):
            gone |= {"drift", "unlike_card"}
        self._alarms = {name: self._as_configured(alarm) for name, alarm in before._alarms.items() if name not in gone}
        for name, check in (self._often | self._by_rows | self._seldom).items():
            check.latch.on = name in self._alarms

    @property
    def alarms(self) -> tuple[Alarm, ...]:
        """What is on now; from any thread."""
        return tuple(self._alarms.values())

    @property
    def failsafe(self) -> FailSafe:
        """What becomes of verdicts now: the strictest of all alarms that are on.

        Of a camera's first cherries none is clean, until they have shown that the planes are not exchanged.
        """
        first: FailSafe = "maybe" if self._holds and self._identity.is_open else "alarm"
        return max((first, *(alarm.failsafe for alarm in self._alarms.values())), key=STRENGTH.index)

    def is_on(self, name: AlarmName) -> bool:
        """Tell whether an alarm is on."""
        return name in self._alarms

    def look_at_strips(self, frame: Frame) -> None:
        """Look at the reference strips of a frame as its source gave it, before anything else is done with it."""
        self._reference.look(frame)

    def look(self, frame: Frame, preparer: Preparer, seen: Seen, chosen: Selection) -> None:
        """Look at a searched frame while it is lent.

        Args:
            frame: cut down to what its planes have in common.
            preparer: that searched it.
            seen: what it found.
            chosen: what the tracker made of it.
        """
        self._frames += 1
        self._judging.add("belt_gap" if chosen.gap_px else None)
        self._motion.add(frame.t_ns, frame.tick, seen.boxes, chosen)
        if self._frames % 2:
            self._light.add_belt(self._lens.look(frame.planes, preparer, moved=self._motion.moved))
        if self._frames % SELDOM == 0 and len(frame.planes) == 2:
            self._planes.add(frame.planes, preparer, seen.border)

    def judge(self, frame: Frame, judged: Sequence[Item], crops: NDArray[np.uint8]) -> list[Event]:
        """End a frame: take what was judged, and say which alarms came on or went off.

        Args:
            frame: the same; its planes are not looked at.
            judged: shape and judgement of each thing that the network was asked about.
            crops: (N, S, S, P) of the same things.
        """
        single = [at for at, (_, judgement) in enumerate(judged) if judgement.reason in SINGLE]
        self._identity.add(crops[single[: self._identity.looks]])  # copies what is looked at
        if judged and self._frames % 2 == 0:  # half of them tell as much
            self._stream.add([judgement.reason for _, judgement in judged])
            if self._stream.tells_light:
                self._light.add_cherries([judged[at][0].plane_means for at in single])
        self.drift.add(judged, trusted=not self._alarms.keys() - DRIFTS)
        events = self._run(frame, self._often)
        if self._frames % 2:
            events += self._run(frame, self._by_rows)
        if self.is_on("light_off"):  # what is seen without light says nothing of light, nor of what comes along
            self._light.forget()
            self._stream.forget()
        if self._frames % SELDOM == 0:
            events += self._run(frame, self._seldom)
            if self._memory is not None:
                self._memory.save_seldom(self.drift.state)
        return events

    def unfit(self, frame: Frame, fault: Event) -> list[Event]:
        """Take a frame that was not judged, by the event that says why."""
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
        """Ask the belt where it shows its lamp, and the reference strip where it does not."""
        self._off_by = (self._light.off(), self._reference.off())
        return True if True in self._off_by else None if self._off_by == (None, None) else False

    def _tell_light_off(self) -> str:
        return self._light.tell() if self._off_by[0] else self._reference.tell_off()

    def _frozen(self) -> bool:
        stuck, self._stuck = self._stuck, False
        return stuck

    def _tell_frozen(self) -> str:
        where = "all planes" if self._stuck_plane is None else f"plane {self._stuck_plane}"
        return f"{where}: the camera repeats the same picture, it hangs; check its cable and supply"

    def _run(self, frame: Frame, checks: dict[AlarmName, _Check]) -> list[Event]:
        events = []
        for name, check in checks.items():
            bad = check.ask()
            if bad is None or (not bad and check.latch.rests):
                continue
            change = check.latch.update(bad=bad)
            if change is not None:
                events.append(
                    self._raised(frame, name, check.tell()) if change == "raised" else self._cleared(frame, name)
                )
        return events

    def _raised(self, frame: Frame, name: AlarmName, detail: str) -> Event:
        failsafe = failsafe_of(self._config, name)
        text = f"{detail}; {CONSEQUENCES[failsafe]}"
        self._alarms = {**self._alarms, name: Alarm(name, text, utc_now(), frame.seq, frame.t_ns, failsafe)}
        return event_of(frame, name, text)

    def _as_configured(self, alarm: Alarm) -> Alarm:
        failsafe = failsafe_of(self._config, alarm.name)
        found = alarm.detail.removesuffix(CONSEQUENCES[alarm.failsafe])
        return replace(alarm, failsafe=failsafe, detail=found + CONSEQUENCES[failsafe])

    def _cleared(self, frame: Frame, name: AlarmName) -> Event:
        lasted_s = (frame.t_ns - self._alarms[name].since_ns) / 1e9
        self._alarms = {key: alarm for key, alarm in self._alarms.items() if key != name}
        return event_of(frame, f"{name}{CLEARED}", f"{name} is off, it was on for {lasted_s:.1f} s")
