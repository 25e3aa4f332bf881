"""Tests whether every pit is hit at the right place: 100,000 cherries in virtual time, 1,000 in real time.

Encoder decoding, ticks of frames, tracking, lanes, schedule, fail-safe and valves are the code of the service; in real
time also its valve process, with a simulated chip. The belt, the cherries and the model, which is always right, are
simulated.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pitcore.actuation.actuator import Actuator, FiringRules, JudgedFrame, acts_of
from pitcore.actuation.valve_loop import STANDING_NS
from pitcore.actuation.wakeup_margin import Gap
from pitcore.belt.encoder import Edge, QuadratureDecoder, TickHistory
from pitcore.belt.lead import Lead
from pitcore.bench.reject_account import Crowd, RejectAccount, Run, Touching, settle, settle_crowd, settle_touching
from pitcore.bench.reject_line import (
    PLAN,
    BeltPosition,
    Camera,
    Cherries,
    exposures,
    lay,
    lay_crowded,
    lay_touching,
    steps,
)
from pitcore.verdict import Verdict

TICKS_PER_S = 6_000  # at times 40 % more: at 8,400 a frame of 500 ticks still overlaps the next one
LATENCY_NS = (20_000_000, 150_000_000)  # range from exposure to verdict; the upper end is the reference load's limit
LOST_SHARE, GLITCH_SHARE, TWO_AT_ONCE_SHARE = 0.001, 0.001, 0.02
CATCH_UP_NS = 1_000_000  # time to process the edges that arrived during a pause
_LEVELS = ((0, 0), (1, 0), (1, 1), (0, 1))
Progress = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class RejectResult:
    """The result of a run.

    Attributes:
        account: the outcome for the cherries.
        steps: number of steps of the belt.
        backed_up: number of steps backwards.
        lost: edges that the decoder did not get.
        glitches: edges that were invalid.
        counts: the counters of the actuator.
        took_s: duration on the wall clock, in seconds.
        gaps: for a run in real time, (N, 4) int64: pauses of the valve process, see ``wakeup_margin.Pause``.
    """

    account: RejectAccount
    steps: int
    backed_up: int
    lost: int
    glitches: int
    counts: dict[str, int]
    took_s: float
    gaps: NDArray[np.int64] | None = None

    def held_up(self) -> dict[Gap | None, int]:
        """Return the number of errors in ``account.off`` by the kind of pause in which they fell; None for no pause."""
        counts: Counter[Gap | None] = Counter()
        gaps = np.zeros((0, 4), np.int64) if self.gaps is None else self.gaps
        for since, until in self.account.off:
            then = gaps[(gaps[:, 0] <= until) & (gaps[:, 1] + CATCH_UP_NS >= since)]
            longest = then[np.argmax(then[:, 1] - then[:, 0])] if len(then) else None
            counts[None if longest is None else Gap(int(longest[2]))] += 1
        return dict(counts)


def virtual(count: int, seed: int, progress: Progress | None = None) -> RejectResult:
    """Run a belt of cherries in virtual time.

    Args:
        count: number of cherries.
        seed: equal seeds give equal runs.
        progress: called with the share that is done, 0..1.
    """
    started = time.monotonic()
    cherries = lay(count, seed)
    t_ns, ticks = steps(int(cherries.due.max()) + 400, TICKS_PER_S, seed + 1)
    line = VirtualLine(cherries, t_ns, ticks, seed + 2)
    line.run(progress)
    run = Run(t_ns, ticks, line.driven)
    return RejectResult(
        account=settle(run, cherries),
        steps=len(ticks),
        backed_up=int((np.diff(ticks) < 0).sum()),
        lost=line.decoder.lost,
        glitches=line.decoder.glitches,
        counts=dict(line.actuator.counts),
        took_s=time.monotonic() - started,
    )


def crowded(count: int, per_frame: int, seed: int) -> Crowd:
    """Run a belt in virtual time on which cherries lie anywhere in their lanes, also side by side."""
    cherries = lay_crowded(count, per_frame, seed)
    t_ns, ticks = steps(int(cherries.due.max()) + 400, TICKS_PER_S, seed + 1)
    line = VirtualLine(cherries, t_ns, ticks, seed + 2)
    line.run(None)
    return settle_crowd(Run(t_ns, ticks, line.driven), cherries)


def touching(count: int, per_frame: int, seed: int) -> Touching:
    """Run a belt in virtual time on which most cherries touch others."""
    cherries = lay_touching(count, per_frame, seed)
    t_ns, ticks = steps(int(cherries.due.max()) + 400, TICKS_PER_S, seed + 1)
    line = VirtualLine(cherries, t_ns, ticks, seed + 2)
    line.run(None)
    return settle_touching(Run(t_ns, ticks, line.driven), cherries)


class VirtualLine:
    """Encoder, camera and actuator on one virtual clock.

    Args:
        cherries: the cherries on the belt.
        t_ns, ticks: (steps,) time and tick of every step of the belt.
        seed: equal seeds give equal runs.
        latency_ns: from the line to the air. The valves know it; ``driven`` has the times of the lines.

    Attributes:
        driven: (t_ns, lane, level) of every change of a valve's line, in order.
        counted: times at which an event ``reject_late`` or ``reject_skipped`` was counted, in ns.
    """

    def __init__(
        self,
        cherries: Cherries,
        t_ns: NDArray[np.int64],
        ticks: NDArray[np.int64],
        seed: int,
        latency_ns: int = 0,
    ) -> None:
        self._t_ns, self._ticks = t_ns.tolist(), ticks.tolist()
        self._furthest = np.maximum.accumulate(ticks).tolist()
        self._camera = Camera(cherries)
        self._rng = np.random.default_rng(seed)
        self.decoder, self.history = QuadratureDecoder(), TickHistory()
        rules = FiringRules(latency_ns, rejects_unjudged=True)
        self.actuator = Actuator(PLAN, rules)
        self._lead = Lead(self.history, latency_ns, rules.jitter_ticks)
        self.driven: list[tuple[int, int, int]] = []
        self.counted: list[int] = []
        self._mask = 0
        self._seqno = 0
        self._frames: deque[tuple[int, JudgedFrame, list[Verdict]]] = deque()  # ready_ns, frame, verdicts; in order

    def run(self, progress: Progress | None) -> None:
        """Process every step of the belt."""
        chance = self._rng.random(len(self._ticks))
        chance[1:][chance[:-1] < LOST_SHARE] = 0.5  # never loses two edges in a row, which would cost two ticks
        exposed = exposures(0, self._t_ns[-1])
        next_ns = next(exposed)
        held = False
        for step, t_ns in enumerate(self._t_ns):
            before = BeltPosition(self._ticks[step - 1], self._furthest[step - 1]) if step else BeltPosition(0, 0)
            while next_ns < t_ns:
                self._expose(next_ns, before)
                next_ns = next(exposed, self._t_ns[-1])
            for idle_ns in range((self._t_ns[step - 1] if step else t_ns) + STANDING_NS, t_ns, STANDING_NS):
                self._act(idle_ns)
            self._turn(t_ns, before.tick, self._ticks[step], chance[step])
            # Sometimes the thread wakes late and gets two edges at once; not after a lost edge, for the same reason.
            held = not held and 1 - chance[step] < TWO_AT_ONCE_SHARE and chance[max(0, step - 1)] >= LOST_SHARE
            if not held:
                self._act(t_ns)
            if progress is not None and step % 65536 == 0:
                progress(step / len(self._ticks))

    def _expose(self, t_ns: int, place: BeltPosition) -> None:
        """Take a frame. Its verdicts are ready after a random latency; frames stay in order."""
        tick = self.history.tick_at(t_ns)
        verdicts = self._camera.take(place, tick, t_ns)
        ready_ns = t_ns + int(self._rng.integers(*LATENCY_NS))
        if self._frames:
            ready_ns = max(ready_ns, self._frames[-1][0])
        self._frames.append((ready_ns, JudgedFrame(tick, t_ns, self._camera.waiting_px), verdicts))

    def _turn(self, t_ns: int, before: int, tick: int, chance: float) -> None:
        """Feed the edge of a step to the decoder, or lose it; sometimes feed an invalid edge too."""
        was, now = _LEVELS[before % 4], _LEVELS[tick % 4]
        line = 0 if was[0] != now[0] else 1
        self._seqno += 1
        if chance < LOST_SHARE:
            return
        edge = Edge(t_ns, line, bool(now[line]), self._seqno)
        self.history.append(t_ns, self.decoder.feed(edge))
        if chance < LOST_SHARE + GLITCH_SHARE:
            self._seqno += 1
            self.decoder.feed(edge._replace(seqno=self._seqno))

    def _act(self, t_ns: int) -> None:
        while self._frames and self._frames[0][0] <= t_ns:
            _, frame, verdicts = self._frames.popleft()
            self.actuator.take(acts_of(verdicts))
            self.actuator.judged(*frame)
        counts = self.actuator.counts
        counted = counts["reject_late"] + counts["reject_skipped"]
        mask = self.actuator.step(self.history.tick, t_ns, self._lead.at_nozzle(t_ns), self.history.t_ns)
        self.counted += [t_ns] * (counts["reject_late"] + counts["reject_skipped"] - counted)
        changed = mask ^ self._mask
        if changed:
            for lane in range(len(PLAN.lanes)):
                if changed >> lane & 1:
                    self.driven.append((t_ns, lane, mask >> lane & 1))
            self._mask = mask
