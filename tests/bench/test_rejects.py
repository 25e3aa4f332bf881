"""Runs the line in virtual time, reduced, and checks that its report detects injected errors."""

from dataclasses import replace

import numpy as np
import pytest

from pitcore.actuation.actuator import Actuator, acts_of
from pitcore.actuation.late_air import LateAir
from pitcore.actuation.wakeup_margin import Gap
from pitcore.belt.lead import Lead
from pitcore.bench import reject_report, rejects, schedule_speed
from pitcore.bench.reject_account import Run, settle, settle_crowd, settle_touching
from pitcore.bench.reject_latency import LATENCIES_MS, braking, delayed
from pitcore.bench.reject_line import (
    CHERRY_PX,
    HEIGHT_PX,
    LANES,
    PLAN,
    PULSE_TICKS,
    SPACING_TICKS,
    lay,
    lay_crowded,
    lay_touching,
    steps,
)
from pitcore.bench.rejects import RejectResult, crowded, touching, virtual
from pitcore.bench.schedule_speed import Speed

RUNS = [
    pytest.param(4_000, 1),
    pytest.param(4_000, 2),
    pytest.param(100_000, 1, marks=pytest.mark.full),  # a fault that missed one pit in 4,000 passed the short runs
]


@pytest.mark.parametrize(("cherries", "seed"), RUNS)
def test_every_pit_is_hit_within_a_tick_and_nothing_else_whatever_the_belt_does(cherries, seed):
    outcome = virtual(cherries, seed)
    account = outcome.account
    assert (account.missed, account.doubled, account.clean_hit, account.stray) == (0, 0, 0, 0)
    assert set(account.error_ticks) <= {-1, 0, 1}
    assert account.good
    assert account.cherries == cherries
    assert account.pits > cherries // 5
    assert sum(account.error_ticks.values()) == 2 * account.pits
    assert outcome.backed_up > 1000  # and the belt stopped, trembled and reversed as configured
    assert outcome.lost > 10
    assert outcome.glitches > 10
    assert outcome.counts["known"] > 20  # things were judged twice
    assert outcome.counts["belt_unjudged"] == 1  # at the start only


def test_the_benchmark_detects_a_board_that_fires_nothing(monkeypatch):
    monkeypatch.setattr(Actuator, "take", lambda *_: None)
    account = virtual(1000, 1).account
    assert account.missed == account.pits
    assert not account.good


def even_run(shift=0, lanes=range(LANES), extra=()):
    """Cherries on a belt at one tick a microsecond, and valves that are correct except for a shift."""
    cherries = lay(800, 1)
    ticks = np.arange(1, int(cherries.due.max()) + 400)
    pulses = [
        (int(due) + shift - PULSE_TICKS // 2, int(due) + shift + PULSE_TICKS // 2, int(lane))
        for due, lane, pit in zip(cherries.due, cherries.lane, cherries.pit, strict=True)
        if pit and lane in lanes
    ]
    driven = [(at * 1000, lane, level) for on, off, lane in [*pulses, *extra] for at, level in ((on, 1), (off, 0))]
    return Run(ticks * 1000, ticks, sorted(driven)), cherries


def test_the_account_of_a_right_run_is_clear():
    account = settle(*even_run())
    assert account.good
    assert set(account.error_ticks) == {0}
    assert set(account.error_us) == {0.0}


@pytest.mark.parametrize("shift", [-3, -2, 2, 3])
def test_the_account_finds_pulses_that_are_off(shift):
    account = settle(*even_run(shift))
    assert set(account.error_ticks) == {shift}
    assert set(account.error_us) == {float(shift)}
    assert not account.good


def test_a_late_pulse_is_attributed_to_the_scheduling_gap_it_fell_into_only():
    account = settle(*even_run(3))
    assert len(account.off) == sum(account.error_ticks.values())
    since, until = account.off[0]
    assert until - since == 3000  # three ticks of a microsecond
    beyond = (max(until for _, until in account.off) + 10, max(until for _, until in account.off) + 20, Gap.AWAKE, 0)
    gaps = [(since - 10, since + 5, Gap.AT_WORK, 0), (since + 1, until - 1, Gap.ASLEEP, 1499), beyond]
    outcome = RejectResult(settle(*even_run()), 1, 0, 0, 0, {}, 1.0, np.asarray(gaps))
    assert outcome.held_up() == {}
    only = replace(account, off=[(since, until)])
    assert replace(outcome, account=only).held_up() == {Gap.ASLEEP: 1}
    assert replace(outcome, account=only, gaps=np.asarray([beyond])).held_up() == {None: 1}
    said = reject_report.text("real time", replace(outcome, account=only))
    told = [line.split() for line in said.splitlines()]
    assert ["woken", "late", "1", "3", "50%", "1"] in told
    assert ["no", "pause", "0"] in told


def test_a_missed_pulse_and_a_stray_one_are_noted_with_their_time():
    run, cherries = even_run(lanes=range(1, LANES), extra=[(100, 120, 1)])
    account = settle(run, cherries)
    assert len(account.off) == account.missed + account.stray
    first = int(cherries.due[cherries.pit & (cherries.lane == 0)][0])
    assert account.off[0] == ((first - PULSE_TICKS // 2) * 1000, (first + PULSE_TICKS // 2) * 1000)


def test_the_account_finds_missing_and_stray_pulses_and_clean_ones_that_are_hit():
    assert settle(*even_run(lanes=range(1, LANES))).missed > 0
    _, cherries = even_run()
    clean = next(
        index
        for index in np.flatnonzero(~cherries.pit)
        if 0 < index < 90 and not cherries.pit[index - 1] and not cherries.pit[index + 1]
    )
    middle = int(cherries.due[clean])
    account = settle(*even_run(extra=[(middle - 5, middle + 5, int(cherries.lane[clean]))]))
    assert (account.clean_hit, account.stray, account.good) == (1, 1, False)


def test_the_account_finds_a_pit_that_is_fired_at_twice():
    cherries = lay(800, 1)
    first = int(np.flatnonzero(cherries.pit & (cherries.lane == 0))[0])
    due = int(cherries.due[first])
    forward, back = np.arange(1, due + 30), np.arange(due + 28, due - 40, -1)
    again = np.arange(due - 38, int(cherries.due.max()) + 400)
    ticks = np.concatenate([forward, back, again])
    t_ns = np.arange(1, len(ticks) + 1) * 1000
    run, _ = even_run()
    on, off = due - PULSE_TICKS // 2, due + PULSE_TICKS // 2
    delay = len(forward) + len(back)
    later = [(t + (delay - (due - 39)) * 1000, lane, level) for t, lane, level in run.driven if t > off * 1000]
    second = [((delay + on - due + 39) * 1000, 0, 1), ((delay + off - due + 39) * 1000, 0, 0)]
    firsts = [change for change in run.driven if change[0] <= off * 1000]
    account = settle(Run(t_ns, ticks, sorted([*firsts, *second, *later])), cherries)
    assert account.doubled == 1


def test_on_a_crowded_belt_no_pit_is_missed_and_only_neighbours_of_pits_are_hit():
    crowd = crowded(1600, 96, 1)
    assert crowd.missed == 0
    assert crowd.pits + crowd.clean == 1600
    assert 0 < crowd.blown_off == crowd.beside < crowd.clean / 2
    assert f"{crowd.blown_off / crowd.clean:.1%}" in reject_report.crowd_text({96: crowd})


def test_the_account_of_a_crowd_finds_what_is_missed_and_what_is_hit_without_need(monkeypatch):
    right = settle_crowd(*even_run())
    assert (right.missed, right.blown_off, right.beside) == (0, 0, 0)
    late = settle_crowd(*even_run(2))
    assert late.missed == late.pits > 100
    _, cherries = even_run()
    middle, lane = int(cherries.due[~cherries.pit][0]), int(cherries.lane[~cherries.pit][0])
    assert settle_crowd(*even_run(extra=[(middle - 5, middle + 5, lane)])).blown_off == 1
    monkeypatch.setattr(Actuator, "take", lambda *_: None)
    silent = crowded(800, 96, 1)
    assert (silent.missed, silent.blown_off) == (silent.pits, 0)


@pytest.mark.parametrize("latency_ms", LATENCIES_MS)
def test_valves_with_a_latency_miss_no_pit_that_can_be_foreseen_and_count_each_cut_pulse(latency_ms):
    late = delayed(2000, latency_ms, 1)
    assert late.good
    assert (late.missed[0], late.silent, late.over_standing) == (0, 0, 0)
    assert late.cut[0] <= 2
    assert late.pits[0] > 400
    assert late.pits[1] > 5
    assert late.hit <= late.clean / 100
    assert late.events <= sum(late.cut) + 2 * late.starts
    said = reject_report.late_text([late])
    assert said.endswith("  every pit that could be foreseen is hit, and every cut pulse is counted")


def test_the_benchmark_detects_valves_whose_latency_is_ignored(monkeypatch):
    monkeypatch.setattr(Lead, "at_nozzle", lambda lead, _: (lead._history.tick, lead._history.tick))
    late = delayed(1000, 10, 1)
    assert not late.good
    assert late.missed[0] > late.pits[0] / 2
    assert reject_report.late_text([late]).splitlines()[-1].startswith("  NOT every")


def test_the_benchmark_detects_cut_pulses_that_are_not_counted(monkeypatch):
    monkeypatch.setattr(LateAir, "cut", lambda *_: 0)
    assert delayed(2000, 20, 1).silent > 0


def test_the_belt_that_brakes_makes_every_step_in_order():
    motion = braking(30_000, 6000.0, 1)
    assert (np.diff(motion.t_ns) >= 0).all()
    assert set(np.diff(motion.tick).tolist()) == {1, -1}
    assert motion.tick[0] == 1
    assert motion.tick.max() >= 30_000
    assert np.diff(motion.t_ns).max() > 250_000_000  # it stands


def test_every_pit_that_touches_gets_air_and_nothing_is_hit_beyond_clusters_and_pits():
    told = touching(3600, 24, 1)
    assert told.pits > 600
    assert (told.without_air, told.missed, told.needless) == (0, 0, 0)
    assert told.taken_along > told.pits
    assert 0 < told.hit <= told.beside < told.clean / 2
    assert f"0 of {told.pits:,} touching pits without air" in reject_report.touching_text(told, 24)


def test_the_account_of_touching_cherries_finds_pits_without_air_and_hits_without_need(monkeypatch):
    run, cherries = even_run()
    assert settle_touching(run, cherries)[:4] == (0, 0, 0, 0)  # none touches
    assert settle_touching(*even_run(2)).missed > 100
    middle, lane = int(cherries.due[~cherries.pit][0]), int(cherries.lane[~cherries.pit][0])
    assert settle_touching(*even_run(extra=[(middle - 5, middle + 5, lane)])).needless == 1
    monkeypatch.setattr(rejects, "acts_of", lambda said: [act._replace(one_cherry=True) for act in acts_of(said)])
    assert touching(800, 24, 1).without_air > 0, "a cluster that is hit like one cherry"


def test_touching_cherries_are_placed_so_that_no_others_touch():
    cherries = lay_touching(1600, 24, 1)
    assert set(np.bincount(np.bincount(cherries.cluster))[1:] > 0) == {True}
    apart = np.hypot(cherries.at_row_0[:, None] - cherries.at_row_0, cherries.x[:, None] - cherries.x)
    gaps = apart - cherries.radius[:, None] - cherries.radius
    other = cherries.cluster[:, None] != cherries.cluster
    assert gaps[other].min() >= 2
    following = np.flatnonzero(np.diff(cherries.cluster) == 0)
    assert gaps[following, following + 1].max() < 0
    lanes = np.asarray([PLAN.lanes[number].x_px for number in cherries.lane])
    assert ((cherries.x >= lanes[:, 0]) & (cherries.x < lanes[:, 1])).all()


def test_a_crowded_belt_is_as_crowded_as_it_says_and_none_lies_over_another():
    cherries = lay_crowded(1600, 96, 1)
    for lane in range(LANES):
        mine = cherries.lane == lane
        along, x = cherries.at_row_0[mine], cherries.x[mine]
        assert (np.diff(along) >= 0).all()
        apart = np.hypot(along[:, None] - along, x[:, None] - x) + np.eye(len(along)) * CHERRY_PX
        assert apart.min() >= CHERRY_PX
    assert 1600 * HEIGHT_PX / np.ptp(cherries.at_row_0) == pytest.approx(96, rel=0.05)


def test_the_benchmark_line_has_the_configured_values():
    cherries = lay(2000, 3)
    for lane in range(LANES):
        assert np.diff(cherries.at_row_0[cherries.lane == lane]).min() >= SPACING_TICKS
    t_ns, ticks = steps(50_000, 5000.0, 4)
    assert (np.diff(t_ns) > 0).all()
    assert set(np.diff(ticks).tolist()) == {1, -1}
    assert ticks.min() >= 0
    assert ticks.max() > 50_000


def test_the_report_lists_every_result():
    said = reject_report.text("virtual time", virtual(500, 1))
    assert "500 cherries" in said
    assert "0 missed, 0 fired at twice" in said
    assert said.endswith("  every pulse is within a tick of its place, and none beside it")
    assert reject_report.wake_text(np.arange(101.0)).endswith("least 0, p50 50, p90 90, p99 99, most 100")
    assert reject_report.speed_text(Speed(compiled=True, installed_ns=100.0, plain_ns=300.0)).endswith(
        "100 ns a tick; as plain Python 300: 3.0 times. At 5000 ticks a second 0.050% of a core instead of 0.150%"
    )


def test_both_schedules_are_timed_on_the_same_load(monkeypatch):
    monkeypatch.setattr(schedule_speed, "TICKS", 2000)
    speed = schedule_speed.measure()
    assert speed.compiled
    assert speed.plain_ns > 0
