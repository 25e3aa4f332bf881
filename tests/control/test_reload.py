import contextlib
import itertools
import logging
import os
import threading
import time
import weakref
from pathlib import Path

import pytest

from pitcore.camera.source import Exposure, ExposureLimits
from pitcore.config import BoardCalibration, CalibrationConfig, DecisionConfig, PlaneCalibration, RuntimeConfig
from pitcore.control import reload as reload_module
from pitcore.control.reload import NICENESS, Reloader
from pitcore.errors import ConfigError, ControlError, SourceError
from pitcore.loop.app import App, Options
from pitcore.loop.pipeline import Hooks
from pitcore.metrics import Metrics
from pitcore.sinks.memory import MemorySink
from tests.conftest import tiny_card, write_card, write_tiny_bundle
from tests.control import scenario
from tests.control.scenario import PAUSE_S, EndlessSource, Running
from tests.patience import PATIENCE_S
from tests.scene import HEIGHT, MAYBE, WIDTH, ListSource, config_for, planes_with, still


@pytest.fixture
def other(tmp_path):
    """Another model, which calls every square of the scenario a pit."""
    bundle = write_tiny_bundle(tmp_path / "other")
    write_card(bundle, tiny_card(bundle) | {"version": "2.0.0", "thresholds": {"accept": 0.1, "reject": 0.4}})
    return bundle


def test_the_loop_goes_on_while_a_model_loads_and_no_frame_is_lost(tiny_bundle, other):
    go_on = threading.Event()

    def read_config():
        assert go_on.wait(PATIENCE_S)  # the reload waits here, and the belt must not
        return config_for(other)

    def script(run):
        yield
        run.reloader.ask("anna")
        for _ in range(20):
            assert run.reloader.last is None
            yield
        go_on.set()
        while run.reloader.last is None:
            yield
        for _ in range(5):
            yield

    run = Running(config_for(tiny_bundle), script, read_config)
    lines = run.memory.verdicts
    assert [line.frame.seq for line in lines] == list(range(run.source.lent))
    assert [(version, verdict) for (version, verdict), _ in itertools.groupby(lines, named)] == [
        ("1.2.3", "maybe"),
        ("2.0.0", "pit"),
    ]
    first_new = next(line.frame.seq for line in lines if line.model.version == "2.0.0")
    assert first_new > 20
    (event,) = run.memory.events
    assert (event.event, event.seq) == ("reload_ok", first_new)
    assert "model tiny@2.0.0" in event.detail
    assert event.detail.endswith("; asked by anna")
    assert run.source.given_back == run.source.lent


def named(line):
    return line.model.version, line.verdict


def test_many_changes_lose_nothing_and_every_line_names_its_model_and_configuration(tiny_bundle, other):
    configs = [config_for(tiny_bundle), config_for(other)]
    order = itertools.cycle([configs[1], configs[0]])

    def script(run):
        for _ in range(10):
            yield from run.reloaded()
        yield  # a frame of the last one

    run = Running(configs[0], script, lambda: next(order))
    lines = run.memory.verdicts
    assert [line.frame.seq for line in lines] == list(range(run.source.lent))
    assert {(line.model.version, line.verdict, line.config) for line in lines} == {
        ("1.2.3", "maybe", configs[0].sha256),
        ("2.0.0", "pit", configs[1].sha256),
    }
    assert sum(a.model != b.model for a, b in itertools.pairwise(lines)) == 10
    assert [event for event, _ in run.events] == ["reload_ok"] * 10


def test_the_old_model_is_destroyed_at_once_without_the_garbage_collector(tiny_bundle, other):
    old = []

    def script(run):
        old.append(weakref.ref(run.app.now.stages.session))
        yield from run.reloaded()
        yield

    run = Running(config_for(tiny_bundle), script, config_for(other))
    assert run.reloader.last.state == "ok"
    assert old[0]() is None


@pytest.mark.parametrize(
    ("later", "why"),
    [
        ({"decision": DecisionConfig(reject=0.95)}, "looser than the model card's 0.8"),
        ({"runtime": RuntimeConfig(queue_frames=7)}, "[runtime] queue_frames changed: this needs a restart"),
    ],
)
def test_a_refused_reload_leaves_everything_as_it_was_and_says_why(tiny_bundle, later, why, caplog):
    def script(run):
        yield from run.reloaded("SIGHUP")
        yield

    config = config_for(tiny_bundle)
    run = Running(config, script, config_for(tiny_bundle, **later))
    assert run.app.config is config
    last = run.reloader.last
    assert (last.state, last.by) == ("refused", "SIGHUP")
    assert why in last.detail
    (event,) = run.events
    assert event[0] == "reload_refused"
    assert why in event[1]
    assert {line.config for line in run.memory.verdicts} == {config.sha256}
    assert "reload refused, the old configuration stays in use" in caplog.text


def test_a_camera_that_refuses_the_new_exposure_does_not_end_the_service(tiny_bundle, other):
    refusing, asked = [], []

    def set_exposures(wanted):
        asked.append(tuple(wanted))
        if wanted[0].exposure_us == 700.0:
            raise SourceError("camera top: the trigger's pulse exposes it")

    def script(run):
        run.source.exposures, run.source.set_exposures = (Exposure(500.0), Exposure(500.0)), set_exposures
        run.source.exposure_limits, run.source.settle_frames = ExposureLimits(1.0, 1e4, 4.0), 0
        yield from run.reloaded()
        refusing.append(run.reloader.last)
        for _ in range(5):
            yield
        yield from run.reloaded()

    plane = PlaneCalibration(exposure_us=700.0, gain=1.0)
    values = BoardCalibration("pitcore.calibration/1", HEIGHT, WIDTH, {"top": plane, "bottom": plane})
    laters = [config_for(other, calibration=CalibrationConfig(values=values)), config_for(other)]
    run = Running(config_for(tiny_bundle), script, lambda: laters.pop(0))
    assert refusing[0].state == "refused"
    assert "the trigger's pulse exposes it; asked by anna" in refusing[0].detail
    assert asked == [(Exposure(700.0),) * 2, (Exposure(500.0),) * 2]  # those from before hold again
    assert [event for event, _ in run.events] == ["reload_refused", "reload_ok"]
    assert [line.frame.seq for line in run.memory.verdicts] == list(range(run.source.lent))


def test_a_model_that_fails_its_golden_vectors_never_judges(tiny_bundle, tmp_path):
    bad = write_tiny_bundle(tmp_path / "bad", golden_shift=1.0)

    def script(run):
        yield from run.reloaded()
        yield

    run = Running(config_for(tiny_bundle), script, config_for(bad))
    assert "golden vectors are off" in run.reloader.last.detail
    assert {line.verdict for line in run.memory.verdicts} == {"maybe"}


def test_a_bug_in_a_reload_ends_neither_the_service_nor_later_reloads(tiny_bundle, other, caplog):
    answers = [RuntimeError("a bug"), config_for(other)]

    def read_config():
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def script(run):
        yield from run.reloaded()
        assert run.reloader.last.state == "refused"
        assert "a fault of pitcore's: RuntimeError" in run.reloader.last.detail
        yield from run.reloaded()

    run = Running(config_for(tiny_bundle), script, read_config)
    assert run.reloader.last.state == "ok"
    assert "a bug" in caplog.text  # with its traceback


def test_requests_during_a_reload_are_served_by_one_further_reload(tiny_bundle, other, caplog):
    caplog.set_level(logging.INFO)
    first, go_on, reads = threading.Event(), threading.Event(), []

    def read_config():
        reads.append(1)
        first.set()
        assert go_on.wait(PATIENCE_S)
        return config_for(other)

    def script(run):
        run.reloader.ask("anna")
        while not first.is_set():
            yield
        for by in ("SIGHUP", "bert", "SIGHUP"):
            run.reloader.ask(by)
        go_on.set()
        while run.metrics.value("events", "reload_ok") < 2:
            yield

    run = Running(config_for(tiny_bundle), script, read_config)
    assert len(reads) == 2
    assert run.reloader.last.by == "SIGHUP, bert"


def test_each_client_gets_the_result_of_its_own_reload(tiny_bundle, other):
    results = []

    def script(run):
        waiting = threading.Thread(
            target=lambda: results.append(run.reloader.ask_and_wait("anna", PATIENCE_S)), daemon=True
        )
        waiting.start()
        while waiting.is_alive():
            yield

    run = Running(config_for(tiny_bundle), script, config_for(other))
    assert results == [run.reloader.last]
    assert results[0].state == "ok"


def niceness_of_all_threads():
    found = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(ProcessLookupError):  # it has ended
            found.add(os.getpriority(os.PRIO_PROCESS, int(task.name)))
    return found


@pytest.mark.parametrize(("threads", "lower"), [(1, NICENESS), (2, 0)])
def test_the_loop_goes_first_but_no_worker_of_a_network_inherits_a_low_priority(
    tiny_bundle, monkeypatch, threads, lower
):
    before, while_building = niceness_of_all_threads(), []
    prepare = App.prepare

    def watched(app, config):
        while_building.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        return prepare(app, config)

    def script(run):
        yield from run.reloaded()
        while niceness_of_all_threads() != before:  # the new network's workers are among them; the builder has ended
            time.sleep(PAUSE_S)
            yield

    monkeypatch.setattr(App, "prepare", watched)
    run = Running(config_for(tiny_bundle), script, config_for(tiny_bundle, runtime=RuntimeConfig(threads=threads)))
    assert run.reloader.last.state == "ok"
    assert while_building == [min(19, os.getpriority(os.PRIO_PROCESS, 0) + lower)]


class StandingBelt(ListSource):
    """Live: one frame, and then none until ``go_on``; the end follows."""

    def __init__(self):
        super().__init__(still(planes_with((100, 60, MAYBE))), live=True)
        self.go_on = threading.Event()

    def read(self, timeout_s):
        if self.lent:
            assert self.go_on.wait(PATIENCE_S)
        return super().read(timeout_s)


def test_a_reload_is_done_and_recorded_while_the_belt_is_stopped(tiny_bundle, other):
    source, memory, asked = StandingBelt(), MemorySink(), []

    def between_frames():
        reloader.between_frames()
        if not asked:
            asked.append(reloader.ask("anna"))
        if memory.events and reloader.last is not None:
            source.go_on.set()

    options = Options(sinks=[memory], hooks=Hooks(between_frames=between_frames))
    app = App(config_for(tiny_bundle), source, options, Metrics())
    reloader = Reloader(app, lambda: config_for(other))
    reloader.start()
    app.run()
    reloader.close()
    assert reloader.last.state == "ok"
    assert [(event.event, event.seq) for event in memory.events] == [("reload_ok", 0)]


@pytest.fixture
def silent(tiny_bundle):
    """A service whose loop does not run, so that it never takes a reloaded model."""
    app = App(config_for(tiny_bundle), ListSource([]), Options(sinks=[]), Metrics())
    reloader = Reloader(app, lambda: config_for(tiny_bundle, decision=DecisionConfig(reject=0.5)))
    reloader.start()
    yield app, reloader
    reloader.close()


def test_a_reload_that_the_loop_never_takes_is_withdrawn(silent, monkeypatch):
    monkeypatch.setattr(reload_module, "TAKEN_WITHIN_S", 0.1)
    app, reloader = silent
    before = app.now
    result = reloader.ask_and_wait("anna", PATIENCE_S)
    assert result.state == "refused"
    assert "did not take it within 0.1 s" in result.detail
    reloader.between_frames()
    assert app.now is before


def test_the_end_of_the_service_refuses_waiting_reloads(silent):
    app, reloader = silent
    before, results = app.now, []
    waiting = threading.Thread(target=lambda: results.append(reloader.ask_and_wait("anna", PATIENCE_S)), daemon=True)
    waiting.start()
    deadline = time.monotonic() + PATIENCE_S
    while not reloader.busy and not results:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    reloader.close()
    waiting.join()
    assert results[0].state == "refused"
    assert "the service stops" in results[0].detail
    assert app.now is before


def test_a_client_that_times_out_is_told_that_the_reload_may_still_happen(tiny_bundle):
    app = App(config_for(tiny_bundle), ListSource([]), Options(sinks=[]), Metrics())
    reloader = Reloader(app, lambda: config_for(tiny_bundle))  # not started yet
    with pytest.raises(ControlError, match=r"did not (end|start) within 0\.01 s"):
        reloader.ask_and_wait("anna", 0.01)
    reloader.start()
    reloader.close()
    assert reloader.last is None  # it had not begun


def test_a_configuration_that_cannot_be_read_is_refused(tiny_bundle):
    def read_config():
        raise ConfigError("board.toml: not valid TOML")

    def script(run):
        yield from run.reloaded()

    run = Running(config_for(tiny_bundle), script, read_config)
    assert run.reloader.last.detail == "board.toml: not valid TOML; asked by anna"


def test_a_script_that_waits_for_what_never_comes_fails_although_the_frames_are_few(tiny_bundle, monkeypatch):
    read = EndlessSource.read
    monkeypatch.setattr(scenario, "PATIENCE_S", 0.2)
    monkeypatch.setattr(EndlessSource, "read", lambda source, timeout_s: time.sleep(0.1) or read(source, timeout_s))

    def script(_run):
        while True:
            yield

    config = config_for(tiny_bundle)
    with pytest.raises(AssertionError, match=r"what the script waits for did not come within 0\.2 s"):
        Running(config, script, config)
