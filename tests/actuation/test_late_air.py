"""Tests valves whose air comes some time after the switch, on a belt that brakes, stops and starts again.

Virtual time: the air over the belt is that of the valve one latency before.
"""

import msgspec
import numpy as np
import pytest

from pitcore.actuation.actuator import LATE_TICKS, Act, Actuator, FiringRules, acts_of
from pitcore.actuation.late_air import LateAir
from pitcore.belt.encoder import TickHistory
from pitcore.belt.lanes import Lane, Plan
from pitcore.belt.lead import Lead
from tests.actuation.test_valve_loop import TICKS_PER_S, virtual_loop
from tests.actuation.valves import CONFIG, DISTANCE, PLAN, PULSE, verdict

MS = 1_000_000
SPEED = 13_600  # ticks a second at the reference load
RULES = FiringRules()
SPARED = LATE_TICKS + RULES.jitter_ticks  # a pulse that loses no more is whole
HALF = 30
FAR = 1000  # distance of the nozzle
ONE_LANE = Plan(px_per_tick=1.0, rows_px=(0, 500), cherry_px=100, lanes=(Lane((0, 1000), FAR, 2 * HALF),))
BEFORE, AFTER, STOOD_S, START_S = 1800, 700, 1.0, 0.5


def braked(brake_s):
    """Return (steps,) times in ns of the ticks 1, 2, ... of a belt that brakes, stands and starts, and where it stands.

    Brake and start are linear.
    """
    at_s = np.cumsum([0.0, BEFORE / SPEED, brake_s, STOOD_S, START_S])
    t_s = np.arange(0, at_s[-1], 1e-5)
    place = np.cumsum(np.interp(t_s, at_s, [SPEED, SPEED, 0, 0, SPEED])) * 1e-5
    stands = int(place[np.searchsorted(t_s, at_s[3])])
    return (np.interp(np.arange(1, stands + AFTER), place, t_s) * 1e9).astype(np.int64) + MS, stands


class Valve:
    """One valve over a belt, stepped at each edge and every 10 ms without one.

    Attributes:
        switched: (t_ns, mask) of every change.
        idle: (time since the last edge in ns, mask) of every step without an edge.
    """

    def __init__(self, latency_ms, t_ns):
        self.t_ns, self.latency_ns = t_ns, latency_ms * MS
        self.history = TickHistory(1 << 13)
        self.lead = Lead(self.history, self.latency_ns, RULES.jitter_ticks)
        self.actuator = Actuator(ONE_LANE, FiringRules(self.latency_ns))
        for tick in range(0, 1 << 13, 250):
            self.actuator.judged(tick, 0)
        self.switched, self.idle, self._mask = [], [], 0

    def run(self):
        last_ns = int(self.t_ns[0])
        for tick, t_ns in enumerate(self.t_ns.tolist(), 1):
            for idle_ns in range(last_ns + 10 * MS, t_ns, 10 * MS):
                self.idle.append((idle_ns - last_ns, self.step(idle_ns)))
            self.history.append(t_ns, tick)
            self.step(t_ns)
            last_ns = t_ns
        return self

    def step(self, now_ns):
        mask = self.actuator.step(self.history.tick, now_ns, self.lead.at_nozzle(now_ns), self.history.t_ns)
        if mask != self._mask:
            self.switched.append((now_ns, mask))
            self._mask = mask
        return mask

    def air(self):
        """Return (ticks,) True for each tick of the belt that got air; tick 0 is first."""
        aired = np.zeros(len(self.t_ns) + 1, bool)
        ends = [t_ns for t_ns, _ in self.switched[1:]] + [int(self.t_ns[-1])]
        for (t_ns, mask), end_ns in zip(self.switched, ends, strict=True):
            if mask:
                first, last = np.searchsorted(self.t_ns, [t_ns + self.latency_ns, end_ns + self.latency_ns])
                aired[first : last + 1] = True
        return aired


def pit_at(tick):
    """The verdict on a cherry whose middle is under the nozzle at a tick."""
    return Act(tick - FAR, (100, -30, 60, 60), "reject", one_cherry=True)


@pytest.mark.parametrize("latency_ms", [0, 10, 20])
@pytest.mark.parametrize("brake_s", [0.05, 0.1, 0.3])
def test_a_pit_at_any_place_of_a_belt_that_brakes_and_starts_gets_air_and_a_cut_pulse_is_counted(latency_ms, brake_s):
    t_ns, stands = braked(brake_s)
    unknown = SPEED * (latency_ms / 1000) ** 2 / brake_s / 2  # ticks by which a brake is ahead of all that is known
    for offset in range(-400, 400, 20):
        middle = stands + offset
        valve = Valve(latency_ms, t_ns)
        valve.actuator.take([pit_at(middle)])
        valve.run()
        got = int(valve.air()[middle - HALF : middle + HALF].sum())
        skipped = valve.actuator.counts["reject_skipped"] - (latency_ms > 0)  # the belt is at full speed at once
        assert got > min(HALF, 2 * HALF - unknown - SPARED), offset
        assert got >= 2 * HALF - SPARED - 1 or skipped > 0, (offset, got)
        assert {mask for idle_ns, mask in valve.idle if idle_ns > RULES.max_on_ns} == {0}


@pytest.mark.parametrize("latency_ms", [10, 20])
def test_belt_beyond_a_stopped_belts_nozzles_gets_its_air_after_the_start(latency_ms):
    t_ns, stands = braked(0.1)
    middle = stands + 2 * HALF  # the valve opened for it, as the belt was foreseen to get there
    valve = Valve(latency_ms, t_ns)
    valve.actuator.take([pit_at(middle)])
    valve.run()
    assert valve.air()[middle - HALF : middle + HALF].all()
    assert valve.actuator.counts["reject_skipped"] == 1  # at the first start


def test_a_verdict_that_comes_while_its_air_cannot_arrive_any_more_is_late():
    actuator = Actuator(PLAN, FiringRules(latency_ns=10 * MS, rejects_unjudged=False))
    for tick in range(2000):
        if tick % 100 == 0:
            actuator.judged(tick, 0)
        actuator.step(tick, tick * MS // 5, (tick + 50, tick + 50))
    actuator.take(acts_of([verdict(2000 - DISTANCE, tick=1990)]))  # its pulse begins at 1980
    for tick in range(2000, 2200):
        actuator.step(tick, tick * MS // 5, (tick + 50, tick + 50))
    assert (actuator.counts["reject_late"], actuator.counts["reject_skipped"]) == (1, 0)


def test_the_valve_loop_switches_a_slow_valve_earlier_and_skips_nothing(monkeypatch):
    config = msgspec.structs.replace(CONFIG, latency_us=10_000)
    machine, board, chip, loop = virtual_loop(monkeypatch, config, range(1, 9000))
    start_ns = machine.now_ns
    pits = range(1000, 6000, 500)
    loop.actuator.take(acts_of([verdict(at_row_0, x=150) for at_row_0 in pits]))
    for tick in range(0, 9000, 200):
        loop.actuator.judged(tick, 0)
    while board.history.tick < 2 * DISTANCE - 2 * PULSE:
        loop.turn()
    skipped, before = loop.actuator.counts["reject_skipped"], len(chip.driven)
    while board.history.tick < pits[-1] + DISTANCE + 100:
        loop.turn()
    driven = [(t_ns - start_ns, level) for t_ns, line, level in list(chip.driven)[before:] if line == 1]
    ends = [at_row_0 + DISTANCE + side * PULSE // 2 for at_row_0 in pits for side in (-1, 1)]
    errors = [t_ns * TICKS_PER_S / 1e9 + 40 - end for (t_ns, _), end in zip(driven, ends, strict=True)]
    assert max(abs(error) for error in errors) < SPARED
    assert loop.actuator.counts["reject_skipped"] == skipped <= 2  # both lanes, as the belt is at full speed at once


def history_of(places, step_ns=MS // 5):
    """Return the history of a belt whose place is a function of the time in seconds, and the time of its end."""
    history = TickHistory(1 << 13)
    for step in range(2000):
        place = int(places(step * step_ns / 1e9))
        if place != history.tick:
            history.append(step * step_ns, place)
    return history, 1999 * step_ns


def test_an_even_belt_is_foreseen_to_the_tick():
    history, now_ns = history_of(lambda t_s: 5000 * t_s)
    first, last = Lead(history, 10 * MS, 2).at_nozzle(now_ns)
    assert history.tick + 49 <= first <= last <= history.tick + 51


@pytest.mark.parametrize("acceleration", [-10_000, 10_000])
def test_belt_that_brakes_or_starts_is_foreseen_by_one_of_both_limits(acceleration):
    history, now_ns = history_of(lambda t_s: (4500 + acceleration * t_s / 2 - acceleration * 0.1) * t_s)
    speed = 4500 - acceleration * 0.1 + acceleration * now_ns / 1e9
    true = history.tick + speed * 0.02 + acceleration * 0.02**2 / 2
    first, last = Lead(history, 20 * MS, 2).at_nozzle(now_ns)
    assert (last if acceleration > 0 else first) == pytest.approx(true, abs=6)
    assert first - 6 <= true <= last + 6


@pytest.mark.parametrize("latency_ms", [5, 20])
def test_uneven_steps_of_an_encoder_open_a_valve_once_for_a_pulse(latency_ms):
    rng = np.random.default_rng(1)
    tick = np.arange(1, 5000)
    uneven = rng.uniform(-0.15, 0.15, 4)[tick % 4] + rng.uniform(-0.05, 0.05, len(tick))
    valve = Valve(latency_ms, ((tick + uneven) / SPEED * 1e9).astype(np.int64) + MS)
    pits = range(2500, 4500, 150)
    valve.actuator.take([pit_at(middle) for middle in pits])
    air = valve.run().air()
    assert all(air[middle - HALF : middle + HALF].all() for middle in pits)
    assert sum(mask for t_ns, mask in valve.switched if t_ns > valve.t_ns[2000]) == len(pits)
    assert valve.actuator.counts["reject_skipped"] == 1  # at the start


def test_nothing_is_foreseen_before_a_belt_that_stands_or_backs_up():
    history, now_ns = history_of(lambda t_s: 1000 - 2000 * t_s)
    lead = Lead(history, 20 * MS, 2)
    assert lead.at_nozzle(now_ns) == (history.tick, history.tick)
    assert lead.at_nozzle(now_ns + 1000 * MS) == (history.tick, history.tick)


def test_small_falls_of_what_is_foreseen_are_noise_and_large_ones_are_not():
    history, now_ns = history_of(lambda t_s: 5000 * t_s)
    lead = Lead(history, 10 * MS, 2)
    before = lead.at_nozzle(now_ns)
    assert lead.at_nozzle(now_ns + MS // 5) == before
    first, last = lead.at_nozzle(now_ns + 5 * MS)
    assert first < before[0] - 3
    assert lead.at_nozzle(now_ns + 20 * MS) == (history.tick, history.tick)
    assert first <= last


def test_each_gap_in_the_air_over_a_pulse_is_counted_once_and_small_ones_together():
    air = LateAir(2, 10, 3, 0)

    def go(until, wanted, still=None):
        """Move tick by tick, one in a nanosecond, and return the gaps."""
        found = 0
        for tick in range(air._furthest + 1, until + 1):
            air.arrive(tick)
            found += air.cut(tick, wanted, wanted if still is None or tick < until else still)
        return found

    assert go(3, 1) == 0  # spared
    air.switch(0, 1)  # arrives at 10
    assert go(9, 1) == 1
    assert go(30, 1) == 0
    air.switch(25, 0)  # arrives at 35
    assert go(37, 1) == 0
    air.switch(30, 1)
    assert go(50, 1, still=0) == 1
    assert go(100, 2) == 1  # the other lane
    assert go(200, 0) == 0


@pytest.mark.parametrize("latency_ms", [0, 10, 20])
def test_a_pulse_that_is_jumped_over_counts_although_an_earlier_one_had_air(latency_ms):
    """The board hangs while the first of two pulses is under the nozzle, and goes on beyond the second."""
    plan = Plan(px_per_tick=1.0, rows_px=(0, 500), cherry_px=100, lanes=(Lane((0, 1000), 4000, 2 * HALF),))
    history, latency_ns, first = TickHistory(), latency_ms * MS, 8000
    lead, actuator = Lead(history, latency_ns, RULES.jitter_ticks), Actuator(plan, FiringRules(latency_ns))
    middles = [first, first + 600]
    actuator.take([Act(middle - 4000, (100, -30, 60, 60), "reject", one_cherry=True) for middle in middles])
    t_ns, tick, shots, before, mask = 10**9, 0, 0, 0, 0
    while tick < 10_000:
        for _ in range(900 if tick == first + 25 else 1):
            t_ns, tick = t_ns + 10**9 // SPEED, tick + 1
            history.append(t_ns, tick)
        actuator.judged(tick // 50 * 50 - 2000, t_ns)
        was, mask = mask, actuator.step(tick, t_ns, lead.at_nozzle(t_ns), t_ns)
        if tick == 7000:
            before, shots = actuator.counts["reject_skipped"], 0
        shots += mask & ~was
    assert actuator.counts["reject_skipped"] > before
    assert shots >= 2  # the first pulse, and one that makes up for the second
