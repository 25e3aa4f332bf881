"""Limits what browsers may send, how much and for how long.

``Guard`` checks each request first: host, length of the body, origin of a write. ``BoundedHttp`` limits the number of
connections, and closes one that does not send its request or does not read its answer.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import struct
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, ClassVar

from starlette.responses import JSONResponse
from uvicorn.protocols.http.h11_impl import H11Protocol

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_CONNECTIONS = 128
MAX_HEADER_BYTES, MAX_HEADERS = 8192, 100
MAX_BODY_BYTES = 4096
REQUEST_S = 10.0  # time to send a request, from the connection or the previous answer on
STALL_S = 10.0  # an answer of which nothing is read for longer is cut off
SOCKET_BYTES = 128 * 1024  # buffer in the kernel for a viewer who does not read
SWEEP_S = 1.0
_HOST = re.compile(r"(?P<name>\[[^\]@]+\]|[^\s\[\]@:/?#\\]+)(:[0-9]{0,5})?")  # no user, no path
READS, WRITES = ("GET", "HEAD"), ("POST", "DELETE")
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "cache-control": "no-store",
}
_HEADERS = [(name.encode(), value.encode()) for name, value in HEADERS.items()]


class TooLargeError(Exception):
    """A request with a body longer than ``MAX_BODY_BYTES``."""


class Guard:
    """ASGI middleware that refuses requests and adds security headers to answers.

    Args:
        app: the application that answers.
        names: additional host names of this board. A request for another name is refused, because a foreign page can
            use one to read this page (DNS rebinding).
    """

    def __init__(self, app: App, names: tuple[str, ...]) -> None:
        own = socket.gethostname().lower()
        self._app = app
        self._names = {"localhost", own, f"{own.split('.')[0]}.local", *(name.lower() for name in names)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request to the application, or refuse it."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        refusal = self._refusal(scope, headers)

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", []), *_HEADERS]}
            await send(message)

        if refusal is not None:
            status, why = refusal
            # The rest of the request is not read: the connection is closed after this answer.
            answer = JSONResponse({"error": why}, status, headers={"connection": "close"})
            return await answer(scope, receive, send_safely)
        return await self._app(scope, _bounded(receive), send_safely)

    def _refusal(self, scope: Scope, headers: list[tuple[str, str]]) -> tuple[int, str] | None:
        """Return (HTTP status, reason) if a request is refused, else None."""
        method = scope["method"]
        if method not in {*READS, *WRITES}:
            return 405, "this method is not known here"
        if len(headers) > MAX_HEADERS or sum(len(name) + len(value) for name, value in headers) > MAX_HEADER_BYTES:
            return 431, "too much in the headers"
        hosts = [value for name, value in headers if name == "host"]
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            return 421, "this board has another name; add it to [page] names, or use the board's address"
        lengths = [value for name, value in headers if name == "content-length"]
        if lengths and int(lengths[0]) > MAX_BODY_BYTES:  # h11 accepts only numbers
            return 413, f"the body is longer than {MAX_BODY_BYTES} bytes"
        if method in WRITES:
            return _foreign(scope["scheme"], hosts[0], dict(headers))
        return None

    def _is_ours(self, host: str) -> bool:
        found = _HOST.fullmatch(host.lower())
        if found is None:
            return False
        if found["name"] in self._names or host.lower() in self._names:
            return True
        try:  # any address: DNS rebinding needs a name, and a board behind a router does not know all its addresses
            ipaddress.ip_address(found["name"].strip("[]"))
        except ValueError:
            return False
        return True


def _foreign(scheme: str, host: str, headers: dict[str, str]) -> tuple[int, str] | None:
    """Return (HTTP status, reason) if a write does not come from the board's own page, else None."""
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if origin is None and site is None:
        return 403, "a write needs the header Origin, which browsers send"
    if (origin is not None and origin.lower() != f"{scheme}://{host}".lower()) or site not in {None, "same-origin"}:
        return 403, "a write must come from this page itself"
    if headers.get("content-type", "").split(";")[0].strip() != "application/json":
        return 415, "a write is JSON: content-type application/json"
    return None


def _bounded(receive: Receive) -> Receive:
    """Return a ``receive`` that raises TooLargeError if the body is too long."""
    taken = 0

    async def bounded() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > MAX_BODY_BYTES:
            raise TooLargeError
        return message

    return bounded


class BoundedHttp(H11Protocol):
    """A connection of uvicorn with limits."""

    everyone: ClassVar[list[BoundedHttp]] = []  # all connections, the oldest first

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Register the connection. If there are too many, drop an idle one, or this one if none is idle."""
        super().connection_made(transport)
        self.quiet_since = self.moving_since = time.monotonic()
        raw = transport.get_extra_info("socket")
        if raw is not None and raw.family != socket.AF_UNIX:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES)
        if len(self.everyone) >= MAX_CONNECTIONS:
            idle = next((one for one in self.everyone if not one.is_busy), self)
            idle.drop()
            if idle is self:
                return
            self.everyone.remove(idle)
        self.everyone.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Unregister the connection."""
        super().connection_lost(exc)
        if self in self.everyone:
            self.everyone.remove(self)

    @property
    def is_busy(self) -> bool:
        """True if a request is not completely answered."""
        return self.cycle is not None and not self.cycle.response_complete

    def check_time(self, now_s: float) -> None:
        """Close the connection if it sends or reads nothing for too long."""
        if not self.is_busy:
            self.moving_since = now_s
            if now_s - self.quiet_since > REQUEST_S:
                self.drop()
            return
        self.quiet_since = now_s
        is_waiting = self.flow.write_paused or (self.cycle.more_body and not self.cycle.response_started)
        if not is_waiting:
            self.moving_since = now_s
        elif now_s - self.moving_since > STALL_S:
            self.drop()

    def drop(self) -> None:
        """Close the connection at once. The kernel discards data that the client did not read."""
        raw = self.transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    @classmethod
    async def sweep(cls) -> None:
        """Check every connection once a second, for ever."""
        while True:
            await asyncio.sleep(SWEEP_S)
            now_s = time.monotonic()
            for one in list(cls.everyone):
                one.check_time(now_s)
