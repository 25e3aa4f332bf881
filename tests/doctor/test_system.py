import os
import re

import msgspec
import pytest

from pitcore.config import Config, ControlConfig, ReplaySourceConfig, SinkConfig, VideoSourceConfig
from pitcore.doctor import system

GB = 10**9
ACTIVE = {
    "LoadState": "loaded",
    "ActiveState": "active",
    "SubState": "running",
    "UnitFileState": "enabled",
    "NRestarts": "0",
    "Result": "success",
    "StatusText": "20 frames",
}


def shown(**changes):
    return "\n".join(f"{key}={value}" for key, value in (ACTIVE | changes).items())


def config_for(folder):
    return msgspec.structs.replace(
        Config(), sink=SinkConfig(path=str(folder / "v.jsonl"), rotate_bytes=GB // 8, keep=7)
    )


def test_a_disk_with_room_is_good_and_left_as_it_was(tmp_path):
    assert system.check_disk(config_for(tmp_path), lambda _: 10 * GB).status == "ok"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("free", "status"), [(GB, "warn"), (GB // 10, "fail")])
def test_a_disk_that_verdicts_would_fill_is_reported(tmp_path, free, status):
    check = system.check_disk(config_for(tmp_path), lambda _: free)
    assert check.status == status
    assert "lower [sink] keep" in check.fix


def test_space_that_verdicts_use_already_counts_as_available_to_them(tmp_path):
    with (tmp_path / "v.jsonl.1").open("wb") as file:
        file.truncate(GB)
    assert system.check_disk(config_for(tmp_path), lambda _: GB // 2).status == "ok"


def test_a_folder_that_cannot_be_written_fails_with_its_fix(tmp_path, small_disk):
    (small_disk / "full").write_bytes(b"x" * 64 * 1024)
    check = system.check_disk(config_for(small_disk), lambda _: GB)
    assert check.status == "fail"
    assert "cannot be written" in check.found
    assert "sudo -u pitcore" in check.fix


def test_the_folder_may_be_missing_yet(tmp_path):
    assert system.check_disk(config_for(tmp_path / "not" / "yet"), lambda _: 10 * GB).status == "ok"


def paths_for(folder, **sections):
    """A configuration whose paths are in a folder."""
    control = ControlConfig(socket=str(folder / "c.sock"), state_dir=str(folder / "state"))
    return msgspec.structs.replace(config_for(folder), control=control, **sections)


def test_paths_that_can_be_written_are_good_and_left_as_they_were(tmp_path):
    assert system.check_paths(paths_for(tmp_path / "not" / "yet")).status == "ok"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "key"), [("v.jsonl", "[sink] path"), ("c.sock.lock", "[control] socket"), ("state", "[control] state_dir")]
)
def test_each_path_of_another_user_fails_with_its_key(tmp_path, monkeypatch, name, key):
    barred = tmp_path / name
    barred.touch()  # a state folder that is a file cannot be used by any user
    monkeypatch.setattr(os, "access", lambda path, _: path != barred)
    check = system.check_paths(paths_for(tmp_path))
    assert check.status == "fail"
    assert check.found.startswith(f"{key}: {barred}")
    assert "sudo chown pitcore" in check.fix


def test_the_folder_of_a_boards_socket_is_made_with_the_service(tmp_path, monkeypatch):
    config, run = paths_for(tmp_path / "own"), tmp_path / "run"
    control = ControlConfig(socket=str(run / "pitcore" / "c.sock"), state_dir=config.control.state_dir)
    config = msgspec.structs.replace(config, control=control)
    run.touch()  # no user can make a folder in it, as the service's user cannot in /run
    assert system.check_paths(config).status == "fail"
    monkeypatch.setattr(system, "BOARD_SOCKET", control.socket)
    assert system.check_paths(config).status == "ok"


def test_a_verdict_file_below_a_file_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    config = msgspec.structs.replace(paths_for(tmp_path), sink=SinkConfig(path=str(tmp_path / "file" / "v.jsonl")))
    assert system.check_paths(config).found.startswith("[sink] path: ")


@pytest.mark.parametrize("source", [ReplaySourceConfig(path="/none"), VideoSourceConfig(path="/none")])
def test_a_recording_that_is_not_there_fails(tmp_path, source):
    check = system.check_paths(paths_for(tmp_path, source=source))
    assert check.status == "fail"
    assert re.match(r"\[source\] path: /none.*: No such file or directory; name a f", check.found)


def test_a_film_from_the_network_is_not_looked_for_on_the_disk(tmp_path):
    assert system.check_paths(paths_for(tmp_path, source=VideoSourceConfig(path="rtsp://camera/1"))).status == "ok"


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({}, "ok", "20 frames"),
        ({"ActiveState": "failed", "SubState": "failed", "Result": "exit-code"}, "fail", "last result exit-code"),
        ({"ActiveState": "activating", "SubState": "auto-restart", "Result": "watchdog"}, "fail", "journalctl"),
        ({"ActiveState": "activating", "SubState": "start"}, "warn", "no frame of every camera yet"),
        ({"ActiveState": "inactive", "SubState": "dead"}, "warn", "enable --now"),
        ({"NRestarts": "3"}, "warn", "restarted 3 times"),
        ({"UnitFileState": "disabled"}, "warn", "after a power cut"),
        ({"LoadState": "not-found"}, "skip", "not installed"),
    ],
)
def test_each_state_of_the_service_has_its_text(changes, status, words):
    check = system.check_service(shown(**changes))
    assert check.status == status
    assert words in check.found + check.fix
    assert bool(check.fix) == (status in {"warn", "fail"})


def test_without_systemd_the_service_check_is_skipped():
    assert system.check_service(None).status == "skip"
