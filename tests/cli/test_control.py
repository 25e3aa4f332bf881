"""Controlling a service from a terminal: both ends are programs."""

import json
import signal

import pytest

from pitcore.cli import options
from pitcore.cli.options import control_socket
from tests.cli.program import assert_one_clear_line, run_pitcore, write_config
from tests.cli.service import Service, whole_lines
from tests.conftest import tiny_card, write_card, write_tiny_bundle

NOT_RUNNING = 3
VALVES = """
[actions]
maybe = "reject"
side = "reject"

[actuation]
kind = "simulated"
encoder = { line_a = 10, line_b = 11 }
cherry_px = 60
lanes = [
  { line = 2, x_px = [0, 320], distance_ticks = 1500, pulse_ticks = 40 },
  { line = 1, x_px = [320, 640], distance_ticks = 1500, pulse_ticks = 40 },
]
"""


@pytest.fixture
def place(tmp_path, tiny_bundle, request):
    extra = getattr(request, "param", "")
    write_config(tmp_path / "board.toml", tiny_bundle, sink=tmp_path / "v.jsonl", extra=extra)
    return tmp_path


@pytest.fixture
def service(place):
    running = Service(place / "board.toml", place / "log")
    running.wait_for_log("running: ")
    yield running
    running.kill()


def control(place, command, *arguments):
    return run_pitcore(command, "--config", place / "board.toml", *arguments)


def status_of(place):
    done = control(place, "status", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_status_as_text_and_as_json_agree(place, service):
    service.wait_for_line(place / "v.jsonl", lambda line: line["schema"] == "pitcore.verdict/1")
    now = status_of(place)
    assert now["schema"] == "pitcore.status/1"
    assert now["pid"] == service.process.pid
    assert now["state"] == "running"
    assert now["config"]["path"] == str(place / "board.toml")
    assert [camera["planes"] for camera in now["cameras"]] == [["top", "bottom"]]
    assert now["sinks"][0]["path"] == str(place / "v.jsonl")
    assert now["sinks"][0]["state"] == "ok"
    said = control(place, "status").stdout
    for part in (
        f"process {service.process.pid}",
        "dry run, never armed",
        f"tiny@1.2.3 ({now['model']['sha256'][:12]})",
        "strict: clean below 0.2, pit from 0.8; the card makes no promise for it",
        now["config"]["sha256"][:12],
        "infer",
        "jsonl",
        "emulated (top, bottom): ok",
    ):
        assert part in said


def test_an_alarm_is_shown_with_its_fix_until_it_is_over(tmp_path, tiny_bundle):
    dark = "[source.disturbance]\nlight = [0.0, 1.0]\nfirst = 20\n"
    board = write_config(tmp_path / "board.toml", tiny_bundle, sink=tmp_path / "v.jsonl")
    text = board.read_text()
    board.write_text(text.replace("ring_frames = 6\n", f"ring_frames = 6\n{dark}"))
    running = Service(board, tmp_path / "log")
    try:
        running.wait_for_line(tmp_path / "v.jsonl", lambda line: line.get("event") == "light_off")
        # A busy machine loses frames, so that not_judging may be on as well.
        (alarm,) = [one for one in status_of(tmp_path)["alarms"] if one["name"] == "light_off"]
        assert alarm["failsafe"] == "reject"
        assert alarm["since_seq"] > 20
        assert "plane top: no light" in alarm["detail"]
        said = control(tmp_path, "status").stdout
        assert f"ALARM           light_off since {alarm['since']}" in said
        assert "check the lamp, its supply and its cable; if the lamp is on, run 'pitcore calibrate flat'" in said
        assert "; while this alarm is on, everything is rejected" in said
        assert running.stop() == 0
    finally:
        running.kill()


def test_stricter_thresholds_show(place, service):
    text = (place / "board.toml").read_text()
    (place / "board.toml").write_text(text + "\n[decision]\naccept = 0.1\n")
    assert control(place, "reload").returncode == 0
    assert "clean below 0.1, pit from 0.8; stricter than the card's 0.2 and 0.8" in control(place, "status").stdout


def test_an_armed_state_is_for_its_valves_and_a_board_without_any_has_none(place, service):
    assert control(place, "disarm").stdout == "dry run, as it was before, never armed\n"
    assert_one_clear_line(control(place, "arm"), "this board drives no valve")
    assert service.stop() == 0
    (place / "state").mkdir(exist_ok=True)
    of_the_line = '{"armed": true, "by": "anna", "at": "then", "drives": "line 9"}'
    for name in ("arming.json", "arming-emulated.json"):
        (place / "state" / name).write_text(of_the_line)
    text = (place / "board.toml").read_text()
    (place / "board.toml").write_text(text + VALVES)
    again = Service(place / "board.toml", place / "log")
    try:
        again.wait_for_log("running: ", times=2)
        assert not status_of(place)["arming"]["armed"]
        why = "armed by anna at then for line 9, but this board drives lines 1, 2 of a simulated chip; arm it again"
        assert f"dry run: {why}" in control(place, "status").stdout
        assert f"dry run, nothing is rejected: {why}" in status_of(place)["less_safe"]
        assert f"air jet: DRY RUN, no reject is done: {why}" in (place / "log").read_text()
        assert control(place, "arm").stdout.startswith("armed, by ")
        assert '"armed":true' in (place / "state" / "arming-emulated.json").read_text()
        assert (place / "state" / "arming.json").read_text() == of_the_line, (
            "a test on an emulated belt changes no line"
        )
        assert again.stop() == 0
    finally:
        again.kill()


@pytest.mark.parametrize("place", [VALVES], indirect=True)
def test_the_armed_state_survives_a_kill_and_is_shown_with_the_user(place, service):
    done = control(place, "arm")
    assert done.returncode == 0
    assert done.stdout.startswith("armed, by ")
    service.stop(signal.SIGKILL)
    again = Service(place / "board.toml", place / "log")
    try:
        again.wait_for_log("running: ", times=2)
        arming = status_of(place)["arming"]
        assert arming["armed"]
        assert arming["at"]
        assert f"ARMED, by {arming['by']} at {arming['at']}" in control(place, "status").stdout
        assert control(place, "disarm").stdout.startswith(f"dry run, by {arming['by']} at ")
        assert "as it was before" in control(place, "disarm").stdout
        assert again.stop() == 0
    finally:
        again.kill()
    events = [json.loads(line)["event"] for line in whole_lines(place / "v.jsonl") if "pitcore.event/1" in line]
    assert [event for event in events if event in {"armed", "disarmed"}][-1] == "disarmed"


def test_reload_takes_a_new_model_and_says_so_everywhere(place, service, tiny_bundle):
    write_card(tiny_bundle, tiny_card(tiny_bundle) | {"version": "2.0.0"})
    done = control(place, "reload")
    assert done.returncode == 0
    assert "reloaded: model tiny@2.0.0" in done.stdout
    now = status_of(place)
    assert now["model"]["version"] == "2.0.0"
    assert (now["reload"]["state"], now["reloading"]) == ("ok", False)
    service.wait_for_line(place / "v.jsonl", lambda line: line.get("event") == "reload_ok")
    service.wait_for_line(place / "v.jsonl", lambda line: line.get("model", {}).get("version") == "2.0.0")


def test_a_refused_reload_is_one_line_here_and_a_reason_in_status(place, service, tiny_bundle):
    (tiny_bundle / "model.onnx").write_bytes(b"torn")
    assert_one_clear_line(control(place, "reload"), "reload refused, the old configuration stays in use", "model.onnx")
    now = status_of(place)
    assert now["reload"]["state"] == "refused"
    assert "model.onnx" in now["reload"]["detail"]
    assert now["model"]["version"] == "1.2.3"
    service.wait_for_line(place / "v.jsonl", lambda line: line.get("event") == "reload_refused")
    assert service.stop() == 0


def test_status_works_while_the_configuration_file_is_broken(place, service):
    good = (place / "board.toml").read_text()
    (place / "board.toml").write_text(good + "\n[decision]\nreject = 7\n")
    assert_one_clear_line(control(place, "reload"), "reload refused", "[decision] reject")
    assert "[decision] reject" in status_of(place)["reload"]["detail"]
    (place / "board.toml").write_text(good + "\n[decision\n")
    assert_one_clear_line(control(place, "status"), "not valid TOML", "give --socket instead")
    assert run_pitcore("status", "--socket", place / "c.sock").returncode == 0


def test_a_second_service_on_the_same_socket_changes_no_file_of_the_first(place, service):
    service.wait_for_line(place / "v.jsonl", lambda line: line["schema"] == "pitcore.verdict/1")
    assert_one_clear_line(
        control(place, "run"), "another service runs here", str(service.process.pid), "[control] socket"
    )
    assert status_of(place)["pid"] == service.process.pid


@pytest.mark.parametrize("command", [["status"], ["arm"], ["disarm"], ["reload"], ["point", "strict"]])
def test_without_a_service_there_is_one_line_and_an_exit_code_of_its_own(place, command):
    done = run_pitcore(*command, "--config", place / "board.toml")
    assert done.returncode == NOT_RUNNING
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "no service runs here" in done.stderr
    assert "pitcore run" in done.stderr


def test_the_socket_can_be_named_and_is_gone_after_the_end(place, service):
    assert run_pitcore("status", "--socket", place / "c.sock").returncode == 0
    assert service.stop() == 0
    assert not (place / "c.sock").exists()
    assert run_pitcore("status", "--socket", place / "c.sock").returncode == NOT_RUNNING


def test_without_options_the_boards_socket_is_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert str(control_socket(None, None)) == "out/run/control.sock"
    board = tmp_path / "board.sock"
    board.touch()
    monkeypatch.setattr(options, "BOARD_SOCKET", str(board))
    assert control_socket(None, None) == board
    (tmp_path / "out" / "run").mkdir(parents=True)
    (tmp_path / "out" / "run" / "control.sock").touch()
    assert str(control_socket(None, None)) == "out/run/control.sock"
    assert control_socket(tmp_path / "other", None) == tmp_path / "other"


def test_a_point_is_taken_kept_over_a_restart_and_given_back(tmp_path):
    bundle = write_tiny_bundle(tmp_path / "two")
    card = tiny_card(bundle)
    strict = {"thresholds": card.pop("thresholds"), "evidence": None}
    looser = {"thresholds": {"accept": 0.3, "reject": 0.8}, "evidence": None}
    write_card(bundle, card | {"schema": "pitcore.card/2", "points": {"strict": strict, "balanced": looser}})
    write_config(tmp_path / "board.toml", bundle, sink=tmp_path / "v.jsonl")
    first = Service(tmp_path / "board.toml", tmp_path / "log")
    try:
        first.wait_for_log("running: ")
        before = status_of(tmp_path)["model"]["point"]
        other = {"strict": "balanced", "balanced": "strict"}[before]
        done = control(tmp_path, "point", other)
        assert (done.returncode, done.stdout) == (0, f"{other}: the card makes no promise for it\n")
        assert status_of(tmp_path)["model"]["point"] == other
        assert first.stop() == 0
    finally:
        first.kill()
    again = Service(tmp_path / "board.toml", tmp_path / "log")
    try:
        again.wait_for_log("running: ", times=2)
        assert status_of(tmp_path)["model"]["point"] == other
        assert control(tmp_path, "point", "configuration").stdout.startswith(f"{before}: ")
        assert status_of(tmp_path)["model"]["point"] == before
        assert again.stop() == 0
    finally:
        again.kill()


def test_a_point_that_the_model_lacks_is_refused_and_the_old_one_is_used(place, service):
    before = status_of(place)["model"]["point"]
    assert_one_clear_line(control(place, "point", "wild"), "no operating point wild", "it has ")
    assert status_of(place)["model"]["point"] == before
