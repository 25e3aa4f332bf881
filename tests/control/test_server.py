import json
import os
import pwd
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from pitcore.control import server as server_module
from pitcore.control.client import ask, lives
from pitcore.control.protocol import MAX_REQUEST_BYTES
from pitcore.control.server import MAX_CONNECTIONS, ControlServer
from pitcore.errors import ControlError, NotRunningError
from tests.patience import PATIENCE_S


def refuse(args, peer):
    raise ControlError("the belt is stopped")


def fail(args, peer):
    raise RuntimeError("a fault of ours")


def echo(args, peer):
    return dict(args)


def who(args, peer):
    return [peer.pid, peer.uid, peer.user]


def give_no_json(args, peer):
    return {"lock": threading.Lock()}


COMMANDS = {"echo": echo, "who": who, "refuse": refuse, "fail": fail, "give_no_json": give_no_json}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / "c.sock"


@pytest.fixture
def server(path):
    running = ControlServer(path)
    running.start(COMMANDS)
    yield running
    running.close()


def answered_at_last(path):
    """Whether the server answers as soon as its threads have noticed that others went away."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            return ask(path, "echo") == {}
        except ControlError:
            time.sleep(0.01)
    return False


def connect(path):
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(path))  # waits where the server has not taken the last ones yet
    connection.settimeout(PATIENCE_S)
    return connection


def said(connection):
    """The next line, or None at the end."""
    with connection.makefile("rb") as lines:
        line = lines.readline()
    return json.loads(line) if line else None


def test_an_answer_is_what_the_command_returned(server, path):
    assert ask(path, "echo", {"a": [1, "ü"]}) == {"a": [1, "ü"]}


def test_the_user_of_a_request_comes_from_the_kernel(server, path):
    user = pwd.getpwuid(os.getuid()).pw_name
    assert ask(path, "who", {"user": "somebody else"}) == [os.getpid(), os.getuid(), user]


def test_a_refusal_reaches_the_caller_as_its_own_line(server, path):
    with pytest.raises(ControlError, match=r"^the belt is stopped$"):
        ask(path, "refuse")


@pytest.mark.parametrize(("command", "kind"), [("fail", "RuntimeError"), ("give_no_json", "TypeError")])
def test_a_bug_in_a_command_is_reported_and_the_next_request_is_answered(server, path, caplog, command, kind):
    with pytest.raises(ControlError, match=f"a fault of pitcore's: {kind}"):
        ask(path, command)
    assert "Traceback" in caplog.text
    assert ask(path, "echo") == {}


def test_a_failed_thread_start_closes_one_connection_only(server, path, monkeypatch, caplog):
    def no_thread(self):
        monkeypatch.undo()
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(server_module, "RETRY_S", 0.01)
    monkeypatch.setattr(threading.Thread, "start", no_thread)
    with pytest.raises(ControlError, match=r"closed the connection|went away"):
        ask(path, "echo")
    for _ in range(MAX_CONNECTIONS + 1):  # its place came free
        assert answered_at_last(path)
    assert "can't start new thread" in caplog.text


@pytest.mark.parametrize(
    "garbage",
    [b"\n", b"\x00\xff\xfe\n", b"[]\n", b'{"command": 7}\n', b'{"command": "echo", "more": 1}\n', b"{" * 3000 + b"\n"],
)
def test_garbage_is_answered_by_an_error_and_the_connection_goes_on(server, path, garbage):
    with connect(path) as connection:
        connection.sendall(garbage)
        answer = said(connection)
        assert not answer["ok"]
        assert "not a request" in answer["error"]
        connection.sendall(b'{"command": "echo", "args": {"x": 1}}\n')
        assert said(connection) == {"ok": True, "result": {"x": 1}, "error": None, "schema": "pitcore.control/1"}


def test_an_unknown_command_names_those_there_are(server, path):
    with pytest.raises(
        ControlError, match="no command `explode`; the commands are echo, fail, give_no_json, refuse, who"
    ):
        ask(path, "explode")


def test_a_request_without_end_is_refused_and_not_kept(server, path):
    with connect(path) as connection:
        connection.sendall(b"x" * (MAX_REQUEST_BYTES + 4096))
        assert f"at most {MAX_REQUEST_BYTES} bytes" in said(connection)["error"]
        assert ended(connection)


def ended(connection):
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:  # it closed with bytes of ours unread
        return True


def test_a_client_that_never_finishes_a_request_is_disconnected(server, path, monkeypatch):
    monkeypatch.setattr(server_module, "REQUEST_S", 0.2)
    with connect(path) as connection:
        connection.sendall(b'{"command":')
        assert connection.recv(1) == b""
    assert ask(path, "echo") == {}


def test_a_client_that_disconnects_in_a_request_does_not_affect_others(server, path):
    for _ in range(3 * MAX_CONNECTIONS):
        with connect(path) as connection:
            connection.sendall(b'{"command": "echo"')
    assert answered_at_last(path)


def test_only_owner_and_group_may_connect(server, path):
    assert path.stat().st_mode & 0o777 == 0o660


STRANGER = """
import os, sys
from pathlib import Path
from pitcore.control.client import ask, lives
from pitcore.errors import ControlError
os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    ask(Path(sys.argv[1]), "echo")
except ControlError as error:
    sys.exit(0 if "become a member of the socket's group" in str(error) else str(error))
sys.exit("let in")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
def test_a_user_outside_the_group_is_refused_with_the_fix():
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # only the socket's own mode keeps him out
        running = ControlServer(Path(folder) / "c.sock")
        running.start(COMMANDS)
        done = subprocess.run([sys.executable, "-c", STRANGER, f"{folder}/c.sock"], capture_output=True, check=False)
        running.close()
    assert done.returncode == 0, done.stderr


def test_a_second_service_on_the_same_socket_is_refused_and_named(server, path):
    with pytest.raises(ControlError, match=rf"another service runs here \(process {os.getpid()}\)"):
        ControlServer(path)
    assert ask(path, "echo") == {}


def test_a_socket_left_by_a_killed_service_is_replaced(path):
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from pitcore.control.server import ControlServer\n"
        "ControlServer(Path(sys.argv[1])).start({})\n"
        "os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert path.is_socket()
    with pytest.raises(NotRunningError):
        ask(path, "echo")
    after = ControlServer(path)
    after.start(COMMANDS)
    assert ask(path, "echo") == {}
    after.close()


def test_after_the_end_the_place_is_free(server, path):
    server.close()
    server.close()
    assert not path.exists()
    with pytest.raises(NotRunningError, match="no service runs here"):
        ask(path, "echo")
    again = ControlServer(path)
    again.close()


def test_the_end_waits_for_no_idle_connection(server, path):
    with connect(path) as connection:
        connection.sendall(b'{"command": "echo"}\n')
        assert said(connection)["ok"]
        server.close()
        assert connection.recv(1) == b""


def test_a_file_that_is_no_socket_stays(path):
    path.parent.mkdir()
    path.write_text("precious")
    claimed = ControlServer(path)
    with pytest.raises(ControlError, match="this is not a socket, and is not replaced"):
        claimed.start({})
    claimed.close()
    assert path.read_text() == "precious"


def test_a_place_that_cannot_be_used_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ControlError, match=r"choose another \[control\] socket"):
        ControlServer(tmp_path / "file" / "c.sock")
    with pytest.raises(ControlError, match=r"at most 107; shorten \[control\] socket"):
        ControlServer(tmp_path / ("long" * 30))


def test_a_service_that_does_not_answer_is_reported_after_the_timeout(path):
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(path))
        deaf.listen()
        with pytest.raises(ControlError, match=r"no answer to `status` within 0\.2 s"):
            ask(path, "status", timeout_s=0.2)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"", "closed the connection without an answer"),
        (b"what?\n", "answer cannot be read"),
        (b"x" * (2 << 20), "too long"),
        (b'{"ok": false}\n', "the service refused `status`"),
    ],
)
def test_an_answer_of_another_program_is_a_one_line_error(path, answer, said):
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        thread = threading.Thread(target=answer_once, args=(other, answer), daemon=True)
        thread.start()
        with pytest.raises(ControlError, match=said):
            ask(path, "status")
        thread.join()


def answer_once(listener, answer):
    connection, _ = listener.accept()
    with connection:
        connection.recv(4096)
        try:
            connection.sendall(answer)
        except OSError:  # the client has read enough
            return


def test_a_service_lives_though_its_socket_is_gone_and_is_dead_when_its_process_is():
    with tempfile.TemporaryDirectory(prefix="pc-") as place:
        path = Path(place) / "s"
        assert not lives(path)
        text = "import sys, pathlib; from pitcore.control.server import ControlServer\n"
        text += (
            "server = ControlServer(pathlib.Path(sys.argv[1])); server.start({}); print(flush=True); sys.stdin.read()"
        )
        with subprocess.Popen(
            [sys.executable, "-c", text, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as service:
            service.stdout.readline()
            path.unlink()
            with pytest.raises(NotRunningError):
                ask(path, "status")
            assert lives(path)
            service.kill()
        assert not lives(path)
