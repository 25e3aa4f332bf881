"""A real HTTP server on loopback that serves a directory, honestly or with one fault of transport."""

import socket
import ssl
import struct
import sys
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

PAGE = b"<!DOCTYPE html><html><head><title>Welcome to the Grand Hotel</title></head></html>"


@dataclass
class Site:
    """What the server does.

    ``faults`` maps a part of a path to the name of a fault, which a request for such a path meets ``times`` times.
    """

    root: Path
    faults: dict[str, str] = field(default_factory=dict)
    times: int = 10**6
    requests: list[tuple[str, str]] = field(default_factory=list)  # path, Range header
    raw: list[str] = field(default_factory=list)  # paths as they were sent
    clients: set[tuple[str, int]] = field(default_factory=set)  # one for each connection
    over: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    def fault(self, path):
        for part, name in self.faults.items():
            if part in path and self.times > 0:
                self.times -= 1
                return name
        return "none"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, site, *rest):
        self.site = site
        super().__init__(*rest)

    def log_message(self, *rest):
        pass

    def do_GET(self):
        self.name, self.asked = unquote(self.path).lstrip("/"), self.headers.get("Range", "")
        self.site.raw.append(self.path.lstrip("/"))
        self.site.clients.add(self.client_address)
        self.site.requests.append((self.name, self.asked))
        with suppress(ConnectionError, TimeoutError, ssl.SSLError):  # a client that gives up hangs up
            getattr(self, "serve_" + self.site.fault(self.name).replace("-", "_"))()

    def serve_none(self):
        content = self.read()
        if content is None:
            self.answer(404, b"no such file")
            return
        start = int(self.asked.removeprefix("bytes=").rstrip("-")) if self.asked else 0
        if start and start >= len(content):
            self.answer(416, b"", {"Content-Range": f"bytes */{len(content)}"})
        elif start:
            where = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self.answer(206, content[start:], {"Content-Range": where})
        else:
            self.answer(200, content)

    def read(self):
        for name in (self.path.lstrip("/"), self.name):  # a file may have the quoted name
            with suppress(OSError):
                return (self.site.root / name).read_bytes()
        return None

    def answer(self, status, content, headers=(), *, length=None, kind="application/octet-stream"):
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        if length != "none":
            self.send_header("Content-Length", str(len(content) if length is None else length))
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()

    def hang_up(self):
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    # Faults. Each is one way in which real servers, and those between us and them, go wrong.

    def serve_truncated(self):
        content = self.read()
        start = int(self.asked.removeprefix("bytes=").rstrip("-")) if self.asked else 0
        rest = content[start:]
        where = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}
        self.answer(206 if start else 200, rest[: max(len(rest) // 2, 1)], where, length=len(rest))
        self.hang_up()

    def serve_truncated_unannounced(self):
        content = self.read()
        self.answer(200, content[: len(content) // 2], length="none")
        self.hang_up()

    def serve_reset(self):
        content = self.read()
        self.answer(200, content[: len(content) // 2], length=len(content))
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def serve_stall(self):
        content = self.read()
        self.answer(200, content[: len(content) // 2], length=len(content))
        self.site.over.wait(60)
        self.hang_up()

    def serve_silence(self):
        self.site.over.wait(60)
        self.hang_up()

    def serve_drip(self):
        content = self.read()
        self.answer(200, b"", length=len(content))
        for byte in content:
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
            if self.site.over.wait(0.005):
                break

    def serve_dripped_headers(self):
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Padding: ")
        while not self.site.over.wait(0.01):
            self.wfile.write(b"x")
            self.wfile.flush()

    def serve_endless(self):
        self.send_response(200)
        self.end_headers()
        while not self.site.over.is_set():
            self.wfile.write(b'{"signed": ' + b" " * 65536)

    def serve_404(self):
        self.answer(404, b"gone")

    def serve_503(self):
        self.answer(503, b"busy", {"Retry-After": "1"})

    def serve_captive_portal(self):
        self.answer(200, PAGE, kind="text/html; charset=utf-8")

    def serve_disguised_portal(self):
        self.answer(200, b"\n " + PAGE)

    def serve_redirecting_portal(self):
        if self.name == "login":
            self.serve_captive_portal()
        else:
            self.answer(302, b"", {"Location": f"{self.site.url}/login"})

    def serve_redirect_loop(self):
        self.answer(302, b"", {"Location": f"{self.site.url}/{self.name}"})

    def serve_range_ignored(self):
        self.answer(200, self.read())

    def serve_range_refused(self):
        if self.asked:
            self.answer(416, b"")
        else:
            self.serve_none()

    def serve_range_misplaced(self):
        content = self.read()
        if self.asked:
            self.answer(206, content[1:], {"Content-Range": f"bytes 1-{len(content) - 1}/{len(content)}"})
        else:
            self.answer(200, content)

    def serve_longer(self):
        self.answer(200, self.read() + b"and more")

    def serve_longer_unannounced(self):
        self.answer(200, self.read() + b"and more", length="none")
        self.hang_up()

    def serve_shorter(self):
        self.answer(200, self.read()[:-3])

    def serve_altered(self):
        content = bytearray(self.read())
        content[len(content) // 2] ^= 1
        self.answer(200, bytes(content))


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], ConnectionError | ssl.SSLError):  # the tests have clients that give up
            super().handle_error(request, client_address)


@contextmanager
def serving(root, tls=None):
    """Serve a directory for the time of a ``with``; yields the ``Site``. ``tls``: the server's context."""
    site = Site(Path(root))
    server = Server(("127.0.0.1", 0), partial(Handler, site))
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    site.url = f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        site.over.set()
        server.shutdown()
        server.server_close()
        thread.join()
