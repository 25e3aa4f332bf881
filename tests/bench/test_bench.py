import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner

from pitcore import machine
from pitcore.bench import report
from pitcore.bench import sweep as sweep_module
from pitcore.bench.load import WARM_UP_FRAMES, Load, config_for, parse_load
from pitcore.bench.noise import compare
from pitcore.bench.once import allocations, cold_start_ms, swap_ms
from pitcore.bench.run import Sample, measure
from pitcore.bench.sweep import Sweep
from pitcore.cli.bench import SLOWER, bench
from pitcore.cli.errors import INTERRUPTED
from pitcore.config import Config
from pitcore.emulator.emulated import EmulatedSource
from pitcore.errors import ConfigError, OutputError
from pitcore.loop.sources import belt_spec
from pitcore.metrics import PARTS, STAGES
from tests.cli.forks import Forked
from tests.outputs.running import until
from tests.patience import PATIENCE_S

QUICK = ("--load", "4@max", "--frames", "60", "--quick")


def command(*words):
    result = CliRunner().invoke(bench, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("bench") / "report.json"
    return command(*QUICK, "--json", path).output, path


def test_the_parts_of_prepare_are_its_whole_and_the_stages_those_of_the_total():
    sample = measure(Config(), Load(4, None, 1.0, 60))
    parts = sum(sample.stage_ms[name] for name in ("search", "track", "extract"))
    np.testing.assert_allclose(parts, sample.stage_ms["prepare"], atol=1e-6)
    np.testing.assert_allclose(sample.busy_ms, sample.stage_ms["total"], atol=1e-6)
    assert sample.frames == 60
    assert sample.offered == sample.processed + sample.dropped == 60 + WARM_UP_FRAMES
    assert sample.crops > 0


def test_frames_that_come_too_fast_are_dropped_and_every_one_is_counted():
    sample = measure(Config(), Load(24, 900.0, 1.0, 200))
    assert sample.dropped > 0
    assert sample.offered == sample.processed + sample.dropped == 200 + WARM_UP_FRAMES


def test_the_report_says_what_a_line_engineer_asks(written):
    said, path = written
    for word in ("p99.9", "search", "all but infer", "cherries/s", "deadline", "MB resident", "load average"):
        assert word in said
    content = json.loads(path.read_text())
    assert content["schema"] == report.SCHEMA
    assert content["run"]["frames"]["measured"] == 60
    assert content["run"]["stages_ms"]["infer"]["percentiles"] == sorted(
        content["run"]["stages_ms"]["infer"]["percentiles"]
    )
    assert content["run"]["rss_mb"]["emulator_ring"] == pytest.approx(24 * 2 * 500 * 2464 / 1e6)


def test_json_to_the_terminal_is_json_and_nothing_else():
    assert json.loads(command(*QUICK, "--json", "-").output)["model"].startswith("cherry-")


def test_a_run_ten_times_slower_than_the_report_is_called_slower(written, tmp_path):
    content = json.loads(written[1].read_text())
    for stage in content["run"]["stages_ms"].values():
        stage["blocks"] = [value / 10 for value in stage["blocks"]]
    (tmp_path / "fast.json").write_text(json.dumps(content))
    result = command(*QUICK, "--compare", tmp_path / "fast.json", "--fail-if-slower")
    assert "slower" in result.output
    assert result.exit_code == SLOWER


@pytest.mark.parametrize(
    ("old", "new", "verdict"),
    [
        ([10.0, 10.1, 9.9, 10.0] * 5, [10.0, 10.1, 9.9, 10.05] * 5, "no difference"),
        ([10.0, 10.1, 9.9, 10.0] * 5, [12.0, 12.1, 11.9, 12.0] * 5, "slower"),
        ([10.0, 10.1, 9.9, 10.0] * 5, [8.0, 8.1, 7.9, 8.0] * 5, "faster"),
        ([10.0, 30.0, 12.0, 25.0] * 5, [13.0, 31.0, 14.0, 24.0] * 5, "no difference"),
        ([10.0, 10.0, 10.0], [10.1, 10.1, 10.1], "no difference"),
    ],
)
def test_noise_is_not_called_a_difference(old, new, verdict):
    assert compare(old, new).verdict == verdict


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--load", "many"), "--load many: wants CHERRIES or CHERRIES@FPS"),
        (("--load", "24@0"), "wants CHERRIES or CHERRIES@FPS"),
        (("--load", "500"), "at most 200 cherries"),
        (("--compare", "no/such.json"), "cannot be read"),
        ((*QUICK, "--json", "no/such/folder.json"), "cannot be written"),
    ],
)
def test_an_impossible_request_is_a_one_line_error(words, said):
    with pytest.raises((ConfigError, OutputError), match=said):
        command(*words)


@pytest.mark.parametrize("text", ["[]", "{", '{"schema": "other"}'])
def test_a_file_that_is_no_report_is_refused(text, tmp_path):
    (tmp_path / "old.json").write_text(text)
    with pytest.raises(ConfigError, match=r"report|not JSON"):
        command(*QUICK, "--compare", tmp_path / "old.json")


def test_a_report_of_another_load_is_not_compared(written):
    with pytest.raises(ConfigError, match="measure the same"):
        command("--load", "2@max", "--frames", "60", "--quick", "--compare", written[1])


def test_a_fresh_process_gives_a_verdict_and_a_swap_takes_time():
    config = config_for(Config(), parse_load("4", 1.0, None), None)
    assert cold_start_ms(config) > 0
    assert swap_ms(config) > 0


def test_no_frame_keeps_memory():
    found = allocations(Config(), Load(24, None, 1.0))
    assert found.kept_bytes < 20_000  # verdict counters and the tracker's spans, no pixels
    assert found.peak_kb < 500  # a frame has 2464 kB


def test_board_facts_are_read_where_the_system_has_them(tmp_path, monkeypatch):
    for name, text in (("throttled", "50005\n"), ("temp", "61300\n"), ("scaling_cur_freq", "2400000\n")):
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(machine, "THROTTLED", tmp_path / "throttled")
    monkeypatch.setattr(machine, "THERMAL", tmp_path / "temp")
    monkeypatch.setattr(machine, "CPU", tmp_path)
    found = machine.state()
    assert found["throttled"] == ["under-voltage now", "throttled now", "under-voltage has been", "throttling has been"]
    assert (found["temperature_c"], found["clock_mhz"], found["governor"]) == (61.3, 2400.0, None)


def test_the_sweep_fits_a_line_for_each_way_to_share_the_work_and_draws_each_belt_once(monkeypatch):
    drawn, draw = [], EmulatedSource._draw_for_loop
    monkeypatch.setattr(EmulatedSource, "_draw_for_loop", lambda *given: drawn.append(given[1]) or draw(*given))
    changes = {"CHERRIES": (0, 24), "RING": 2, "LEAST_S": 0.1, "LIMIT_S": 3600.0, "usable_cores": lambda: 2}
    for name, value in changes.items():
        monkeypatch.setattr(sweep_module, name, value)
    said = command("--sweep", "--seconds", "1").output
    assert said.count("ms a cherry") == 3
    assert "beside p99" in said
    assert "9 of 9: each layer on 2 threads, 24 in view, beside a busy program: " in said
    assert "not measured" not in said
    assert drawn == [0, 1, 0, 1]


def test_a_sweep_of_a_slow_board_ends_in_two_minutes_with_what_it_has(monkeypatch):
    clock_s, lines = [0.0], []

    def measured(_config, load, workers, source):
        clock_s[0] += 15.0
        times = {name: np.full(5, 10.0 + load.cherries / workers) for name in (*STAGES, *PARTS)}
        return Sample(load, times, crops=5 * load.cherries)

    monkeypatch.setattr(sweep_module, "time", SimpleNamespace(monotonic=lambda: clock_s[0]))
    monkeypatch.setattr(sweep_module, "measure", measured)
    monkeypatch.setattr(EmulatedSource, "start", lambda _: None)
    monkeypatch.setattr(sweep_module, "usable_cores", lambda: 4)
    sweep = Sweep(Config(), 10.0)
    assert sweep.text() == "  nothing was measured"
    sweep.run(lines.append)
    assert clock_s[0] == 135.0
    assert [line.partition(" of ")[0] for line in lines] == [str(number) for number in range(1, 10)]
    assert "26 of 35 points were not measured" in sweep.text()
    assert "  each layer on 4 threads: too few points for a line" in sweep.text()
    assert "  4 workers: 40.00 ms a frame, 1.000 ms a cherry; at most 0.00 ms off the line" in sweep.text()


def test_slow_frames_end_a_measurement_at_its_time_and_not_after_fifty():
    sample = measure(Config(), Load(4, None, 1e-6, None, warm_up_frames=2, least_frames=3))
    assert (sample.frames, sample.processed) == (3, 5)


def test_the_memory_of_the_frames_is_that_of_the_belt_that_was_shown():
    config, load = Config(), Load(4, None, 1e-6, None, warm_up_frames=2, least_frames=3)
    source = EmulatedSource(belt_spec(config_for(config, load, None), frames=None, ring=3))
    assert measure(config, load, None, source=source).ring_mb == pytest.approx(3 * 2 * 500 * 2464 / 1e6)


def test_ctrl_c_prints_what_the_sweep_has_measured(tmp_path):
    program = str(Path(sys.executable).with_name("pitcore-bench"))
    with (tmp_path / "out").open("w") as out, (tmp_path / "err").open("w") as err:
        process = Forked(program, ["--sweep"], stdout=out, stderr=err)
    try:
        until(lambda: "1 of " in (tmp_path / "err").read_text(), "point")
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == INTERRUPTED
    finally:
        process.kill()
    said = (tmp_path / "out").read_text()
    assert "ms a frame" in said
    assert "points were not measured" in said
    assert "Traceback" not in (tmp_path / "err").read_text()


def test_ctrl_c_while_a_belt_is_drawn_prints_what_the_sweep_has_measured(monkeypatch):
    draw = EmulatedSource._draw_for_loop

    def interrupted(source, index, shape):
        if source._spec.cherries_per_frame == 24.0:
            signal.raise_signal(signal.SIGINT)
            threading.Event().wait(PATIENCE_S)
        return draw(source, index, shape)

    monkeypatch.setattr(EmulatedSource, "_draw_for_loop", interrupted)
    for name, value in {"CHERRIES": (0, 24), "RING": 2, "LEAST_S": 0.1, "usable_cores": lambda: 1}.items():
        monkeypatch.setattr(sweep_module, name, value)
    done = CliRunner().invoke(bench, ["--sweep", "--seconds", "1"])
    assert isinstance(done.exception, SystemExit), done.exception
    assert "2 of 3 points were not measured" in done.output


def test_ctrl_c_while_a_slow_machine_draws_is_no_error_of_the_source(monkeypatch):
    draw = EmulatedSource._draw_for_loop

    def slow(*given):
        if given[1] == 0:
            signal.raise_signal(signal.SIGINT)
            time.sleep(2.0)  # longer than a board waits for a source at its stop
        return draw(*given)

    monkeypatch.setattr(EmulatedSource, "_draw_for_loop", slow)
    with pytest.raises(KeyboardInterrupt):
        measure(Config(), Load(4, None, 1.0))


NEIGHBOUR = """
import os
from pitcore.bench.sweep import busy_neighbour
with busy_neighbour() as neighbour:
    print(neighbour.pid, flush=True)
    os._exit(0)
"""


def test_a_busy_neighbour_ends_with_a_benchmark_that_is_killed():
    command = [sys.executable, "-c", NEIGHBOUR]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as killed:
        stat = Path(f"/proc/{int(killed.stdout.readline())}/stat")

    def has_ended():
        try:
            return stat.read_text().split()[2] == "Z"
        except OSError:
            return True

    until(has_ended, "end of the neighbour")


def test_overload_is_counted_exactly():
    said = command("--load", "8", "--overload", "3", "--seconds", "0.5").output
    assert ": exact" in said
