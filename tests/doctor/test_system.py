import msgspec
import pytest

from pitcore.config import Config, SinkConfig
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
