"""Answers Prometheus at http://BIND:PORT/metrics, and writes the same figures to a file for node_exporter.

The library's ``process_*`` are at the port only: node_exporter has its own of the same names, and refuses others.

The number of connections is limited; a new one closes the oldest. If the port or the file cannot be opened, it is tried
again.
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
from pitcore.output_path import listening_fix
from pitcore.outputs.figures import ServiceCollector
from pitcore.sinks.output_state import OutputState, reason_of
from pitcore.verdict import Event, Verdict

log = logging.getLogger(__name__)

RETRY_S = 5.0
STOP_S = 2.0
REQUEST_S = 10.0  # time-out of each read and write
MAX_CONNECTIONS = 8


class PrometheusOutput:
    """Implements ``sink.Sink`` and ``opening.Publisher``. It ignores verdicts and exports counters.

    Args:
        config: ``[metrics]`` of the configuration.

    Attributes:
        port: port on which it listens; 0 before it does.
    """

    def __init__(self, config: MetricsConfig) -> None:
        self._config = config
        self._scraped, self._textfile = CollectorRegistry(), CollectorRegistry()
        ProcessCollector(registry=self._scraped)
        self._output_state = OutputState("metrics", RETRY_S)
        self._written = OutputState("metrics", max(RETRY_S, config.every_s))
        self._stopped = threading.Event()
        self._tried = threading.Event()
        self._threads: list[threading.Thread] = []
        self.port = 0

    def publish(self, commands: Commands) -> None:
        """Start to answer and to write. Returns after the first attempt to open the port."""
        for registry in (self._scraped, self._textfile):
            registry.register(ServiceCollector(commands))
        if self._config.enabled:
            self._begin("pitcore-metrics", self._serve)
            self._tried.wait(STOP_S)
        if self._config.textfile is not None:
            self._begin("pitcore-textfile", self._write)

    def emit(self, records: Sequence[Verdict | Event]) -> None:
        """Do nothing: the figures are read from the counters."""

    def status(self) -> dict[str, Any]:
        """See ``pitcore.sinks.sink.ReportsStatus``."""
        status: dict[str, Any] = {"kind": "metrics"}
        if self._config.enabled:
            status["address"] = f"http://{self._config.bind}:{self.port or self._config.port}/metrics"
        if self._config.textfile is not None:
            status["textfile"] = self._config.textfile
        if not all(thread.is_alive() for thread in self._threads):
            return status | {"state": "ended"}
        return status | (self._output_state if self._output_state.failing else self._written).status()

    def close(self) -> None:
        """Stop, and remove the text file, whose figures would be out of date. Safe to call twice."""
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
                server = _server(self._config, self._scraped)
            except OSError as error:
                self._output_state.fails(
                    f"{self._config.bind}:{self._config.port} cannot be opened for listening: {reason_of(error)}",
                    listening_fix(error, "metrics"),
                )
                self._tried.set()
                self._stopped.wait(RETRY_S)
                continue
            with server:
                self.port = server.server_port
                self._output_state.works(f"listens on {self._config.bind}:{self.port} now")
                self._tried.set()
                while not self._stopped.is_set():
                    server.handle_request()
                server.drop_all()

    def _write(self) -> None:
        path = Path(self._config.textfile or "")
        while True:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_to_textfile(str(path), self._textfile)
            except OSError as error:
                self._written.fails(
                    f"{path} cannot be written: {reason_of(error)}",
                    "Choose another textfile, or let the service write there (ReadWritePaths= in its unit)",
                )
            else:
                self._written.works(f"{path} is written again")
            if self._stopped.wait(self._config.every_s):
                break
        with contextlib.suppress(OSError):
            path.unlink()


class _Server(ThreadingWSGIServer):
    """A server with a limited number of connections; each has a thread."""

    request_queue_size = MAX_CONNECTIONS
    timeout = 0.1  # `handle_request` returns after this time without a request

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401  of the library's
        self._open: list[socket.socket] = []
        self._changing = threading.Lock()
        super().__init__(*args, **options)

    def server_bind(self) -> None:
        """Bind like the library, but without a name server request for this machine's name."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """Answer on a new thread; if there are too many connections, close the oldest."""
        with self._changing:
            self._open.append(request)
            oldest = self._open.pop(0) if len(self._open) > MAX_CONNECTIONS else None
        if oldest is not None:
            _shut(oldest)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401
        """Unregister and close a connection."""
        with self._changing, contextlib.suppress(ValueError):
            self._open.remove(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """Do nothing: the client disconnected, or was closed in favour of a newer connection."""

    def drop_all(self) -> None:
        """Close every connection."""
        with self._changing:
            left = list(self._open)
        for request in left:
            _shut(request)


class _Handler(WSGIRequestHandler):
    """A request handler that logs nothing and has a time-out."""

    timeout = REQUEST_S

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def get_stderr(self) -> Any:  # noqa: ANN401  of the library's
        """Return a buffer that discards the library's messages on disconnected clients; ``_answering`` logs bugs."""
        return io.StringIO()


def _server(config: MetricsConfig, registry: CollectorRegistry) -> _Server:
    """Return a listening server. Raises OSError."""
    family, *_, address = socket.getaddrinfo(
        config.bind, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    server_class = type("_Server", (_Server,), {"address_family": family})
    server: _Server = server_class(address, _Handler)
    server.set_app(_answering(registry))
    return server


def _answering(registry: CollectorRegistry) -> Callable[..., Any]:
    """Return the library's WSGI application; exceptions are logged."""
    library = make_wsgi_app(registry)

    def answer(environ: Any, start_response: Any) -> Any:  # noqa: ANN401  of the library's
        try:
            return library(environ, start_response)
        except Exception:
            log.exception("[metrics] a bug in pitcore; Prometheus gets no figures")
            raise

    return answer


def _shut(connection: socket.socket) -> None:
    """Shut a connection down; the thread that waits for it then closes it."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
