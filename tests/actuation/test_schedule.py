"""Tests the schedule, compiled and plain, also against a model that keeps every tick in a set."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

import pitcore.actuation.schedule as installed

SOURCE = Path(installed.__file__).with_name("schedule.py")  # a wheel has it beside the compiled one


def plain_module():
    """Load the schedule as plain Python; an import finds the compiled one."""
    spec = importlib.util.spec_from_file_location("plain_schedule", SOURCE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


PLAIN = plain_module()


@pytest.fixture(params=[PLAIN, installed], ids=["plain", "compiled"])
def schedule(request):
    return request.param


def open_ticks(made, ticks):
    """Lane 0's open ticks on a belt that goes tick by tick."""
    return [tick for tick in ticks if made.advance(tick) & 1]


def test_the_installed_schedule_is_the_compiled_one():
    assert Path(installed.__file__).suffix == ".so", "build it: pip install --editable ."


def test_a_valve_is_open_from_its_first_tick_to_before_its_last(schedule):
    made = schedule.Schedule(2, 2, 1000)
    assert made.add(0, 100, 140) == (40, 0, 0)
    assert made.add(1, 120, 125) == (5, 0, 0)
    masks = [made.advance(tick) for tick in range(200)]
    assert [tick for tick, mask in enumerate(masks) if mask & 1] == list(range(100, 140))
    assert [tick for tick, mask in enumerate(masks) if mask & 2] == list(range(120, 125))


def test_pulses_of_neighbours_that_overlap_are_one(schedule):
    made = schedule.Schedule(1, 2, 1000)
    made.add(0, 100, 140)
    assert made.add(0, 130, 170) == (30, 10, 0)
    assert made.add(0, 170, 180) == (10, 0, 0)
    changes = np.diff([made.advance(tick) for tick in range(300)])
    assert (np.flatnonzero(changes) + 1).tolist() == [100, 180]


@pytest.mark.parametrize("second_at", [0, 110, 150, 400])
def test_a_thing_judged_twice_is_fired_at_once_only(schedule, second_at):
    made = schedule.Schedule(1, 2, 1000)
    made.add(0, 100, 140)
    fired = []
    for tick in range(500):
        if tick == second_at:
            assert made.add(0, 100, 140) == (0, 40, 0)
        fired += [tick] if made.advance(tick) else []
    assert fired == list(range(100, 140))


def test_a_belt_that_backs_up_before_a_pulse_fires_it_when_it_comes(schedule):
    made = schedule.Schedule(1, 2, 1000)
    made.add(0, 100, 140)
    assert open_ticks(made, [*range(99), *range(98, -300, -1)]) == []
    assert open_ticks(made, range(-300, 300)) == list(range(100, 140))


def test_a_belt_that_backs_up_after_a_pulse_does_not_fire_it_again(schedule):
    made = schedule.Schedule(1, 2, 1000)
    made.add(0, 100, 140)
    assert open_ticks(made, range(200)) == list(range(100, 140))
    assert open_ticks(made, [*range(200, 50, -1), *range(50, 300)]) == []


def test_a_belt_that_backs_up_in_a_pulse_closes_and_fires_the_rest_later(schedule):
    made = schedule.Schedule(1, 2, 1000)
    made.add(0, 100, 140)
    assert open_ticks(made, range(121)) == list(range(100, 121))
    assert open_ticks(made, range(119, 80, -1)) == [119, 118]  # within the tremble that keeps it open
    assert open_ticks(made, range(80, 200)) == list(range(121, 140))


def test_encoder_jitter_keeps_an_open_valve_open(schedule):
    made = schedule.Schedule(1, 2, 1000)
    made.add(0, 100, 140)
    open_ticks(made, range(111))
    assert all(made.advance(tick) for tick in [109, 110, 108, 109, 110, 109, 110] * 20)
    assert open_ticks(made, range(111, 200)) == list(range(111, 140))


def test_encoder_jitter_at_the_end_of_a_pulse_does_not_fire_it_again(schedule):
    made = schedule.Schedule(1, 2, 1000)
    made.add(0, 100, 140)
    open_ticks(made, range(141))
    assert not any(made.advance(tick) for tick in [139, 140, 138, 141, 139] * 20)


def test_a_thing_that_is_judged_again_after_the_belt_backed_up_is_fired_at_again(schedule):
    made = schedule.Schedule(1, 2, 1000)
    made.add(0, 1100, 1140)
    open_ticks(made, range(1200))
    open_ticks(made, range(1200, 110, -1))
    assert made.add(0, 1100, 1140) == (0, 40, 0)  # not far enough to be seen again: an old verdict
    open_ticks(made, range(110, 90, -1))
    assert made.add(0, 1100, 1140) == (40, 0, 0)
    assert open_ticks(made, range(90, 1300)) == list(range(1100, 1140))


def test_a_late_pulse_fires_what_is_left_of_it_and_says_how_much_was_lost(schedule):
    made = schedule.Schedule(1, 2, 1000)
    open_ticks(made, range(121))
    assert made.add(0, 100, 140) == (20, 0, 20)
    assert made.advance(120)  # at once, without waiting for the belt
    assert open_ticks(made, range(121, 200)) == list(range(121, 140))
    assert made.add(0, 100, 150) == (0, 20, 30)
    assert made.add(0, 20, 60) == (0, 0, 40)
    assert open_ticks(made, range(200, 300)) == []


def test_a_pulse_that_the_count_jumped_over_is_named(schedule):
    made = schedule.Schedule(3, 2, 1000)
    made.add(1, 100, 140)
    made.add(2, 130, 170)
    made.advance(90)
    assert made.advance(150) == 0b100
    assert [tuple(skipped) for skipped in made.skipped] == [(1, 100, 140)]
    assert made.late_ticks == 20


def test_a_jump_within_a_pulse_ends_it_where_it_should_end(schedule):
    made = schedule.Schedule(1, 2, 1000)
    made.add(0, 100, 140)
    assert [made.advance(tick) for tick in (0, 100, 101, 137, 138, 141, 142)] == [0, 1, 1, 1, 1, 0, 0]
    assert (list(made.skipped), made.late_ticks) == ([], 1)


def test_valves_with_a_latency_open_for_ticks_that_are_foreseen_and_mark_none_as_fired(schedule):
    made = schedule.Schedule(2, 2, 1000)
    made.add(0, 100, 140)
    made.add(0, 160, 170)
    made.add(1, 130, 150)
    foreseen = {90: 0, 95: 1, 125: 3, 139: 3, 140: 2, 150: 0, 155: 1, 170: 0}
    assert {first: made.foresee(first, first + 5) for first in foreseen} == foreseen
    assert made.foresee(100, 110) == 1  # the belt was slower than foreseen
    assert (made.at, made.foreseen_change) == (100, 20)
    assert made.add(0, 80, 150) == (10, 40, 20)  # the air for the first twenty cannot arrive any more
    assert open_ticks(made, range(200)) == [*range(100, 150), *range(160, 170)]


def test_more_lanes_than_bits_are_refused(schedule):
    with pytest.raises(ValueError, match="at most 62"):
        schedule.Schedule(63, 2, 1000)


class Model:
    """A model of the schedule: every tick of every pulse in sets. Slow and simple. The belt moves tick by tick."""

    def __init__(self, jitter, reach):
        self.pending, self.fired, self.tick, self.front, self.open = set(), set(), 0, 0, False
        self.jitter, self.reach = jitter, reach

    def add(self, on, off):
        wanted = set(range(on, off))
        known = wanted & (self.pending | self.fired)
        late = {tick for tick in wanted - known if tick < self.tick}
        self.pending |= wanted - known - late
        return len(wanted) - len(known) - len(late), len(known), len(late)

    def advance(self, tick):
        moved_on = True  # with an open valve
        if tick < self.tick:
            self._forget(tick + self.reach)
            self.open = self.open and tick >= self.front - self.jitter
        elif not (self.open and tick <= self.front):
            moved_on, self.open = False, tick in self.pending
        self.tick = tick
        if self.open:
            self.front = max(self.front, tick) if moved_on else tick
            self.fired |= {tick} & self.pending
            self.pending.discard(tick)
        return int(self.open)

    def _forget(self, limit):
        """Drop every run of fired ticks that starts at the limit or beyond."""
        run = max(self.fired, default=None)
        while run is not None and run >= limit:
            low = run
            while low - 1 in self.fired:
                low -= 1
            if low < limit:
                return
            self.fired -= set(range(low, run + 1))
            run = max(self.fired, default=None)


@pytest.mark.parametrize("seed", range(12))
def test_every_belt_and_every_order_of_verdicts_fires_the_ticks_of_the_set_model(seed):
    rng = np.random.default_rng(seed)
    jitter, reach = int(rng.integers(0, 4)), int(rng.integers(50, 400))
    made = [module.Schedule(1, jitter, reach) for module in (PLAIN, installed)]
    model, tick, step = Model(jitter, reach), 0, 1
    for _ in range(6000):
        if rng.random() < (0.01 if step > 0 else 0.04):
            step = -step
        if rng.random() < 0.03:
            on = tick + int(rng.integers(-30, 120))
            off = on + int(rng.integers(1, 50))
            placed = model.add(on, off)
            assert [tuple(one.add(0, on, off)) for one in made] == [placed] * 2
            assert [one.advance(tick) for one in made] == [model.advance(tick)] * 2
        tick += step
        expected = model.advance(tick)
        assert [one.advance(tick) for one in made] == [expected] * 2, tick
    assert all(not one.skipped and one.late_ticks <= jitter for one in made)  # a pulse added while the belt trembles


def test_plain_and_compiled_agree_on_a_belt_that_jumps(schedule):
    rng = np.random.default_rng(5)
    made = [module.Schedule(16, 2, 500) for module in (PLAIN, installed)]
    tick = 0
    for _ in range(20_000):
        if rng.random() < 0.2:
            lane, on = int(rng.integers(0, 16)), tick + int(rng.integers(-20, 300))
            assert tuple(made[0].add(lane, on, on + 30)) == tuple(made[1].add(lane, on, on + 30))
        tick += int(rng.choice([1, 1, 1, 2, 3, -1, -1, 40]))
        assert made[0].advance(tick) == made[1].advance(tick)
        assert made[0].next_change == made[1].next_change
        assert made[0].foresee(tick, tick + 20) == made[1].foresee(tick, tick + 20)
        assert made[0].foreseen_change == made[1].foreseen_change
    assert [tuple(one) for one in made[0].skipped] == [tuple(one) for one in made[1].skipped]
    assert made[0].skipped
    assert made[0].late_ticks == made[1].late_ticks > 0
