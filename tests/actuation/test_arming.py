import json
import threading
import time

import pytest

from pitcore.actuation import arming as arming_module
from pitcore.actuation.arming import Arming, ArmingState
from pitcore.errors import ControlError

VALVES, OTHERS = "lines 1, 2 of a chip", "lines 1, 3 of a chip"
OLDER = b'{"schema":"pitcore.arming/1","armed":true,"by":"anna","at":"2025-01-01T00:00:00+00:00"}'


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "arming.json"


def test_a_new_board_is_in_dry_run(path):
    arming = Arming(path, VALVES)
    assert not arming.armed
    assert arming.state == ArmingState(armed=False, by=None, at=None)
    assert not path.parent.exists()


def test_armed_state_survives_a_restart_with_user_and_time(path):
    state = Arming(path, VALVES).arm("anna")
    again = Arming(path, VALVES)
    assert again.armed
    assert again.state == state
    assert state.by == "anna"
    assert state.at.endswith("+00:00")
    again.disarm("bert")
    assert Arming(path, VALVES).state.by == "bert"
    assert not Arming(path, VALVES).armed


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"\xff",
        b"[]",
        b'{"armed": "yes"}',
        b'{"armed": true, "more": 1}',
        b'{"schema": "pitcore.arming/2"}',
        b'{"armed": true, "by": "\xff"}',
    ],
)
def test_a_state_that_cannot_be_trusted_is_dry_run_and_the_log_says_so(path, raw, caplog):
    path.parent.mkdir()
    path.write_bytes(raw)
    assert not Arming(path, VALVES).armed
    assert "the air jet is in dry run" in caplog.text


def test_arming_that_cannot_be_stored_does_not_arm(path):
    path.parent.write_text("")
    arming = Arming(path, VALVES)
    with pytest.raises(ControlError, match="nothing changed; fix the disk"):
        arming.arm("anna")
    assert not arming.armed


def test_disarming_works_at_once_even_if_it_cannot_be_stored(path):
    arming = Arming(path, VALVES)
    arming.arm("anna")
    path.unlink()
    path.mkdir()
    (path / "in the way").write_text("")
    with pytest.raises(ControlError, match="dry run now, but a restart may arm it again"):
        arming.disarm("anna")
    assert not arming.armed


def test_second_request_for_the_same_arming_state_changes_nothing(path):
    arming = Arming(path, VALVES)
    first = arming.arm("anna")
    assert arming.arm("bert") is first
    state = arming.disarm("bert")
    assert arming.disarm("anna") is state
    assert Arming(path, VALVES).state == state


def test_disarming_again_after_the_disk_was_repaired_is_written_to_the_disk(path):
    arming = Arming(path, VALVES)
    arming.arm("anna")
    armed = path.read_bytes()
    path.unlink()
    path.mkdir()
    with pytest.raises(ControlError):
        arming.disarm("anna")
    path.rmdir()
    path.write_bytes(armed)  # a failing disk would keep the old state
    arming.disarm("anna")
    assert not Arming(path, VALVES).armed


def test_disarming_replaces_a_state_that_could_not_be_read(path):
    path.parent.mkdir()
    path.write_bytes(b'{"armed": true')
    Arming(path, VALVES).disarm("anna")
    assert json.loads(path.read_bytes())["armed"] is False


def test_the_file_is_one_whole_object(path):
    Arming(path, VALVES).arm("anna")
    content = json.loads(path.read_bytes())
    assert content["schema"] == "pitcore.arming/1"
    assert content["armed"] is True
    assert [file.name for file in path.parent.iterdir()] == ["arming.json"]


def test_armed_valves_are_not_armed_when_they_are_others_and_the_state_says_so(path):
    Arming(path, VALVES).arm("anna")
    other = Arming(path, OTHERS)
    assert not other.armed
    assert f"armed by anna at {other.state.at} for {VALVES}, but this board drives {OTHERS}" in other.state.withheld
    assert Arming(path, VALVES).armed  # nothing was changed on the disk: these were looked at
    other.arm("bert")
    assert (Arming(path, OTHERS).armed, Arming(path, VALVES).armed) == (True, False)


def test_a_board_without_valves_cannot_be_armed_and_leaves_an_older_state_as_it_is(path):
    with pytest.raises(ControlError, match="drives no valve"):
        Arming(path, None).arm("anna")
    assert not path.exists()
    path.parent.mkdir()
    path.write_bytes(OLDER)  # an older pitcore armed a board without valves
    assert not Arming(path, None).armed
    assert path.read_bytes() == OLDER  # valves that are off for a day are still armed after it


def test_a_running_line_stays_armed_over_an_upgrade_and_its_state_says_for_which_valves(path):
    path.parent.mkdir()
    path.write_bytes(OLDER)
    assert Arming(path, "simulated lines", is_simulated=True).armed
    assert path.read_bytes() == OLDER  # a trial without the line decides nothing for it
    first = Arming(path, VALVES)
    assert (first.armed, first.state.by, first.state.drives) == (True, "anna", VALVES)
    assert Arming(path, VALVES).armed
    assert not Arming(path, OTHERS).armed


def test_a_running_line_stays_armed_over_an_upgrade_with_a_full_disk(path, monkeypatch, caplog):
    path.parent.mkdir()
    path.write_bytes(OLDER)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(arming_module, "replace_file", full)
    assert Arming(path, VALVES).armed
    assert "that it is armed is kept" in caplog.text
    assert path.read_bytes() == OLDER


def test_disarming_ends_an_armed_state_of_other_valves(path):
    Arming(path, VALVES).arm("anna")
    state = Arming(path, OTHERS).disarm("bert")
    assert (state.armed, state.by, state.withheld) == (False, "bert", None)
    assert Arming(path, VALVES).state.by == "bert"
    assert not Arming(path, VALVES).armed


def while_the_disk_writes(monkeypatch, act):
    """Call ``act`` once, after the state was written to disk and before the writer continues."""
    written = arming_module.replace_file

    def slow(path, write):
        written(path, write)
        monkeypatch.setattr(arming_module, "replace_file", written)
        act()

    monkeypatch.setattr(arming_module, "replace_file", slow)


def test_arming_that_timed_out_while_the_disk_hung_does_not_arm(path, monkeypatch):
    arming, gave_up = Arming(path, VALVES), []
    while_the_disk_writes(monkeypatch, lambda: gave_up.append(True))
    with pytest.raises(ControlError, match="took too long"):
        arming.arm("anna", lambda: bool(gave_up))
    assert not arming.armed
    assert not Arming(path, VALVES).armed


def test_disarming_does_not_wait_for_an_arming_that_hangs_on_the_disk(path, monkeypatch):
    arming, disarming = Arming(path, VALVES), []

    def disarm():
        disarming.append(threading.Thread(target=arming.disarm, args=("bert",), daemon=True))
        disarming[0].start()
        deadline = time.monotonic() + 60
        while not arming._disarmed:  # it did not wait for the disk to say so
            assert time.monotonic() < deadline
            time.sleep(0.001)

    while_the_disk_writes(monkeypatch, disarm)
    with pytest.raises(ControlError, match="somebody disarmed meanwhile"):
        arming.arm("anna")
    disarming[0].join()
    assert not arming.armed
    assert not Arming(path, VALVES).armed
