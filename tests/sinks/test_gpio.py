"""The thread that drives valves, in real time over a chip in memory. Nothing here asserts how fast it is."""

import time

import pytest

from pitcore.errors import SinkError
from pitcore.metrics import Metrics
from pitcore.sinks.gpio import GpioSink
from pitcore.sinks.lines import Lines
from pitcore.sinks.simulated_chip import SimulatedChip, SteadyBelt
from tests.sinks.valves import CONFIG, DISTANCE, PLAN, verdict

PATIENCE_S = 30.0
TICKS_PER_S = 4000.0


class Switch:
    def __init__(self, *, armed):
        self.armed = armed


class Rig:
    """A sink with its chip; the belt runs as soon as ``run`` is called."""

    def __init__(self, *, armed=True):
        self.start_ns = None
        self.chip = SimulatedChip(SteadyBelt(lambda: self.start_ns, TICKS_PER_S).steps())
        self.arming, self.metrics = Switch(armed=armed), Metrics()
        self.sink = GpioSink(PLAN, CONFIG, Lines(self.chip, CONFIG), self.arming, self.metrics)

    def run(self):
        self.sink.start()
        for tick in range(0, round(TICKS_PER_S * 2 * PATIENCE_S), 200):
            self.sink.judged(tick)  # whatever comes is judged; what is under the nozzles now is not
        self.start_ns = time.monotonic_ns()
        return self

    def tick(self):
        return self.sink.tick_at(time.monotonic_ns())

    def driven(self, lane):
        return [level for _, offset, level in list(self.chip.driven) if offset == lane]


def wait_for(condition, what):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"no {what}"
        time.sleep(0.005)


@pytest.fixture
def rig():
    made = Rig()
    yield made
    made.sink.close()


def test_a_pit_opens_and_shuts_its_valve(rig):
    rig.run()
    wait_for(lambda: rig.tick() > 100, "belt")
    before = len(rig.driven(1))
    rig.sink.emit([verdict(rig.tick() + 1000, x=150)])
    wait_for(lambda: rig.driven(1)[before:][-2:] == [1, 0], "pulse of lane 1")
    rig.sink.emit([])
    assert rig.metrics.value("rejects", "scheduled") == 1
    assert rig.metrics.value("valve_openings", "driven") >= 1
    assert rig.metrics.value("valve_openings", "dry_run") == 0


def test_a_dry_run_does_everything_but_drive_and_says_so():
    rig = Rig(armed=False).run()
    wait_for(lambda: rig.tick() > 100, "belt")
    rig.sink.emit([verdict(rig.tick() + 200)])

    def told():
        rig.sink.emit([])
        return rig.metrics.value("valve_openings", "dry_run")

    wait_for(told, "dry opening")
    rig.sink.close()
    assert all(level == 0 for _, _, level in rig.chip.driven)
    assert rig.metrics.value("valve_openings", "driven") == 0


def test_disarming_shuts_open_valves_and_arming_lets_them_fire(rig):
    rig.arming.armed = False
    rig.run()
    wait_for(lambda: rig.tick() > 100, "belt")
    assert rig.chip.level(0) == 0
    place = rig.tick()
    for number in range(400):  # one long stretch of pits
        rig.sink.emit([verdict(place + 20 * number)])
    rig.arming.armed = True
    wait_for(lambda: rig.chip.level(0) == 1, "open valve")
    rig.arming.armed = False
    wait_for(lambda: rig.chip.level(0) == 0, "shut valve")


def test_closing_shuts_every_valve_whatever_was_under_it(rig):
    rig.run()
    wait_for(lambda: rig.chip.level(0) == 1, "open valve")  # the fail-safe, at the start
    rig.sink.close()
    assert [rig.chip.level(lane) for lane in range(3)] == [0, 0, 0]
    rig.sink.close()


def test_frames_get_the_tick_the_belt_had_at_their_exposure(rig):
    rig.run()
    wait_for(lambda: rig.tick() > 2000, "belt")
    for tick in (1, 500, 1999):
        at_ns = rig.start_ns + round(tick * 1e9 / TICKS_PER_S)
        assert rig.sink.tick_at(at_ns) == tick
        assert rig.sink.tick_at(at_ns - 1) == tick - 1


def test_a_thread_that_breaks_shuts_the_valves_and_ends_the_service(rig, caplog):
    rig.run()
    wait_for(lambda: rig.chip.level(0) == 1, "open valve")

    def broken():
        raise OSError("the chip is gone")

    rig.sink._lines.read = broken

    def told():
        try:
            rig.sink.emit([])
        except SinkError as error:
            return "the actuator stopped: the chip is gone; the valves are shut" in str(error)
        return False

    wait_for(told, "error")
    assert rig.chip.level(0) == 0
    assert "the actuator stopped" in caplog.text


def test_what_happened_between_frames_is_told_once(rig):
    rig.run()
    wait_for(lambda: rig.tick() > DISTANCE, "belt")
    first = rig.sink.notices()
    assert [notice.event for notice in first] == ["belt_unjudged"]
    rig.sink.emit([verdict(rig.tick() - 2 * DISTANCE)])
    wait_for(lambda: "reject_late" in [notice.event for notice in rig.sink.notices()], "late reject")
    assert rig.sink.notices() == []
