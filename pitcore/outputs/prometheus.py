"""Answers Prometheus at http://BIND:PORT/metrics, and writes the same to a file for node_exporter.

The server is bounded: so many connections at once, and the oldest makes room for the next. A port that cannot be had,
or a file that cannot be written, is tried again.
"""

from __future__ import annotations

import contextlib
import io
import logging
import socket
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler

from prometheus_client import CollectorRegistry, ProcessCollector, make_wsgi_app, write_to_textfile
from prometheus_client.exposition import ThreadingWSGIServer

from pitcore.config import MetricsConfig
from pitcore.control.commands import Commands
from pitcore.outputs.figures import ServiceCollector
from pitcore.sinks.standing import Standing, why
from pitcore.verdict import Event, Verdict

log = logging.getLogger(__name__)

RETRY_S = 5.0
STOP_S = 2.0
REQUEST_S = 10.0  # for each part of a request to come, and of the answer to go
MAX_CONNECTIONS = 8


class PrometheusOutput:
    """Implements ``sink.Sink`` and ``opening.Publisher``; verdicts pass by, since their counts are what is told.

    Args:
        config: its section.

    Attributes:
        port: that is listened on; 0 while none is.
    """

    def __init__(self, config: MetricsConfig) -> None:
        self._config = config
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._standing = Standing("metrics", RETRY_S)
        self._written = Standing("metrics", max(RETRY_S, config.every_s))
        self._stopped = threading.Event()
        self._tried = threading.Event()
        self._threads: list[threading.Thread] = []
        self.port = 0

    def publish(self, commands: Commands) -> None:
        """Answer and write from now on; returns when the port was tried once."""
        self._registry.register(ServiceCollector(commands))
        if self._config.enabled:
            self._begin("pitcore-metrics", self._serve)
            self._tried.wait(STOP_S)
        if self._config.textfile is not None:
            self._begin("pitcore-textfile", self._write)

    def emit(self, records: Sequence[Verdict | Event]) -> None:
        """Nothing: the figures are read where they are counted."""

    def status(self) -> dict[str, Any]:
        """See ``pitcore.sinks.sink.ReportsStatus``."""
        told: dict[str, Any] = {"kind": "metrics"}
        if self._config.enabled:
            told["address"] = f"http://{self._config.bind}:{self.port or self._config.port}/metrics"
        if self._config.textfile is not None:
            told["textfile"] = self._config.textfile
        if not all(thread.is_alive() for thread in self._threads):
            return told | {"state": "ended"}
        return told | (self._standing if self._standing.failing else self._written).status()

    def close(self) -> None:
        """Stop; the textfile goes, so that nobody takes its figures for new ones. Safe to call twice."""
        self._stopped.set()
        for thread in self._threads:
            thread.join(STOP_S)

    def _begin(self, name: str, run: Any) -> None:  # noqa: ANN401  a bound method
        thread = threading.Thread(target=run, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _serve(self) -> None:
        while not self._stopped.is_set():
            try:
                server = _server(self._config, self._registry)
            except OSError as error:
                self._standing.fails(
                    f"{self._config.bind}:{self._config.port} cannot be opened for listening: {why(error)}",
                    "Choose another port, or an address of this machine",
                )
                self._tried.set()
                self._stopped.wait(RETRY_S)
                continue
            with server:
                self.port = server.server_port
                self._standing.works(f"listens on {self._config.bind}:{self.port} now")
                self._tried.set()
                while not self._stopped.is_set():
                    server.handle_request()
                server.drop_all()

    def _write(self) -> None:
        path = Path(self._config.textfile or "")
        while True:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_to_textfile(str(path), self._registry)
            except OSError as error:
                self._written.fails(
                    f"{path} cannot be written: {why(error)}",
                    "Choose another textfile, or let the service write there (ReadWritePaths= in its unit)",
                )
            else:
                self._written.works(f"{path} is written again")
            if self._stopped.wait(self._config.every_s):
                break
        with contextlib.suppress(OSError):
            path.unlink()


class _Server(ThreadingWSGIServer):
    """A server of so many connections at once; each has a thread."""

    request_queue_size = MAX_CONNECTIONS
    timeout = 0.1  # after which `handle_request` returns though nobody asked

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401  of the library's
        self._open: list[socket.socket] = []
        self._changing = threading.Lock()
        super().__init__(*args, **options)

    def server_bind(self) -> None:
        """Bind without asking a name server for the name of this machine, as the library does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """Answer on a thread; where all places are taken, the oldest connection is closed."""
        with self._changing:
            self._open.append(request)
            oldest = self._open.pop(0) if len(self._open) > MAX_CONNECTIONS else None
        if oldest is not None:
            _shut(oldest)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401
        """Give the place back."""
        with self._changing, contextlib.suppress(ValueError):
            self._open.remove(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """Nothing: a client that went away, or was closed to make room, is no fault of ours."""

    def drop_all(self) -> None:
        """Close every connection."""
        with self._changing:
            left = list(self._open)
        for request in left:
            _shut(request)


class _Handler(WSGIRequestHandler):
    """Logs nothing, and does not wait for ever."""

    timeout = REQUEST_S

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def get_stderr(self) -> Any:  # noqa: ANN401  of the library's
        """Take what the library would print when a client goes away; ``_answering`` logs what is a fault of ours."""
        return io.StringIO()


def _server(config: MetricsConfig, registry: CollectorRegistry) -> _Server:
    """Listen. Raises OSError."""
    family, *_, address = socket.getaddrinfo(
        config.bind, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    made = type("_Server", (_Server,), {"address_family": family})
    server: _Server = made(address, _Handler)
    server.set_app(_answering(registry))
    return server


def _answering(registry: CollectorRegistry) -> Callable[..., Any]:
    """Return the library's application, which logs what it raises."""
    library = make_wsgi_app(registry)

    def answer(environ: Any, start_response: Any) -> Any:  # noqa: ANN401  of the library's
        try:
            return library(environ, start_response)
        except Exception:
            log.exception("[metrics] a fault of pitcore's; Prometheus gets no figures")
            raise

    return answer


def _shut(connection: socket.socket) -> None:
    """End a connection under the thread that waits for it; the thread closes it."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
