"""HTTP for the fetcher, on urllib3: one request, its answer as a stream, every fault as one of our refusals.

Two things urllib3 does not do by itself: an end in sight (its time-outs start afresh with each byte, also while a
server drips its headers), so a watchdog hangs up at the deadline; and telling the web page of a hotel's network from a
file.
Contents are not decoded: a compressed answer is not what was signed.
"""

from __future__ import annotations

import os
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3 import exceptions as faults
from urllib3.connection import HTTPConnection, HTTPSConnection

from pitcore import __version__
from pitcore.errors import Refusal, UpdateError, first_line
from pitcore.ota.pace import Limits, Pace

CHUNK = 64 * 1024
HEADERS = {"User-Agent": f"pitcore/{__version__}", "Accept-Encoding": "identity"}
_RETRIES = urllib3.Retry(total=3, connect=0, read=0, status=0, other=0, redirect=3)
_NO_RETRIES = urllib3.Retry(total=0, redirect=False)
_PAGE = re.compile(rb"\s*<(!doctype\s+html|html|head|meta|script)", re.IGNORECASE)
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


@dataclass(frozen=True, slots=True)
class Body:
    """What came.

    Attributes:
        start: offset of its first byte in the file; 0 also where another was asked for.
        total: length of the whole file in bytes, where the other side said so.
        chunks: the bytes.
    """

    start: int
    total: int | None
    chunks: Iterator[bytes]


@dataclass(frozen=True, slots=True)
class Call:
    """A request that is no download.

    Attributes:
        method: of HTTP.
        url: where to.
        headers: beside ours.
        body: to send.
    """

    method: str
    url: str
    headers: dict[str, str]
    body: bytes | None = None


class Web:
    """Requests over HTTP and HTTPS, one at a time.

    Args:
        limits: how long a silence may be.
        pace: what has come, and by when all must have.
    """

    def __init__(self, limits: Limits, pace: Pace) -> None:
        self._limits, self._pace = limits, pace
        self._line: socket.socket | None = None
        self._managers: dict[str | None, urllib3.PoolManager] = {}

    @contextmanager
    def open(self, url: str, start: int) -> Iterator[Body]:
        """Ask for a file from an offset on.

        Raises:
            UpdateError: in the ``with`` statement or while the chunks are read.
        """
        with self._watched(url):
            with _refusals(url, self._pace):
                response = self._request(url, start)
            try:
                yield self._body(response, url, start)
            finally:
                response.close()

    def exchange(self, call: Call, max_length: int) -> bytes:
        """Make a call that is no download, and return the answer.

        Raises:
            UpdateError: as ``open``; or the answer is longer than ``max_length``.
        """
        url = call.url
        with self._watched(url):
            with _refusals(url, self._pace):
                response = self._manager(url).request(
                    call.method,
                    url,
                    body=call.body,
                    headers=HEADERS | call.headers,
                    preload_content=False,
                    decode_content=False,
                    retries=_NO_RETRIES,  # a redirect would carry the token elsewhere
                    timeout=urllib3.Timeout(self._limits.silence_s),
                )
            try:
                if response.status in {401, 403}:
                    raise UpdateError(
                        Refusal.NOT_SET_UP, f"{url}: the server refuses this board's token; set the right one"
                    )
                if response.status not in {200, 201, 204}:
                    raise _refused_status(response.status, url)
                content = bytearray()
                for chunk in self._chunks(response, url, sniff=True):
                    content += chunk
                    if len(content) > max_length:
                        raise UpdateError(Refusal.OVERSIZED, f"{url}: an answer of more than {max_length} bytes")
                return bytes(content)
            finally:
                response.close()

    @contextmanager
    def _watched(self, url: str) -> Iterator[None]:
        """Hang up at the deadline."""
        self._pace.request(url)
        watchdog = threading.Timer(self._pace.remaining_s(), self._hang_up)
        watchdog.daemon = True
        watchdog.start()
        try:
            yield
        finally:
            watchdog.cancel()
            self._forget_line()

    def _request(self, url: str, start: int) -> urllib3.BaseHTTPResponse:
        """Return an answer that has a body for us: 200, or a 206 that begins where we asked."""
        ranged = {"Range": f"bytes={start}-"} if start else {}
        response = self._manager(url).request(
            "GET",
            url,
            headers=HEADERS | ranged,
            preload_content=False,
            decode_content=False,
            retries=_RETRIES,
            timeout=urllib3.Timeout(self._limits.silence_s),
        )
        refused = response.status == 416 or (response.status == 206 and _range(response)[0] != start)
        if start and refused:  # the file has changed, or the other side miscounts: from the beginning, then
            response.close()
            return self._request(url, 0)
        if response.status not in {200, 206}:
            response.close()
            raise _refused_status(response.status, url)
        if response.headers.get("Content-Type", "").lower().startswith("text/html"):
            response.close()
            raise _captive(url)
        return response

    def _body(self, response: urllib3.BaseHTTPResponse, url: str, start: int) -> Body:
        if response.status == 206:
            return Body(start, _range(response)[1], self._chunks(response, url, sniff=False))
        announced = response.headers.get("Content-Length", "")
        total = int(announced) if announced.isdecimal() else None
        return Body(0, total, self._chunks(response, url, sniff=True))

    def _chunks(self, response: urllib3.BaseHTTPResponse, url: str, *, sniff: bool) -> Iterator[bytes]:
        """Yield what has come as soon as it has come: ``read`` would wait for a full chunk, however slow."""
        with _refusals(url, self._pace):
            while chunk := response.read1(CHUNK):
                if sniff and _PAGE.match(chunk):
                    raise _captive(url)
                sniff = False
                self._pace.received(len(chunk), url)
                yield chunk
            self._pace.received(0, url)  # where the watchdog hung up, http.client may see an orderly end

    def _manager(self, url: str) -> urllib3.PoolManager:
        """Return the connections for a URL: direct, or through the proxy that the environment names."""
        parts = urlsplit(url)
        proxy = getproxies().get(parts.scheme)
        if proxy_bypass(parts.hostname or ""):
            proxy = None
        if proxy not in self._managers:
            manager = urllib3.ProxyManager(proxy) if proxy else urllib3.PoolManager()
            manager.pool_classes_by_scheme = self._pool_classes()
            self._managers[proxy] = manager
        return self._managers[proxy]

    def _pool_classes(self) -> dict[str, type[urllib3.HTTPConnectionPool]]:
        """Return urllib3's pools with connections that hand the watchdog a second handle of their socket.

        They do so when they connect, before TLS shakes hands, and at each request: it may go over a connection that an
        earlier one has left open.
        """
        opened, used = self._opened, self._used

        class Plain(HTTPConnection):
            def _new_conn(self) -> socket.socket:
                return opened(super()._new_conn())

            def request(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  as urllib3's
                used(self.sock)
                super().request(*args, **kwargs)

        class Secure(HTTPSConnection):
            def _new_conn(self) -> socket.socket:
                return opened(super()._new_conn())

            def request(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  as urllib3's
                used(self.sock)
                super().request(*args, **kwargs)

        class PlainPool(urllib3.HTTPConnectionPool):
            ConnectionCls = Plain

        class SecurePool(urllib3.HTTPSConnectionPool):
            ConnectionCls = Secure

        return {"http": PlainPool, "https": SecurePool}

    def _opened(self, connection: socket.socket) -> socket.socket:
        self._used(connection)
        return connection

    def _used(self, connection: socket.socket | None) -> None:
        """Take a second handle of a connection; None has not been opened yet."""
        if connection is not None:
            self._forget_line()
            # TLS takes the socket itself over, and its own kind of socket cannot `dup`.
            self._line = socket.socket(fileno=os.dup(connection.fileno()))
            if self._pace.remaining_s() == 0.0:  # the watchdog came while there was no handle
                self._hang_up()

    def _forget_line(self) -> None:
        """Close the second handle: while it lives, so does the connection."""
        line, self._line = self._line, None
        if line is not None:
            line.close()

    def _hang_up(self) -> None:
        line = self._line
        if line is not None:
            with suppress(OSError):  # it is closed already
                line.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close what is open."""
        for manager in self._managers.values():
            manager.clear()
        self._forget_line()


def _range(response: urllib3.BaseHTTPResponse) -> tuple[int, int | None]:
    """Return where a partial answer begins and how long the whole is; a start of -1 fits nothing."""
    found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if found is None:
        return -1, None
    return int(found[1]), None if found[2] == "*" else int(found[2])


def _captive(url: str) -> UpdateError:
    return UpdateError(
        Refusal.CAPTIVE_PORTAL, f"{url}: a web page came instead; log this network in, or let the board through"
    )


def _refused_status(status: int, url: str) -> UpdateError:
    if status in {403, 404, 410}:  # object stores answer 403 for what they do not have
        return UpdateError(
            Refusal.NOT_FOUND,
            f"{url}: the server answers {status}; check the repository's URL, then tell the publisher",
        )
    if status == 511:
        return _captive(url)
    return UpdateError(Refusal.UNAVAILABLE, f"{url}: the server answers {status}; it is tried again later")


@contextmanager
def _refusals(url: str, pace: Pace) -> Iterator[None]:
    """Turn urllib3's errors, and those it lets through, into ours."""
    try:
        yield
    except (faults.HTTPError, OSError, ValueError) as error:
        cause = error.reason if isinstance(error, faults.MaxRetryError) and error.reason else error
        if pace.remaining_s() == 0.0:
            cause = faults.TimeoutError("the time for it is over")  # the watchdog hung up
        raise _refusal(cause, url) from error


def _refusal(error: BaseException, url: str) -> UpdateError:
    what = first_line(error)
    if isinstance(error, faults.LocationValueError):
        return UpdateError(Refusal.NOT_SET_UP, f"{url}: no URL: {what}; mend the repository's URL in the configuration")
    if isinstance(error, (faults.NewConnectionError, faults.ConnectTimeoutError, faults.SSLError, faults.ProxyError)):
        return UpdateError(Refusal.UNREACHABLE, f"{url}: {what}; check the network and the board's clock")
    if isinstance(error, (faults.TimeoutError, TimeoutError)):
        return UpdateError(Refusal.TOO_SLOW, f"{url}: {what}; try again where the network is faster")
    if isinstance(error, faults.ResponseError):
        return UpdateError(Refusal.UNAVAILABLE, f"{url}: {what}; check the repository's URL")
    return UpdateError(Refusal.CUT_SHORT, f"{url}: {what}; what has come is kept, and the rest fetched next time")
