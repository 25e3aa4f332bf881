"""A real HTTP server on loopback that answers every request alike, as a proxy or a login page does."""

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Gateway:
    """Its address, and ``path`` and ``headers`` of each request."""

    url: str
    requests: list = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    def __init__(self, site, answer, *rest):
        self.site, self.answer = site, answer
        super().__init__(*rest)

    def log_message(self, *rest):
        pass

    def do_GET(self):
        self.site.requests.append(self)
        status, headers, body = self.answer
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    do_CONNECT = do_GET  # noqa: N815  a name that http.server asks for


@contextmanager
def gateway(status, headers, body):
    """Answer so for the time of a ``with``; yields the ``Gateway``."""
    site = Gateway("")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, site, (status, headers, body)))
    site.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
