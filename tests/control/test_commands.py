import msgspec
import pytest

from pitcore.actuation.arming import Arming
from pitcore.config import DecisionConfig
from pitcore.control.commands import Commands
from pitcore.control.server import Peer
from pitcore.control.status import Status, camera_status
from pitcore.errors import ControlError
from pitcore.health import CameraHealth
from tests.conftest import tiny_card, write_card, write_tiny_bundle
from tests.control.scenario import Running
from tests.scene import config_for

ANNA, ROOT = Peer(7, 1000, "anna"), Peer(8, 0, "root")


def commands_of(run, tmp_path, drives="valves"):
    arming = Arming(tmp_path / "state" / "arming.json", drives)
    return Commands(run.app, run.sinks, run.recent, arming, run.reloader, tmp_path / "board.toml").by_name()


def asked(command, *arguments):
    """An answer as a client decodes it."""
    return msgspec.json.decode(msgspec.json.encode(command(*arguments)))


@pytest.fixture
def run_script(tiny_bundle, tmp_path):
    def run_script(script, later=None, **sections):
        def with_commands(run):
            yield from script(run, commands_of(run, tmp_path))

        config = config_for(tiny_bundle, **sections)
        return Running(config, with_commands, config if later is None else later)

    return run_script


def test_the_status_has_the_running_model_and_its_counts(run_script, tmp_path):
    seen = []

    def script(run, commands):
        seen.append(msgspec.convert(asked(commands["status"], {}, ANNA), type=Status))
        for _ in range(9):
            yield
        seen.append(msgspec.convert(asked(commands["status"], {}, ANNA), type=Status))

    run = run_script(script, decision=DecisionConfig(reject=0.5))
    first, last = seen
    assert (first.state, last.state) == ("running", "running")
    assert (last.frames.processed, last.frames.dropped, last.frames.lost) == (10, 0, 0)
    assert (last.verdicts, last.reasons) == ({"pit": 10}, {})
    assert last.model.name == "tiny"
    assert last.model.sha256 == run.app.bundle.sha256
    assert (last.model.accept, last.model.reject) == (0.2, 0.5)
    assert (last.model.card_accept, last.model.card_reject) == (0.2, 0.8)
    assert last.model.stricter
    assert last.config.path == str(tmp_path / "board.toml")
    assert last.config.sha256 == run.app.config.sha256
    assert set(last.latency_ms) == {"capture", "prepare", "infer", "decide", "emit", "total"}
    assert last.latency_ms["total"].p99 >= last.latency_ms["total"].p50 > 0
    assert (last.reload, last.reloading) == (None, False)
    assert not last.arming.armed


def test_counts_of_a_trial_start_when_the_model_was_loaded(run_script, tmp_path):
    other = write_tiny_bundle(tmp_path / "other")
    write_card(other, tiny_card(other) | {"version": "2.0.0", "thresholds": {"accept": 0.1, "reject": 0.4}})
    seen = []

    def script(run, commands):
        for _ in range(5):
            yield
        run.app.note("frame_black", "plane top is all 0")
        yield from run.reloaded()
        since = asked(commands["status"], {}, ANNA)["since_model"]
        frames = since["frames"]
        for _ in range(4):
            yield
        run.app.note("frames_lost", "2 frames")
        yield
        seen.append((frames, asked(commands["status"], {}, ANNA)))

    run_script(script, later=config_for(other))
    frames, now = seen[0]
    assert now["model"]["version"] == "2.0.0"
    assert now["since_model"]["frames"] == frames + 5
    assert now["since_model"]["verdicts"] == {"pit": frames + 5}
    assert now["since_model"]["faults"] == {"frames_lost": 1}
    assert now["since_model"]["fault_events"] == {"frames_lost": 1}
    assert now["since_model"]["infer_ms"]["p99"] > 0
    assert now["events"] == {"frame_black": 1, "frames_lost": 1, "reload_ok": 1}
    assert [noted["event"]["event"] for noted in now["last_events"]] == ["frame_black", "reload_ok", "frames_lost"]
    assert now["reload"]["state"] == "ok"


def test_arming_is_stored_with_the_user_and_written_to_the_verdict_file(run_script):
    answers = []

    def script(run, commands):
        yield
        answers.extend(asked(commands[word], {}, who) for word, who in (("arm", ANNA), ("arm", ROOT)))
        yield
        answers.append(asked(commands["disarm"], {"sudo_user": "bert"}, ROOT))

    run = run_script(script)
    assert [(answer["changed"], answer["armed"], answer["by"]) for answer in answers] == [
        (True, True, "anna"),
        (False, True, "anna"),
        (True, False, "bert as root"),
    ]
    assert run.events == [("armed", "armed by anna"), ("disarmed", "disarmed by bert as root")]


def test_arming_a_board_without_valves_is_refused_and_not_recorded(tiny_bundle, tmp_path):
    def script(run):
        commands = commands_of(run, tmp_path, None)
        yield
        with pytest.raises(ControlError, match=r"drives no valve, .*; set \[actuation\] kind and lanes"):
            commands["arm"]({}, ANNA)
        assert not asked(commands["status"], {}, ANNA)["arming"]["armed"]
        assert not asked(commands["disarm"], {}, ANNA)["changed"]

    config = config_for(tiny_bundle)
    assert Running(config, script, config).events == []
    assert not (tmp_path / "state").exists()


def test_only_root_may_act_in_the_name_of_another_user(run_script):
    answers = []

    def script(run, commands):
        yield
        answers.append(asked(commands["arm"], {"sudo_user": "bert"}, ANNA))

    run_script(script)
    assert answers[0]["by"] == "anna"


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 65, 7])
def test_an_invalid_user_name_is_refused(run_script, name):
    def script(run, commands):
        yield
        with pytest.raises(ControlError, match="sudo_user is not a user name"):
            commands["arm"]({"sudo_user": name}, ROOT)

    run_script(script)


@pytest.mark.parametrize("command", ["status", "arm", "disarm", "reload"])
def test_an_argument_of_a_newer_client_is_refused_and_not_passed_over(run_script, command):
    def script(run, commands):
        yield
        with pytest.raises(ControlError, match="unknown argument force"):
            commands[command]({"force": True}, ANNA)

    assert run_script(script).events == []


def test_disarming_with_a_broken_disk_disarms_and_says_what_a_restart_would_do(run_script, tmp_path):
    def script(run, commands):
        yield
        commands["arm"]({}, ANNA)
        for file in (tmp_path / "state").iterdir():
            file.unlink()
        (tmp_path / "state").rmdir()
        (tmp_path / "state").write_text("")
        with pytest.raises(ControlError, match="dry run now, but a restart may arm it again"):
            commands["disarm"]({}, ANNA)
        assert not asked(commands["status"], {}, ANNA)["arming"]["armed"]

    assert [event for event, _ in run_script(script).events] == ["armed", "disarmed"]


def test_the_status_of_a_camera_has_its_state():
    now = camera_status(
        (
            CameraHealth("first", ("top",), 0, None),
            CameraHealth("second", ("bottom",), 7, 0, lost={"late": 2}),
            CameraHealth("third", ("side",), 7, 0, due=False),
        ),
        limit_s=0.5,
    )
    assert [(camera.id, camera.state) for camera in now] == [
        ("first", "waiting"),
        ("second", "stalled"),
        ("third", "idle"),
    ]
    assert now[0].age_s is None
    assert now[1].age_s > 0.5
    assert now[1].lost == {"late": 2}
