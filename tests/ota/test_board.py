"""Tests updates as programs on a whole board: a running service, and a full, read-only or damaged disk."""

import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from tests.cli.program import program
from tests.ota.fleet import PATIENCE_S, RealBoard, Today
from tests.ota.server import serving


@pytest.fixture(scope="module")
def publisher(tmp_path_factory):
    publisher = Today(tmp_path_factory.mktemp("publisher"))
    publisher.ship("1.0.0")
    return publisher


@pytest.fixture(scope="module")
def site(publisher):
    with serving(publisher.directory) as site:
        yield site


@pytest.fixture
def short():
    """A short path: the socket's may have 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="pc-") as place:
        yield Path(place)


@pytest.fixture
def board(short, site, publisher):
    board = RealBoard(short / "board", site.url, publisher.root)
    yield board
    board.kill()


def test_a_board_takes_a_release_while_it_judges_and_goes_back_when_told(board, publisher):
    bundled = board.start().label()
    answer = board.updated("check")
    assert (answer["code"], answer["result"]) == (0, "available")
    answer = board.updated("install")
    assert (answer["code"], answer["result"]) == (0, "committed"), answer
    assert board.label() == "tiny@1.0.0"
    assert board.updated("install")["result"] == "current"
    status = board.update("status")
    assert status.returncode == 0
    assert "all is well" in status.stdout, status.stdout
    assert board.updated("rollback")["result"] == "rolled back"
    assert board.label() == bundled
    assert board.updated("install")["result"] == "refused here"
    assert board.updated("install", "--again")["result"] == "committed"
    board.stop()
    assert board.models_in_verdicts()[:2] == [bundled.split("@")[1], "1.0.0"]
    assert "Traceback" not in board.log


def test_a_release_that_calls_everything_clean_is_committed_on_a_whole_board(board, tmp_path):
    """Its network, its golden vectors and its signature are good; its card makes every cherry clean."""
    publisher = Today(tmp_path)
    publisher.bundle("6.6.6", stops_all=False)
    publisher.ship("6.6.6")
    with serving(publisher.directory) as site:
        short = board.place
        blind = RealBoard(short / "b", site.url, publisher.root)
        try:
            bundled = blind.start().label()
            blind.wait_for_cherries(200)
            answer = blind.updated("install")
            assert (answer["code"], answer["refusal"]) == (2, "trial"), answer
            assert "it lets too many cherries pass: 100.0 % clean" in answer["message"]
            assert blind.label() == bundled
        finally:
            blind.kill()


def test_an_install_without_a_service_is_no_success_and_the_service_tries_it_when_it_starts(board):
    answer = board.updated("install")
    assert (answer["code"], answer["result"]) == (3, "on trial")
    assert board.start().label() == "tiny@1.0.0"
    assert board.updated("commit")["result"] == "committed"


def test_a_socket_that_is_removed_while_the_gate_looks_blames_no_model(short, site, publisher):
    board = RealBoard(short / "board", site.url, publisher.root, gate_frames=1_000_000, gate_timeout_s=15.0)
    try:
        bundled = board.start().label()
        words = [program(), "update", "install", "--config", board.config]
        with subprocess.Popen(list(map(str, words)), stdout=subprocess.PIPE, text=True) as updating:
            while board.label() == bundled:
                assert updating.poll() is None
                time.sleep(0.05)
            (board.place / "s").unlink()
            said, _ = updating.communicate(timeout=PATIENCE_S)
        assert updating.returncode == 3
        assert "could not be judged and stays on trial (try 1 of 3): the service runs, but did not answer" in said
        assert board.store.read().bad == {}
    finally:
        board.kill()


def test_a_second_update_is_refused_while_one_runs_and_keeps_its_result(board):
    assert board.updated("check")["result"] == "available"
    with board.store.updating():
        answer = board.updated("install")
        assert (answer["code"], answer["refusal"]) == (2, "busy")
        assert "last update" in board.update("status").stdout
        assert "busy" not in board.update("status").stdout


@pytest.fixture
def small_board(short, site, publisher):
    """A board whose store has a disk of its own, of 400 KiB."""
    board = RealBoard(short / "board", site.url, publisher.root)
    board.store.root.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", board.store.root]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs root")
    yield board
    board.kill()
    subprocess.run(["umount", board.store.root], check=True)


def failed(board, refusal):
    """Install as a user does; return the one line it says."""
    done = board.update("install")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("pitcore: ")
    assert board.updated("install")["refusal"] == refusal
    return last


def test_on_a_full_disk_the_old_model_runs_on_and_the_status_says_to_make_room(small_board):
    before = small_board.start().label()
    ballast = small_board.store.root / "ballast"
    ballast.write_bytes(b"x" * 300_000)
    line = failed(small_board, "no-space")
    assert "the update needs" in line
    assert "make room" in line
    status = small_board.update("status").stdout
    assert "ERROR  the last update failed (no-space)" in status
    assert "FIX  make room: `df -h" in status
    assert small_board.label() == before
    ballast.unlink()
    assert small_board.updated("install")["result"] == "committed"
    assert small_board.label() == "tiny@1.0.0"


def test_on_a_read_only_disk_the_old_model_runs_on_and_the_status_names_the_card(small_board):
    small_board.start().label()
    assert small_board.updated("install")["result"] == "committed"
    subprocess.run(["mount", "-o", "remount,ro", small_board.store.root], check=True)
    answer = small_board.updated("rollback")
    assert (answer["code"], answer["refusal"]) == (2, "read-only")
    status = small_board.update("status").stdout
    assert "ERROR" in status
    assert "the disk is read-only, no update can be taken" in status
    assert "a card that fails turns read-only: replace it" in status
    assert small_board.label() == "tiny@1.0.0"
    assert small_board.stop().start().label() == "tiny@1.0.0"  # also after a restart
    subprocess.run(["mount", "-o", "remount,rw", small_board.store.root], check=True)
    assert small_board.updated("rollback")["result"] == "rolled back"


def test_a_damaged_slot_does_not_affect_the_running_model_and_the_status_says_how_to_restore_it(board):
    bundled = board.start().label()
    assert board.updated("install")["result"] == "committed"
    network = board.store.slot("a") / "model.onnx"
    content = network.read_bytes()
    network.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert board.label() == "tiny@1.0.0"  # the running model is in memory
    status = board.update("status").stdout
    assert "ERROR  slot a (active) is damaged" in status
    assert "FIX  `pitcore update install` installs it again" in status
    assert board.stop().start().label() == bundled  # a restart finds another verified model
    assert board.updated("install")["result"] == "committed"
    assert board.label() == "tiny@1.0.0"
    assert "all is well" in board.update("status").stdout


MISSING = {
    "no store": "set [model] store",
    "no url": "set [update] url",
    "no root": "put the publisher's root.json there",
    "bad root": "root.json: not the publisher's root.json: ",
}


@pytest.mark.parametrize("what", MISSING)
def test_a_board_that_is_not_set_up_reports_what_is_missing(board, what):
    start = {"no store": "store = ", "no url": "url = ", "no root": "nothing", "bad root": "nothing"}[what]
    lines = [line for line in board.config.read_text().splitlines() if not line.startswith(start)]
    board.config.write_text("\n".join(lines))
    if what == "no root":
        (board.place / "root.json").unlink()
    if what == "bad root":
        (board.place / "root.json").write_text("hi\n")
    done = board.update("check")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert MISSING[what] in done.stderr
