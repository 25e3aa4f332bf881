"""Tests that strangers, hostile pages and slow clients are refused."""

import contextlib
import functools
import itertools
import json
import socket
import ssl
import stat
import subprocess

import pytest

from pitcore.control.server import ControlServer
from pitcore.errors import ControlError, PageError
from pitcore.page.guard import HEADERS
from pitcore.page.roles import FILE, add_token, may, read_tokens, remove_token
from tests.cli.program import assert_one_clear_line, run_pitcore
from tests.page.board import PATIENCE_S, Board

pytest.importorskip("uvicorn", reason="the live page needs the extra `page`")
ROLES = ("viewer", "operator", "engineer")


class Asked:
    """The service's end of the control socket: keeps what was asked."""

    def __init__(self, path):
        self.args = []
        self.server = ControlServer(path)
        names = ("arm", "disarm", "point", "test_valve")
        self.server.start({name: functools.partial(self.take, name) for name in names})

    def take(self, name, args, _):
        self.args.append((name, dict(args)))
        if name == "point" and args.get("point") == "wild":
            raise ControlError("the model has no operating point wild; it has strict")
        return {"armed": name == "arm", "changed": True}


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    folder = tmp_path_factory.mktemp("secure")
    asked = Asked(folder / "c.sock")
    with Board(folder) as one:
        one.asked = asked
        one.tokens = {role: add_token(folder / "state" / FILE, role, f"{role}-name") for role in ROLES}
        yield one.ready()
    asked.server.close()


def log_in(board, token):
    """Return the cookie that a browser gets."""
    status, headers, _ = board.write("/session", {"token": token})
    assert status == 200
    return headers["set-cookie"]


DEEDS = [
    ("/do/arm", {}, "operator"),
    ("/do/disarm", {}, "operator"),
    ("/do/point", {"point": "strict"}, "engineer"),
    ("/do/test-valve", {"lane": 1}, "engineer"),
]


@pytest.mark.parametrize(("path", "body", "needed"), DEEDS)
def test_each_action_needs_its_role(board, path, body, needed):
    assert board.write(path, body)[0] == 401
    for role in ROLES:
        cookie = log_in(board, board.tokens[role]).split(";")[0]
        before = len(board.asked.args)
        allowed = ROLES.index(role) >= ROLES.index(needed)
        assert board.write(path, body, cookie=cookie)[0] == (200 if allowed else 403)
        assert len(board.asked.args) == before + allowed
    assert board.asked.args[-1][1] == body | {"page_user": "engineer-name"}


def test_the_reason_of_a_refusal_reaches_the_page(board):
    cookie = log_in(board, board.tokens["engineer"]).split(";")[0]
    status, _, raw = board.write("/do/point", {"point": "wild"}, cookie=cookie)
    assert (status, "no operating point wild" in json.loads(raw)["error"]) == (409, True)


def test_arguments_of_others_do_not_reach_the_service(board):
    cookie = log_in(board, board.tokens["operator"]).split(";")[0]
    board.write("/do/arm", {"sudo_user": "root", "page_user": "boss"}, cookie=cookie)
    assert board.asked.args[-1] == ("arm", {"page_user": "operator-name"})


def test_a_cookie_cannot_be_read_by_scripts_nor_sent_by_other_sites(board):
    cookie = log_in(board, board.tokens["viewer"]).lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert board.tokens["viewer"].lower() not in cookie


def test_a_wrong_token_is_refused_everywhere(board):
    for token in ("", "x" * 300, None, 7, board.tokens["viewer"][:-1]):
        assert board.write("/session", {"token": token})[0] == 401


def test_a_revoked_token_ends_its_sessions(board):
    path = board.folder / "state" / FILE
    token = add_token(path, "operator", "leaves")
    cookie = log_in(board, token).split(";")[0]
    assert board.write("/do/disarm", cookie=cookie)[0] == 200
    remove_token(path, "leaves")
    assert board.write("/do/disarm", cookie=cookie)[0] == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "https://127.0.0.1"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
    ],
)
def test_a_write_from_another_site_is_refused(board, headers):
    cookie = log_in(board, board.tokens["operator"]).split(";")[0]
    before = len(board.asked.args)
    assert board.write("/do/arm", cookie=cookie, **headers)[0] == 403
    assert len(board.asked.args) == before


def test_a_form_of_another_site_cannot_write(board):
    cookie = log_in(board, board.tokens["operator"]).split(";")[0]
    kinds = ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data")
    assert {board.write("/do/arm", cookie=cookie, content_type=kind)[0] for kind in kinds} == {415}
    assert board.ask("/do/arm", "POST", {}, cookie=cookie, content_type="application/json")[0] == 403  # no origin


FOREIGN = [
    *("evil.example", "127.0.0.1.evil.example", "", "localhost.evil.example:80", "a@b", "evil.example@127.0.0.1"),
    *("127.0.0.1/evil.example", "127.0.0.1:80@evil.example", "127.0.0.1:x", "[evil.example]", "a@[::1]"),
]


@pytest.mark.parametrize("host", FOREIGN)
def test_a_foreign_host_name_is_refused(board, host):
    assert board.ask("/state", host=host)[0] == 421


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8480", "127.0.0.1:1", "[::1]:8480", "8.8.8.8", socket.gethostname()]
)
def test_own_host_names_are_answered(board, host):
    assert board.ask("/", host=host)[0] == 200


PATHS = [
    *("/../../etc/passwd", "/..%2f..%2fetc/passwd", "/static/../page.js", "//etc/passwd", "/page.html", "/page.js/.."),
    *(
        "/%00",
        "/cherry/-1",
        "/cherry/1e9",
        "/cherry/99999999999999999999/0.png",
        "/cherry/" + "9" * 5000,  # Python's int() raises beyond 4300 digits
        "/cherry/1/" + "9" * 4500 + ".png",
        "/shifts/..%2f..%2f" + FILE,
        "/" + FILE,
    ),
]


@pytest.mark.parametrize("path", PATHS)
def test_no_path_leaves_the_static_folder(board, path):
    status, _, raw = board.ask(path)
    assert status in {400, 404}
    assert b"root:" not in raw
    assert b"sha256" not in raw


def test_a_large_body_is_refused_before_it_is_read(board):
    head = "POST /session HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://127.0.0.1\r\nContent-Type: application/json\r\n"
    said = board.raw(f"{head}Content-Length: 10000000\r\n\r\n".encode() + b"x" * 10_000_000)
    assert b" 413 " in said.split(b"\r\n")[0] or said == b""
    chunk = b"2000\r\n" + b"x" * 0x2000 + b"\r\n"
    said = board.raw(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + chunk * 1200)
    assert b" 413 " in said.split(b"\r\n")[0] or said == b""
    assert board.ask("/state")[0] == 200


HOSTILE = [
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"".join(b"X-%d: y\r\n" % number for number in range(2000)) + b"\r\n",
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET /\r\nHost: x\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"TRACE / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"PUT /page.js HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: pitcore_session=" + b"\xff" * 200 + b"\r\n\r\n",
    b"\0" * 5000,
]


@pytest.mark.parametrize("sent", HOSTILE, ids=range(len(HOSTILE)))
def test_invalid_requests_change_nothing(board, sent):
    said = board.raw(sent)
    first = said.split(b"\r\n")[0]
    assert b" 500 " not in first
    assert not first or b" 4" in first or b"Cookie" in sent
    assert board.ask("/state")[0] == 200


@pytest.mark.parametrize("body", [b"[]", b"{", b"\xff\xfe", b'"x"', b"[" * 4000, b"null"])
def test_a_body_that_is_no_object_is_refused(board, body):
    assert board.write("/session", body)[0] == 400


def test_every_answer_forbids_what_the_page_does_not_need(board):
    for path in ("/", "/page.js", "/state", "/nothing", "/shifts"):
        found = {name.lower(): value for name, value in board.ask(path)[1].items()}
        assert {name: found.get(name) for name in HEADERS} == HEADERS
        assert "server" not in found
        assert "access-control-allow-origin" not in found


def test_slow_senders_are_disconnected(board):
    with socket.create_connection(("127.0.0.1", board.sink.port), PATIENCE_S) as slow:
        slow.sendall(b"GET / HTTP/1.1\r\nHost: ")
        with contextlib.suppress(ConnectionError):
            assert slow.recv(100) == b""  # within REQUEST_S
    head = (
        b"POST /session HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://127.0.0.1\r\nContent-Type: application/json\r\n"
    )
    with socket.create_connection(("127.0.0.1", board.sink.port), PATIENCE_S) as slow:
        slow.sendall(head + b"Content-Length: 100\r\n\r\n{")
        with contextlib.suppress(ConnectionError):
            assert slow.recv(100) == b""


def test_silent_connections_do_not_keep_others_out(board):
    silent = [socket.create_connection(("127.0.0.1", board.sink.port), PATIENCE_S) for _ in range(200)]
    try:
        assert board.ask("/state")[0] == 200
    finally:
        for one in silent:
            one.close()


def test_a_page_that_is_not_open_shows_nothing_without_a_token(tmp_path):
    with Board(tmp_path, {"open": False}) as board:
        token = add_token(tmp_path / "state" / FILE, "viewer", "anna")
        board.ready()
        for path in ("/state", "/events", "/cherry/1", "/shifts", "/cherry/1/0.png"):
            assert board.ask(path)[0] == 401
        cookie = log_in(board, token).split(";")[0]
        assert board.ask("/state", cookie=cookie)[0] == 200


@pytest.mark.parametrize("end", ["the token is revoked", "the viewer logs out", "the tokens cannot be read"])
def test_an_open_stream_ends_with_the_right_to_see_it(tmp_path, end):
    path = tmp_path / "state" / FILE
    with Board(tmp_path, {"open": False}) as board:
        stays, goes = add_token(path, "viewer", "anna"), add_token(path, "viewer", "eve")
        board.ready()
        kept, cookie = (log_in(board, token).split(";")[0] for token in (stays, goes))
        stream, other = board.events(cookie=cookie), board.events(cookie=kept)
        assert [next(stream)[0], next(other)[0]] == ["setup", "setup"]
        if end == "the token is revoked":
            remove_token(path, "eve")
        elif end == "the viewer logs out":
            assert board.write("/session", method="DELETE", cookie=cookie)[0] == 200
        else:
            path.chmod(0o644)
        assert len(list(itertools.islice(stream, 100))) < 100  # it ends: 100 events take 50 s
        if "cannot" not in end:
            assert board.ask("/events", cookie=cookie)[0] == 401
            assert next(other)[0] in {"now", "picture"}
        other.close()


def test_no_token_is_in_a_log_or_a_page(board, capfd, caplog):
    token = board.tokens["engineer"]
    cookie = log_in(board, token).split(";")[0]
    board.write("/session", {"token": "wrong-token-of-anna"})
    board.write("/do/arm", cookie=cookie)
    said = "".join(capfd.readouterr()) + caplog.text
    for path in ("/", "/state", "/session", "/page.js"):
        said += board.ask(path, cookie=cookie)[2].decode()
    for secret in (token, "wrong-token-of-anna", cookie.split("=")[1]):
        assert secret not in said
    assert token.encode() not in (board.folder / "state" / FILE).read_bytes()


def test_https_is_served_with_certificate_and_key(tmp_path):
    certificate, key = tmp_path / "page.crt", tmp_path / "page.key"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    made += ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    done = subprocess.run([*made, "-keyout", key, "-out", certificate], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("openssl makes no certificate here")
    with Board(tmp_path, {"certificate": str(certificate), "key": str(key)}) as board:
        board.ready()
        trust = ssl.create_default_context(cafile=str(certificate))
        raw = socket.create_connection(("127.0.0.1", board.sink.port), PATIENCE_S)
        with raw, trust.wrap_socket(raw, server_hostname="127.0.0.1") as connection:
            connection.sendall(b"GET /state HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            assert connection.recv(15) == b"HTTP/1.1 200 OK"
        assert board.raw(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")[:8] != b"HTTP/1.1"


def test_an_unusable_certificate_is_reported(tmp_path):
    broken = tmp_path / "page.crt"
    broken.write_text("no certificate")
    with Board(tmp_path, {"certificate": str(broken), "key": str(broken)}) as board:
        board.wait(lambda: "certificate and key cannot be used" in board.sink.status().get("reason", ""), "the reason")


# Tokens on disk


def test_the_token_file_is_readable_by_its_owner_only(tmp_path):
    path = tmp_path / "state" / FILE
    add_token(path, "operator", "anna")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o640)
    with pytest.raises(PageError, match="chmod 600"):
        read_tokens(path)


def test_a_token_file_that_others_can_read_is_refused(tmp_path):
    with Board(tmp_path) as board:
        board.ready()
        path = tmp_path / "state" / FILE
        token = add_token(path, "engineer", "anna")
        path.chmod(0o644)
        assert board.write("/session", {"token": token})[0] == 503


def test_roles_include_those_below(tmp_path):
    path = tmp_path / FILE
    for role in ROLES:
        add_token(path, role, role)
    tokens = {token.role: token for token in read_tokens(path)}
    assert [may(tokens[role], "operator") for role in ROLES] == [False, True, True]
    assert not may(None, "viewer")


def test_the_command_makes_lists_and_revokes_tokens(tmp_path):
    config = tmp_path / "board.toml"
    config.write_text(f'[control]\nsocket = "{tmp_path / "c.sock"}"\nstate_dir = "{tmp_path / "state"}"\n')
    made = run_pitcore("page", "token", "operator", "--name", "anna", "--config", config)
    assert made.returncode == 0
    assert len(made.stdout.strip()) >= 40
    assert "anna" in run_pitcore("page", "list", "--config", config).stdout
    again = run_pitcore("page", "token", "operator", "--name", "anna", "--config", config)
    assert_one_clear_line(again, "anna has a token", "revoke")
    assert run_pitcore("page", "revoke", "anna", "--config", config).returncode == 0
    assert_one_clear_line(run_pitcore("page", "revoke", "anna", "--config", config), "no token is named anna")


def test_a_page_ends_with_the_service_though_a_viewer_reads_nothing(tmp_path):
    with Board(tmp_path) as board:
        board.ready()
        viewer = socket.create_connection(("127.0.0.1", board.sink.port), PATIENCE_S)
        viewer.sendall(b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        board.wait(lambda: board.sink._is_watched, "a viewer")
        process = board.sink._process
        board.sink.close()
        assert process.poll() is not None
        viewer.close()
