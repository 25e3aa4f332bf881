import json
import signal

import pytest

from tests.cli.program import assert_one_clear_line, run_pitcore, write_config
from tests.cli.service import Service, whole_lines
from tests.conftest import tiny_card, write_card, write_tiny_bundle


@pytest.fixture
def place(tmp_path, tiny_bundle):
    write_config(tmp_path / "board.toml", tiny_bundle, sink=tmp_path / "v.jsonl")
    return tmp_path


@pytest.fixture
def service(place):
    running = Service(place / "board.toml", place / "log")
    yield running
    running.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_service_ends_with_0_after_a_stop_signal_and_leaves_whole_lines(place, service, number):
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


def test_a_model_that_fails_its_golden_vectors_does_not_start(tmp_path):
    bundle = write_tiny_bundle(tmp_path / "shifted", golden_shift=0.5)
    config = write_config(tmp_path / "board.toml", bundle, sink=tmp_path / "v.jsonl")
    assert_one_clear_line(run_pitcore("run", "--config", config), "golden vectors are off")
