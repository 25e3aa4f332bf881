"""Tests that no valve opens over a stopped belt, because a person may be at the nozzles."""

import pytest

from pitcore.actuation.actuator import Actuator, FiringRules, acts_of
from tests.actuation.test_valve_loop import virtual_loop
from tests.actuation.valves import CONFIG, DISTANCE, PLAN, PULSE, verdict

MS = 1_000_000
MINUTE_NS = 60_000 * MS
RULES = FiringRules()


def run(actuator, ticks, now_ns):
    """Move the belt to each tick, every 0.2 ms; return the open valves at each tick, and the time."""
    masks = []
    for tick in ticks:
        now_ns += MS // 5
        masks.append(actuator.step(tick, now_ns))
    return masks, now_ns


def stand(actuator, tick, now_ns, for_ns=400 * MS):
    """Stop the belt for a time; return all valves that were open in it."""
    return {actuator.step(tick, now_ns + passed) for passed in range(0, for_ns, 10 * MS)}


@pytest.mark.parametrize("tick", [1, -1, RULES.jitter_ticks])
def test_encoder_jitter_after_a_start_opens_no_valve(tick):
    actuator = Actuator(PLAN, RULES)
    assert stand(actuator, 0, 0) == {0}
    assert stand(actuator, tick, MINUTE_NS) == {0}
    assert stand(actuator, 0, 2 * MINUTE_NS) == {0}


@pytest.mark.parametrize("at_row_0", [2000 - DISTANCE, 1990 - DISTANCE, 1900 - DISTANCE])
def test_a_late_verdict_on_a_belt_that_stopped_ten_minutes_ago_opens_no_valve_until_the_belt_runs(at_row_0):
    actuator = Actuator(PLAN, RULES)
    for tick in range(0, 3000, 100):
        actuator.judged(tick, 0)
    _, now_ns = run(actuator, range(2001), 0)
    now_ns += 10 * MINUTE_NS
    assert actuator.step(2000, now_ns) == 0
    actuator.take(acts_of([verdict(at_row_0)]))
    assert stand(actuator, 2000, now_ns) == {0}
    assert stand(actuator, 2001, now_ns + MINUTE_NS) == {0}
    masks, _ = run(actuator, range(2001, 2010), now_ns + 2 * MINUTE_NS)
    assert masks[-1] & 1


def test_belt_that_the_fail_safe_rejects_opens_no_valve_while_it_is_stopped():
    actuator = Actuator(PLAN, RULES)
    _, now_ns = run(actuator, range(2001), 0)  # nothing is judged
    assert actuator.step(2000, now_ns) & 3 == 3
    assert actuator.step(2000, now_ns + RULES.max_on_ns + MS) == 0
    assert stand(actuator, 2001, now_ns + MINUTE_NS) == {0}


def test_a_pit_under_the_nozzle_of_a_creeping_belt_is_fired_at_when_the_belt_runs():
    actuator = Actuator(PLAN, RULES)
    for tick in range(0, 4000, 100):
        actuator.judged(tick, 0)
    _, now_ns = run(actuator, range(2001), 0)
    actuator.take(acts_of([verdict(2030 - DISTANCE)]))
    masks = []
    for tick in range(2001, 2060):  # slower than a belt that runs
        now_ns += RULES.max_on_ns + MS
        masks.append(actuator.step(tick, now_ns))
    assert not any(masks)
    masks, _ = run(actuator, range(2060, 2200), now_ns)
    assert sum(masks) == PULSE - 1  # lane 0, from the tick after it was found
    assert actuator.counts["reject_skipped"] == 1


def test_edges_read_after_the_belt_stopped_open_no_valve(monkeypatch):
    machine, _, chip, loop = virtual_loop(monkeypatch, CONFIG, range(1, 3000))
    loop.turn()
    machine.now_ns += 5000 * MS  # the process did not run while the belt moved and stopped
    before = len(chip.driven)
    for _ in range(100):
        loop.turn()
    assert 1 not in [level for _, _, level in chip.driven][before:]


def test_arming_at_a_stopped_belt_opens_no_valve(monkeypatch):
    machine, board, chip, loop = virtual_loop(monkeypatch, CONFIG, range(1, 3000))
    board.set("armed", 0)
    while board.history.tick < 2999:
        loop.turn()
    machine.now_ns += 1000 * MS
    loop.turn()
    board.set("armed", 1)
    for _ in range(100):
        loop.turn()
    assert {chip.level(lane) for lane in range(3)} == {0}
