from dataclasses import replace

import pytest

from pitcore.actuation.actuator import COVER_TICKS, Actuator, FaultReporter, FiringRules, acts_of
from tests.actuation.valves import DISTANCE, PLAN, PULSE, verdict

TICK_NS = 200_000  # 5,000 ticks a second
HALF = PULSE // 2
RUN_UP = FiringRules().jitter_ticks + 1  # a belt that stood runs when it has come so far


class Line:
    """Moves a belt tick by tick, and records the ticks at which each lane's valve was open."""

    def __init__(self, *, judge=True, start=0, plan=PLAN, **rules):
        self.actuator = Actuator(plan, FiringRules(**rules), start)
        self.open = [set() for _ in plan.lanes]
        self._judge = judge
        self._teller = FaultReporter("reject")
        self.tick, self.now_ns = start, start * TICK_NS

    def run(self, ticks, lead=0):
        for tick in ticks:
            self.tick, self.now_ns = tick, self.now_ns + TICK_NS
            if self._judge and tick % 100 == 0:
                self.actuator.judged(tick, self.now_ns)
            mask = self.actuator.step(tick, self.now_ns, (tick + lead, tick + lead))
            for lane, opened in enumerate(self.open):
                if mask >> lane & 1:
                    opened.add(tick)
        return self

    def stand(self, for_ns):
        mask = 0
        for _ in range(for_ns // 1_000_000):
            self.now_ns += 1_000_000
            mask = self.actuator.step(self.tick, self.now_ns)
        return mask

    def take(self, verdicts):
        self.actuator.take(acts_of(verdicts))

    def notices(self):
        return {notice.event: notice.count for notice in self._teller.notices(self.actuator.counts)}


def judged_line(**rules):
    """Return a line after a start-up run, so that all belt before the nozzles is judged."""
    line = Line(**rules).run(range(2000))
    line.notices()
    line.open = [set() for _ in PLAN.lanes]
    return line


def ticks(middle):
    return set(range(middle - HALF, middle + HALF))


def test_each_action_opens_its_own_lane_where_the_cherry_is_and_nothing_else():
    line = judged_line()
    line.take([verdict(1900), verdict(1950, x=150), verdict(1800, action="review"), verdict(1850, action="pass")])
    line.run(range(2000, 4000))
    assert line.open[0] == ticks(1900 + DISTANCE)
    assert line.open[1] == ticks(1950 + DISTANCE)
    assert line.open[2] == ticks(1800 + DISTANCE + 500)
    assert line.notices() == {}


def test_a_thing_judged_in_two_frames_is_fired_at_once_and_counted_as_known():
    line = judged_line()
    line.take([verdict(1900, tick=1960), verdict(1900, tick=2100)])
    line.run(range(2000, 4000))
    assert line.open[0] == ticks(1900 + DISTANCE)
    assert (line.actuator.counts["scheduled"], line.actuator.counts["known"]) == (1, 1)
    assert line.actuator.counts["openings"] == 2 + 1  # one for each reject lane at the start


def test_a_late_verdict_under_fail_safe_pass_is_counted_and_hits_nothing():
    line = judged_line(rejects_unjudged=False).run(range(2000, 3000))
    line.take([verdict(3000 - DISTANCE - 2 * PULSE)])
    line.run(range(3000, 4000))
    assert line.open[0] == set()
    assert line.notices() == {"reject_late": 1}
    assert line.actuator.counts["scheduled"] == 0


def test_a_late_verdict_under_fail_safe_reject_fires_at_once():
    line = judged_line().run(range(2000, 3000))
    line.take([verdict(3000 - DISTANCE - 2 * PULSE)])
    line.run(range(3000, 4000))
    assert line.open[0] == set(range(3000, 2999 + PULSE))
    assert line.notices() == {"reject_late": 1}


def test_a_verdict_in_the_middle_of_its_pulse_is_late_and_fires_what_is_left():
    line = judged_line(rejects_unjudged=False).run(range(2000, 3001))
    line.take([verdict(3000 - DISTANCE)])
    line.run(range(3001, 4000))
    assert line.open[0] == set(range(3001, 3000 + HALF))
    assert line.notices() == {"reject_late": 1}


def test_a_verdict_whose_cherry_has_passed_fires_a_whole_pulse_under_fail_safe_reject():
    came = 3000 + HALF - 3
    line = judged_line().run(range(2000, came))
    line.take([verdict(3000 - DISTANCE)])
    line.run(range(came, 4000))
    assert line.open[0] == set(range(came, came - 1 + PULSE))
    assert line.notices() == {"reject_late": 1}


def test_a_verdict_one_tick_late_is_in_time():
    line = judged_line().run(range(2000, 2982))
    line.take([verdict(3000 - DISTANCE)])
    line.run(range(2982, 4000))
    assert line.open[0] == set(range(2982, 3000 + HALF))
    assert line.notices() == {}


def test_belt_before_the_nozzles_at_the_start_is_unjudged_and_rejected():
    line = Line().run(range(2000))
    first_judged = -300  # the row at the frame's far end at tick 0
    assert line.open[0] == set(range(RUN_UP, first_judged + DISTANCE + HALF))
    assert line.notices() == {"belt_unjudged": 1}


def test_belt_without_verdicts_is_rejected_until_verdicts_come_again():
    line = judged_line()
    line._judge = False  # a camera that hangs: the last frame judged was that of tick 1900
    line.run(range(2000, 4000))
    unjudged_from = 1900 - 30 + DISTANCE
    assert min(line.open[0]) in range(unjudged_from - HALF - COVER_TICKS, unjudged_from - HALF + 1)
    assert line.open[0] >= set(range(unjudged_from - HALF, 4000))
    line._judge = True
    line.open = [set() for _ in PLAN.lanes]
    line.run(range(4000, 7000))
    judged_again = 4000 - 300 + DISTANCE
    assert line.open[0] == set(range(4000, judged_again + HALF))
    assert line.open[2] == set()  # the fail-safe rejects, it does not review
    assert line.notices() == {"belt_unjudged": 1}


def test_a_frame_missing_in_between_is_rejected_for_as_long_as_no_frame_showed_it():
    line = judged_line()
    line._judge = False
    line.run(range(2000, 2400))
    line._judge = True
    line.run(range(2400, 5000))
    first, last = 1900 - 30 + DISTANCE - HALF, 2400 - 300 + DISTANCE + HALF
    assert line.open[0] == set(range(first, last))


def test_under_fail_safe_pass_unjudged_belt_is_counted_and_let_through():
    line = Line(judge=False, rejects_unjudged=False).run(range(3000))
    assert line.open[0] == set()
    assert line.notices() == {"belt_unjudged": 1}


@pytest.mark.parametrize("rejects_unjudged", [False, True])
def test_unjudged_belt_is_counted_where_all_lanes_review_and_fires_none_of_them(rejects_unjudged):
    line = Line(judge=False, plan=replace(PLAN, lanes=PLAN.lanes[2:]), rejects_unjudged=rejects_unjudged)
    line.run(range(3000))
    assert line.open[0] == set()
    assert line.notices() == {"belt_unjudged": 1}


def test_a_late_verdict_on_belt_that_the_fail_safe_rejected_is_still_counted_as_late():
    line = judged_line()
    line._judge = False
    line.run(range(2000, 3300))
    line.take([verdict(3200 - DISTANCE)])
    line.run(range(3300, 3310))
    assert line.notices() == {"belt_unjudged": 1, "reject_late": 1}


def test_an_open_valve_closes_when_the_belt_stops_and_opens_when_it_runs_again():
    line = judged_line(max_on_ns=50_000_000)
    line.take([verdict(1900)])
    line.run(range(2000, 2901))
    assert line.stand(49_000_000) == 1
    assert line.stand(10_000_000) == 0
    assert line.notices() == {"valve_held": 1}
    line.run(range(2901, 4000))
    assert line.open[0] == ticks(1900 + DISTANCE) - set(range(2901, 2900 + RUN_UP))


def test_no_valve_opens_before_the_belt_has_run():
    line = Line(judge=False)
    assert line.stand(500_000_000) == 0
    assert line.notices() == {"belt_unjudged": 1}
    line.run(range(1, 5))
    assert line.open[0] == {3, 4}


def test_encoder_jitter_does_not_keep_a_valve_open():
    line = judged_line(max_on_ns=50_000_000)
    line.take([verdict(1900)])
    line.run(range(2000, 2901))
    mask = 1
    for step in range(100):
        line.now_ns += 1_000_000
        mask = line.actuator.step(2900 - step % 2, line.now_ns)
    assert mask == 0


def test_a_pulse_between_two_readings_of_the_encoder_is_counted_and_made_up_for():
    for fail_safe in (True, False):
        line = judged_line(rejects_unjudged=fail_safe)
        line.take([verdict(1900)])
        line.run(range(2000, 2800))
        line.actuator.judged(2950, 0)
        line.run(range(2950, 3200))  # the count jumped over it
        assert line.open[0] == (set(range(2951, 2950 + PULSE)) if fail_safe else set())
        assert line.notices() == {"reject_skipped": 1}


@pytest.mark.parametrize("lead", [0, 20, 50])
def test_a_slow_valve_is_switched_earlier_by_as_far_as_the_belt_runs_meanwhile(lead):
    line = judged_line(latency_ns=lead * TICK_NS)
    line.take([verdict(1900)])
    line.run(range(2000, 4000), lead)
    assert line.open[0] == {tick - lead for tick in ticks(1900 + DISTANCE)}
    assert line.actuator.counts["reject_skipped"] == 2 * (lead > 0)  # both lanes at the start, without a lead


def test_cherries_on_their_way_to_the_nozzles_are_counted_until_they_have_passed():
    line = judged_line()
    line.take([verdict(1900), verdict(1900, tick=2100), verdict(1950, x=150), verdict(1800, action="review")])
    line.run(range(2000, 2900))
    assert line.actuator.ahead() == 3
    line.run(range(2900, 1950 + DISTANCE + HALF))
    assert line.actuator.ahead() == 2
    line.run(range(line.tick, 1800 + DISTANCE + 500 + HALF + 1))
    assert line.actuator.ahead() == 0


def test_a_pit_on_belt_that_the_fail_safe_rejects_is_counted_as_on_its_way():
    line = judged_line()
    line.actuator.judged(8000, 0)
    line.take([verdict(5000)])
    line.run(range(2000, 2010))
    assert line.actuator.ahead() == 1


def test_a_plan_without_lanes_does_nothing():
    actuator = Actuator(type(PLAN)(1.0, (0, 300), 60, ()), FiringRules())
    actuator.judged(0, 0)
    actuator.take(acts_of([verdict(0)]))
    assert [actuator.step(tick, tick) for tick in range(0, 5000, 100)] == [0] * 50
    assert not any(actuator.counts.values())
