import json
import signal
import subprocess
import time

import pytest

from tests.cli.program import assert_one_clear_line, program, run_pitcore, write_config
from tests.conftest import tiny_card, write_card, write_tiny_bundle

PATIENCE_S = 60.0


class Service:
    """``pitcore run`` in a process of its own."""

    def __init__(self, config, log):
        self._log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen([program(), "run", "--config", str(config)], stderr=output, stdout=output)

    def wait_for_log(self, text, times=1):
        self._wait(lambda: self._log.read_text().count(text) >= times, f"{text!r} in the log")

    def wait_for_line(self, path, wanted):
        def there():
            return path.exists() and any(wanted(json.loads(line)) for line in whole_lines(path))

        self._wait(there, "a verdict line")

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)

    def _wait(self, condition, what):
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert self.process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, f"no {what}: {self._log.read_text()}"
            time.sleep(0.02)


def whole_lines(path):
    return path.read_text().rpartition("\n")[0].splitlines()


@pytest.fixture
def place(tmp_path, tiny_bundle):
    write_config(tmp_path / "board.toml", tiny_bundle, sink=tmp_path / "v.jsonl")
    return tmp_path


@pytest.fixture
def service(place):
    running = Service(place / "board.toml", place / "log")
    yield running
    if running.process.poll() is None:
        running.process.kill()
        running.process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_service_ends_with_0_when_told_to_and_leaves_whole_lines(place, service, number):
    service.wait_for_line(place / "v.jsonl", lambda line: line["schema"] == "pitcore.verdict/1")
    assert service.stop(number) == 0
    text = (place / "v.jsonl").read_text()
    assert text.endswith("\n")
    assert all(json.loads(line) for line in text.splitlines())
    assert "stopped after" in (place / "log").read_text()
    assert " frames: " in (place / "log").read_text()  # and what was counted
    assert "Traceback" not in (place / "log").read_text()


def test_sighup_takes_a_new_model_without_a_restart(place, service, tiny_bundle):
    service.wait_for_line(place / "v.jsonl", lambda line: line.get("model", {}).get("version") == "1.2.3")
    write_card(tiny_bundle, tiny_card(tiny_bundle) | {"version": "2.0.0"})
    service.process.send_signal(signal.SIGHUP)
    service.wait_for_log("reloaded: model tiny@2.0.0")
    service.wait_for_line(place / "v.jsonl", lambda line: line.get("model", {}).get("version") == "2.0.0")
    assert service.stop() == 0


def test_sighup_with_a_bad_configuration_or_model_changes_nothing(place, service, tiny_bundle):
    service.wait_for_line(place / "v.jsonl", lambda line: line["schema"] == "pitcore.verdict/1")
    good = (place / "board.toml").read_text()
    (place / "board.toml").write_text(good + "\n[decision]\nreject = 7\n")
    service.process.send_signal(signal.SIGHUP)
    service.wait_for_log("reload refused")
    (place / "board.toml").write_text(good)
    (tiny_bundle / "model.onnx").write_bytes(b"torn")
    service.process.send_signal(signal.SIGHUP)
    service.wait_for_log("reload refused", times=2)
    log = (place / "log").read_text()
    assert "[decision] reject" in log
    assert "model.onnx" in log
    assert "Traceback" not in log
    assert service.stop() == 0


def test_the_service_replays_a_recording_and_ends(place, tiny_bundle):
    assert run_pitcore("record", place / "rec", "--frames", "4", "--config", place / "board.toml").returncode == 0
    text = (place / "board.toml").read_text()
    start, end = text.index("[source]"), text.index("[model]")
    source = f'[source]\nkind = "replay"\npath = "{place / "rec"}"\npaced = false\n\n'
    (place / "board.toml").write_text(text[:start] + source + text[end:])
    done = run_pitcore("run", "--config", place / "board.toml")
    assert done.returncode == 0
    assert "stopped after 4 frames" in done.stderr
    assert len(whole_lines(place / "v.jsonl")) > 3


def test_a_sink_that_cannot_be_written_is_one_clear_line(tmp_path, tiny_bundle):
    (tmp_path / "taken").write_text("")
    config = write_config(tmp_path / "board.toml", tiny_bundle, sink=tmp_path / "taken" / "v.jsonl")
    assert_one_clear_line(run_pitcore("run", "--config", config), "v.jsonl", "choose another [sink] path")


def test_a_model_that_computes_something_else_here_never_starts(tmp_path):
    bundle = write_tiny_bundle(tmp_path / "shifted", golden_shift=0.5)
    config = write_config(tmp_path / "board.toml", bundle, sink=tmp_path / "v.jsonl")
    assert_one_clear_line(run_pitcore("run", "--config", config), "golden vectors are off")
