"""Tests that a request is not executed if its client stopped waiting, and that `disarm` always is."""

import json
import socket
import threading
import time

import pytest

from pitcore.control.client import ask
from pitcore.control.protocol import Request, encode
from pitcore.control.server import MAX_CONNECTIONS, URGENT_CONNECTIONS, ControlServer
from pitcore.errors import ControlError
from tests.control.test_server import PATIENCE_S, connect, said

DEEP = b'{"command": "status", "args": {"x": ' + b"[" * 7000 + b"]" * 7000 + b"}}\n"
DISARM = b'{"command": "disarm", "args": {}}'


class Service:
    """A server whose commands record their execution; ``hold`` runs until it is released."""

    def __init__(self, path):
        self.path, self.done, self.held = path, [], threading.Semaphore(0)
        self.go_on = threading.Event()
        self._server = ControlServer(path)
        self._server.start({"arm": self._note("arm"), "disarm": self._note("disarm"), "hold": self._hold})

    def _note(self, name):
        return lambda *_: self.done.append(name)

    def _hold(self, *_):
        self.held.release()
        assert self.go_on.wait(PATIENCE_S)
        self.done.append("hold")

    def hold(self, connections):
        for connection in connections:
            connection.sendall(b'{"command": "hold"}\n')
            assert self.held.acquire(timeout=PATIENCE_S)

    def close(self):
        self.go_on.set()
        self._server.close()


@pytest.fixture
def service(tmp_path):
    made = Service(tmp_path / "c.sock")
    yield made
    made.close()


@pytest.fixture
def connections(service):
    made = [connect(service.path) for _ in range(MAX_CONNECTIONS)]
    yield made
    for connection in made:
        connection.close()


def test_arming_whose_time_is_over_is_not_carried_out_later(service):
    with connect(service.path) as connection:
        connection.sendall(encode(Request("arm", until_ns=time.monotonic_ns() - 1)))
        assert "was cancelled, and is not carried out" in said(connection)["error"]
    assert service.done == []


@pytest.mark.parametrize(("command", "is_done"), [("arm", False), ("disarm", True)])
def test_a_request_of_a_disconnected_client_is_carried_out_only_if_it_disarms(service, command, is_done):
    with connect(service.path) as connection:
        service.hold([connection])
        connection.sendall(b'{"command": "%s"}\n' % command.encode())
    service.close()  # lets it go on, and waits for it
    assert service.done == (["hold", command] if is_done else ["hold"])


def test_a_client_that_closed_its_sending_side_gets_its_answer(service):
    with connect(service.path) as connection:
        connection.sendall(b'{"command": "arm"}\n')
        connection.shutdown(socket.SHUT_WR)
        assert said(connection)["ok"]
    assert service.done == ["arm"]


@pytest.mark.parametrize("ends", [True, False])
def test_disarm_without_a_newline_disarms(service, ends):
    with connect(service.path) as connection:
        connection.sendall(DISARM)
        if ends:
            connection.shutdown(socket.SHUT_WR)
        assert said(connection)["ok"]
        assert service.done == ["disarm"]


def test_a_newline_that_comes_after_the_answer_is_no_request(service):
    with connect(service.path) as connection:
        connection.sendall(DISARM)
        assert said(connection)["ok"]
        connection.sendall(b"\n" + DISARM + b"\n")
        assert said(connection)["ok"]
    assert service.done == ["disarm", "disarm"]


def test_half_a_request_at_the_end_is_not_carried_out(service):
    with connect(service.path) as connection:
        connection.sendall(DISARM[:-1])
        connection.shutdown(socket.SHUT_WR)
        assert "not a request" in said(connection)["error"]
    assert service.done == []


def test_the_oldest_idle_connection_is_closed_for_a_new_one(service, connections):
    for connection in connections:
        connection.sendall(DISARM + b"\n")
        assert said(connection)["ok"]
    assert ask(service.path, "arm") is None
    assert connections[0].recv(1) == b""
    connections[1].sendall(DISARM + b"\n")
    assert said(connections[1])["ok"]


def test_disarm_gets_a_place_while_all_connections_are_busy(service, connections):
    service.hold(connections)
    with pytest.raises(ControlError, match=f"{MAX_CONNECTIONS} connections are busy; try again later"):
        ask(service.path, "arm")
    idle = [connect(service.path) for _ in range(URGENT_CONNECTIONS)]  # whose places are not kept for sitting on either
    assert ask(service.path, "disarm") is None
    assert service.done == ["disarm"]
    for connection in idle:
        connection.close()


def test_connections_beyond_all_places_wait_until_one_is_free(service, connections):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pitcore.control.server.ROOM_S", 0.05)
        patch.setattr("pitcore.control.server.URGENT_CONNECTIONS", 0)
        service.hold(connections)
        with pytest.raises(ControlError, match="connections are busy"):
            ask(service.path, "disarm")
    service.go_on.set()
    for connection in connections:
        assert said(connection)["ok"]
    assert ask(service.path, "arm") is None


@pytest.mark.parametrize(
    ("command", "expires"), [("arm", True), ("reload", True), ("disarm", False), ("status", False)]
)
def test_only_requests_that_must_not_be_late_carry_a_deadline(tmp_path, command, expires):
    """An older service refuses what it does not know; it must still take `disarm`."""
    path = tmp_path / "c.sock"
    heard = []
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()

        def answer():
            connection, _ = other.accept()
            with connection:
                heard.append(json.loads(connection.recv(4096)))
                connection.sendall(b'{"ok": true}\n')

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        ask(path, command, timeout_s=60.0)
        thread.join()
    assert set(heard[0]) == {"command", "args", "schema"} | ({"until_ns"} if expires else set())
    if expires:
        assert 0 < heard[0]["until_ns"] - time.monotonic_ns() < 59e9


def test_a_request_that_is_nested_too_deeply_is_answered(service):
    with connect(service.path) as connection:
        connection.sendall(DEEP)
        assert "not a request" in said(connection)["error"]
