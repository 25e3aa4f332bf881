"""Decides which valves are open now, from verdicts and encoder counts.

It reads no line and no clock: ``valve_loop`` gives it those of the board, the reject benchmark virtual ones. It applies
the fail-safe to belt that reaches the nozzles without a verdict, and to verdicts that are too late.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from pitcore.actuation.late_air import LateAir
from pitcore.actuation.schedule import Schedule, parts_within, put_in, size_of, take_out
from pitcore.belt.lanes import Plan, Pulse
from pitcore.belt.running import Running
from pitcore.belt.track import Box
from pitcore.sinks.sink import Notice
from pitcore.verdict import Action, Verdict

LATE_TICKS = 1  # a pulse that loses at most this many ticks is in time
COVER_TICKS = 16  # distance by which the fail-safe is scheduled ahead of the belt, and by which it may hit judged belt

DETAILS = {
    "reject_late": "verdicts to act on came after their cherry had reached the nozzle: the board is too slow, "
    "or the nozzles are too near; fail-safe `{fail_safe}`",
    "reject_skipped": "pulses got no air or were cut short: edges were lost, the board hung, or the belt braked or "
    "started within latency_us; fail-safe `{fail_safe}` makes up for pulses without air, not for those cut short",
    "valve_held": "valves were open while the belt was stopped, and were closed after max_on_ms",
    "belt_unjudged": "stretches of belt reached the nozzles without a verdict; fail-safe `{fail_safe}`",
    "encoder_lost": "encoder edges were lost before they could be read; they were counted by their numbers",
    "encoder_glitch": "encoder edges were invalid: check cable and shield, or set actuation.encoder.debounce_us",
}
COUNTED = (*DETAILS, "scheduled", "known", "openings")  # keys of ``Actuator.counts``


class Act(NamedTuple):
    """The action that a verdict requests from the valves.

    Attributes:
        tick: tick of its frame.
        box: box of the thing in that frame.
        action: ``review`` or ``reject``.
        one_cherry: True if the thing has the shape of one cherry.
    """

    tick: int
    box: Box
    action: Action
    one_cherry: bool


class JudgedFrame(NamedTuple):
    """A frame whose things all have verdicts, except those that wait at its entry edge.

    Attributes:
        tick: tick of the frame.
        t_ns: time of its exposure, CLOCK_MONOTONIC.
        waiting_px: length of belt at the entry edge on which things wait for the next frame.
    """

    tick: int
    t_ns: int
    waiting_px: int


class Turn(NamedTuple):
    """The position and time at which a belt that backed up was farthest back."""

    tick: int
    t_ns: int


def acts_of(records: Iterable[object]) -> list[Act]:
    """Return the actions of the verdicts among the records, without those that pass."""
    verdicts = [record for record in records if isinstance(record, Verdict)]
    return [Act(one.tick, one.box, one.action, one.is_one_cherry) for one in verdicts if one.action != "pass"]


class FaultReporter:
    """Makes notices of the counters that grew.

    Args:
        fail_safe: the configured fail-safe, for the text.
    """

    def __init__(self, fail_safe: str) -> None:
        self._fail_safe = fail_safe
        self._reported: Counter[str] = Counter()

    def notices(self, counts: Mapping[str, int]) -> list[Notice]:
        """Return the notices since the last call."""
        new = {event: counts.get(event, 0) - self._reported[event] for event in DETAILS}
        self._reported.update(new)
        return [
            Notice(event, f"{count} {DETAILS[event].format(fail_safe=self._fail_safe)}", count)
            for event, count in new.items()
            if count
        ]


@dataclass(frozen=True, slots=True)
class FiringRules:
    """The rules from the section [actuation].

    Attributes:
        latency_ns: delay from the change of a line to the air at the nozzle.
        max_on_ns: a belt that has not moved forward for this long is stopped, and no valve is open.
        jitter_ticks: movement up to this is jitter.
        rejects_unjudged: the fail-safe: True rejects unjudged belt, False lets it pass.
    """

    latency_ns: int = 0
    max_on_ns: int = 200_000_000
    jitter_ticks: int = 2
    rejects_unjudged: bool = True


class Actuator:
    """Follows the belt.

    Args:
        plan: the lanes.
        rules: latency, limits, fail-safe.
        tick: position of the belt. The belt between cameras and nozzles at the start was never judged.

    Attributes:
        counts: counters with the names of ``COUNTED``; ``known`` counts things that were judged before.
    """

    def __init__(self, plan: Plan, rules: FiringRules, tick: int = 0) -> None:
        self._plan, self._rules = plan, rules
        self.schedule = Schedule(len(plan.lanes), rules.jitter_ticks, plan.reach_ticks)
        self.schedule.start_at(tick)
        self.counts: Counter[str] = Counter()
        self._inbox: deque[Act | JudgedFrame] = deque()
        self._rejecting = plan.of_action("reject")
        self._followed = self._rejecting or plan.of_action("review")  # where belt without a verdict is noticed
        self._unjudged: dict[int, list[int]] = {lane: [] for lane in self._followed}
        self._farthest = max((lane.distance_ticks for lane in plan.lanes), default=0)
        # Ticks at which the belt is at row 0. Belt on which things wait for the next frame is shown but not judged.
        self._shown_until = self._judged_until = tick - self._farthest
        self._tick = tick
        self._turns: deque[Turn] = deque()  # since the last judged frame; each later turn is further on
        self._nearest = min((lane.distance_ticks - lane.pulse_ticks for lane in plan.lanes), default=0)
        self._mask = 0
        spared = LATE_TICKS + rules.jitter_ticks
        self._late_air = LateAir(len(plan.lanes), rules.latency_ns, spared, tick) if rules.latency_ns else None
        self._running = Running(tick, rules.jitter_ticks, rules.max_on_ns)
        self._ahead: list[int] = []  # heap of the ends of the last pulse for each thing

    def take(self, acts: Iterable[Act]) -> None:
        """Take an action; the next ``step`` schedules it."""
        self._inbox.extend(acts)

    def judged(self, tick: int, t_ns: int, waiting_px: int = 0) -> None:
        """Note that a frame is judged; frames come in the order of their exposure. See ``JudgedFrame``."""
        self._inbox.append(JudgedFrame(tick, t_ns, waiting_px))

    def step(self, tick: int, now_ns: int, at_nozzle: tuple[int, int] | None = None, came_ns: int | None = None) -> int:
        """Follow the belt to a tick.

        While the belt is stopped (``belt.running``) no valve is open. Pulses that are due are fired when the belt runs.

        Args:
            tick: the encoder count.
            now_ns: CLOCK_MONOTONIC.
            at_nozzle: for valves with a latency, the first and the last tick at which the belt may be when the air of
                a valve that is switched now arrives (``Lead.at_nozzle``); None is ``tick``.
            came_ns: time at which the belt reached the tick; None is ``now_ns``.

        Returns:
            Bit n is set if lane n's valve must be open now.
        """
        if tick < self._tick:
            self._back_up(tick, now_ns if came_ns is None else came_ns)
        self._tick = tick
        first, last = at_nozzle or (tick, tick)
        while self._inbox:
            item = self._inbox.popleft()
            if isinstance(item, Act):
                self._act_on(item)
            else:
                self._extend_judged(item)
        if last + COVER_TICKS // 2 - self._nearest >= self._judged_until:
            self._cover(last)
        runs = self._follow(tick, now_ns if came_ns is None else came_ns, now_ns)
        wanted = self.schedule.mask if self._late_air is None else self.schedule.foresee(first, last)
        mask = wanted if runs else 0
        if mask != self._mask:
            if self._late_air is not None:
                self._late_air.switch(now_ns, mask)
            self.counts["openings"] += (mask & ~self._mask).bit_count()
            self._mask = mask
        return mask

    @property
    def next_change_ticks(self) -> int:
        """Return the travel of a belt that runs forward until a valve, or the air that is due, may change."""
        schedule = self.schedule
        return min(schedule.next_change - schedule.tick, schedule.foreseen_change)

    @property
    def busy(self) -> bool:
        """Return True while a valve is open or a pulse is under its nozzle."""
        return bool(self._mask or self.schedule.mask)

    @property
    def _next_air(self) -> int:
        """Return the first tick that a valve which is switched now still reaches."""
        return max(self.schedule.tick, self.schedule.at)

    def ahead(self) -> int:
        """Return the number of things with an action that have not reached their nozzle yet."""
        while self._ahead and self._ahead[0] <= self.schedule.tick:
            heapq.heappop(self._ahead)
        return len(self._ahead)

    def _act_on(self, act: Act) -> None:
        """Schedule the pulses for one thing; there are none for an action that only a PLC handles."""
        pulses = self._plan.pulses(act.tick, act.box, act.action, one_cherry=act.one_cherry)
        if not pulses:
            return
        now = self._next_air
        late, known, again = False, True, True
        for pulse in pulses:
            placed = self.schedule.add(pulse.lane, pulse.on, pulse.off)
            failed_safe = parts_within(self._unjudged.get(pulse.lane, []), pulse.on, pulse.off)
            covered = size_of(parts_within(failed_safe, pulse.on, min(pulse.off, now)))
            late = late or placed.late + covered > LATE_TICKS
            known = known and not placed.fresh and not placed.late
            again = again and known and not failed_safe
            if placed.late > max(LATE_TICKS, placed.fresh):  # the middle of the pulse, the cherry, has passed
                self._fire_now(pulse)
        if not again:
            heapq.heappush(self._ahead, max(pulse.off for pulse in pulses))
            self.ahead()
        self.counts["reject_late" if late else "known" if known else "scheduled"] += 1

    def _fire_now(self, pulse: Pulse) -> None:
        """Fire the whole pulse at once, if the fail-safe rejects: it is too late for most of its length."""
        if self._rules.rejects_unjudged:
            now = self._next_air
            self.schedule.add(pulse.lane, now, now + pulse.off - pulse.on)

    def _make_up_for_skipped(self) -> None:
        """Count pulses that the count jumped over, except where air was on for the whole jump."""
        aired = 0 if self._late_air is None else self._late_air.steady
        skipped = [pulse for pulse in self.schedule.skipped if not aired >> pulse.lane & 1]
        self.schedule.skipped = []
        self.counts["reject_skipped"] += len(skipped)
        for pulse in skipped:
            self._fire_now(Pulse(pulse.lane, pulse.on, pulse.off))

    def _back_up(self, tick: int, t_ns: int) -> None:
        """Mark belt that leaves by the entry edge as not judged: it may return with other cherries.

        A frame that was taken before but judged later must not count for that belt either, so the turn is stored.
        """
        while self._turns and self._turns[-1].tick >= tick:
            self._turns.pop()
        while self._turns and self._turns[0].tick < tick - self._farthest:  # that belt has passed the nozzles
            self._turns.popleft()
        self._turns.append(Turn(tick, t_ns))
        entry = self._plan.entering(tick)
        self._shown_until, self._judged_until = min(self._shown_until, entry), min(self._judged_until, entry)
        for lane, borders in self._unjudged.items():
            take_out(borders, entry + self._plan.lanes[lane].distance_ticks, 1 << 62)

    def _extend_judged(self, frame: JudgedFrame) -> None:
        """Move the end of the judged belt forward. A gap before the start of a frame is unjudged."""
        while self._turns and self._turns[0].t_ns <= frame.t_ns:
            self._turns.popleft()
        kept_until = self._plan.entering(self._turns[0].tick) if self._turns else 1 << 62
        start, until = self._plan.judged(frame.tick)
        if self._shown_until < start < kept_until:
            for lane in self._followed:
                self._leave_unjudged(lane, self._shown_until, start)
        until = min(until, kept_until)
        self._shown_until = max(self._shown_until, until)
        waits_from = self._plan.entering(frame.tick) - round(frame.waiting_px / abs(self._plan.px_per_tick))
        self._judged_until = max(self._judged_until, min(until, waits_from))

    def _cover(self, at_nozzle: int) -> None:
        """Treat belt that is about to reach a nozzle without a verdict as unjudged."""
        soon = at_nozzle + COVER_TICKS // 2
        for lane in self._followed:
            place, borders = self._plan.lanes[lane], self._unjudged[lane]
            begins = self._judged_until + place.distance_ticks - place.pulse_ticks // 2
            if begins <= soon and not (borders and borders[-1] >= soon):
                end = soon + COVER_TICKS // 2 - place.distance_ticks - place.pulse_ticks // 2
                self._leave_unjudged(lane, self._judged_until, end)

    def _leave_unjudged(self, lane: int, start: int, end: int) -> None:
        """Apply the fail-safe to a stretch of belt. ``start`` and ``end`` are ticks at which it is at row 0."""
        place = self._plan.lanes[lane]
        half = place.pulse_ticks // 2
        low = max(start + place.distance_ticks - half, self._next_air)
        high = end + place.distance_ticks + half
        borders = self._unjudged[lane]
        if low >= high:
            return
        if lane == self._followed[0] and not (borders and borders[-1] >= low):
            self.counts["belt_unjudged"] += 1
        take_out(borders, -(1 << 62), low - 4 * place.distance_ticks)
        put_in(borders, low, high)
        if self._rules.rejects_unjudged and lane in self._rejecting:
            self.schedule.add(lane, low, high)

    def _follow(self, tick: int, came_ns: int, now_ns: int) -> bool:
        """Advance the schedule to the tick, and return True if the belt runs.

        While a stopped belt moves forward by less than the jitter, the schedule does not advance. So it marks nothing
        as fired that was not.
        """
        ran, schedule = self._running.on, self.schedule
        runs = self._running.update(tick, came_ns, now_ns)
        if self._late_air is not None:
            self._late_air.arrive(came_ns)
        if runs or tick < schedule.tick:
            wanted = schedule.mask
            schedule.advance(tick)
            if self._late_air is not None:
                self.counts["reject_skipped"] += self._late_air.cut(tick, wanted, schedule.mask)
            if schedule.skipped:
                self._make_up_for_skipped()
        if ran and not runs:
            self.counts["valve_held"] += self._mask.bit_count()
        return runs
