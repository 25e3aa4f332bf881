"""Makes HTTP requests for the fetcher with urllib3: one request, its answer as a stream, faults as refusals.

urllib3 has no deadline: its time-outs start again with each byte, also in the headers. So a watchdog closes the
connection at the deadline. ``response`` interprets answers. Contents are not decoded, since a compressed answer is not
the signed file.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from pitcore import __version__
from pitcore.config.address import Address, read_address
from pitcore.errors import Refusal, UpdateError
from pitcore.ota.minimum_speed import Pace, SpeedLimits
from pitcore.ota.response import check_headers, checked, range_of, refusals, refused_status

CHUNK = 64 * 1024
HEADERS = {"User-Agent": f"pitcore/{__version__}", "Accept-Encoding": "identity"}
# A server that is busy is asked again by the next update, not in this one: it may ask for hours.
_RETRIES = urllib3.Retry(total=3, connect=0, read=0, status=0, other=0, redirect=3, respect_retry_after_header=False)
_NO_RETRIES = urllib3.Retry(total=0, redirect=False)


@dataclass(frozen=True, slots=True)
class ResponseBody:
    """The body of an answer.

    Attributes:
        start: offset of its first byte in the file; it may be 0 although another offset was requested.
        total: length of the whole file in bytes, if the server gives it.
        chunks: the bytes.
    """

    start: int
    total: int | None
    chunks: Iterator[bytes]


@dataclass(frozen=True, slots=True)
class Call:
    """A request that is not a download.

    Attributes:
        method: of HTTP.
        url: its address.
        headers: in addition to the default ones.
        body: to send.
    """

    method: str
    url: str
    headers: dict[str, str]
    body: bytes | None = None


class Web:
    """Requests over HTTP and HTTPS, one at a time.

    Args:
        limits: of silence and speed.
        pace: watches the rate and the deadline.
        authorization: sent with each request, but not to another server after a redirect.
    """

    def __init__(self, limits: SpeedLimits, pace: Pace, authorization: str | None = None) -> None:
        self._limits, self._pace = limits, pace
        self._headers = HEADERS | ({} if authorization is None else {"Authorization": authorization})
        self._line: socket.socket | None = None
        self._managers: dict[Address | None, urllib3.PoolManager] = {}

    @contextmanager
    def open(self, url: str, start: int) -> Iterator[ResponseBody]:
        """Ask for a file from an offset on.

        Raises:
            UpdateError: in the ``with`` statement or while the chunks are read.
        """
        with self._watched(url):
            with refusals(url, self._pace):
                response = self._request(url, start)
            try:
                yield self._body(response, url, start)
            finally:
                response.close()

    def exchange(self, call: Call, max_length: int) -> bytes:
        """Make a call that is not a download, and return the answer.

        Raises:
            UpdateError: as ``open``; or the answer is longer than ``max_length``.
        """
        url = call.url
        with self._watched(url):
            with refusals(url, self._pace):
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
                    raise refused_status(response.status, response.headers, url)
                check_headers(response.headers, url)
                content = bytearray()
                for chunk in checked(self._chunks(response, url), url):
                    content += chunk
                    if len(content) > max_length:
                        raise UpdateError(Refusal.OVERSIZED, f"{url}: the answer is longer than {max_length} bytes")
                return bytes(content)
            finally:
                response.close()

    @contextmanager
    def _watched(self, url: str) -> Iterator[None]:
        """Close the connection at the deadline."""
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
        """Return an answer with a usable body: 200, or a 206 that begins at the requested offset."""
        ranged = {"Range": f"bytes={start}-"} if start else {}
        response = self._manager(url).request(
            "GET",
            url,
            headers=self._headers | ranged,
            preload_content=False,
            decode_content=False,
            retries=_RETRIES,
            timeout=urllib3.Timeout(self._limits.silence_s),
        )
        refused = response.status == 416 or (response.status == 206 and range_of(response.headers)[0] != start)
        if start and refused:  # the file has changed, or the other side miscounts: from the beginning, then
            response.close()
            return self._request(url, 0)
        if response.status not in {200, 206}:
            response.close()
            raise refused_status(response.status, response.headers, url)
        try:
            check_headers(response.headers, url)
        except UpdateError:
            response.close()
            raise
        return response

    def _body(self, response: urllib3.BaseHTTPResponse, url: str, start: int) -> ResponseBody:
        if response.status == 206:
            return ResponseBody(start, range_of(response.headers)[1], self._chunks(response, url))
        announced = response.headers.get("Content-Length", "")
        total = int(announced) if announced.isdecimal() and len(announced) <= 18 else None
        return ResponseBody(0, total, checked(self._chunks(response, url), url))

    def _chunks(self, response: urllib3.BaseHTTPResponse, url: str) -> Iterator[bytes]:
        """Yield bytes as soon as they arrive. ``read`` would wait for a full chunk."""
        with refusals(url, self._pace):
            while chunk := response.read1(CHUNK):
                self._pace.received(len(chunk), url)
                yield chunk
            self._pace.received(0, url)  # where the watchdog hung up, http.client may see an orderly end

    def _manager(self, url: str) -> urllib3.PoolManager:
        """Return the connections for a URL: direct, or through the proxy that the environment names."""
        proxy = proxy_of(url)
        if proxy not in self._managers:
            manager = urllib3.PoolManager() if proxy is None else _through(proxy)
            manager.pool_classes_by_scheme = self._pool_classes()
            self._managers[proxy] = manager
        return self._managers[proxy]

    def _pool_classes(self) -> dict[str, type[urllib3.HTTPConnectionPool]]:
        """Return urllib3's pools with connections that give the watchdog a second handle of their socket.

        They do so when they connect, before the TLS handshake, and at each request, since it may use an open
        connection.
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
        """Take a second handle of a connection, if it is open."""
        if connection is not None:
            self._forget_line()
            # TLS takes the socket itself over, and its own kind of socket cannot `dup`.
            self._line = socket.socket(fileno=os.dup(connection.fileno()))
            if self._pace.remaining_s() == 0.0:  # the watchdog came while there was no handle
                self._hang_up()

    def _forget_line(self) -> None:
        """Close the second handle, since it keeps the connection open."""
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


def proxy_of(url: str) -> Address | None:
    """Return the proxy that the environment names for a URL, as curl reads it.

    The variables are ``https_proxy``, ``http_proxy`` and ``all_proxy``; ``no_proxy`` names hosts without a proxy.

    Raises:
        UpdateError: its value is not a proxy.
    """
    parts, known = urlsplit(url), getproxies()
    named = known.get(parts.scheme) or known.get("all")
    if not named or proxy_bypass(parts.hostname or ""):
        return None
    try:
        return read_address(named if "://" in named else f"http://{named}")
    except ValueError as error:
        raise UpdateError(
            Refusal.NOT_SET_UP,
            f"the proxy in {parts.scheme}_proxy or all_proxy: {error}; set it to http://NAME:PASSWORD@HOST:PORT",
        ) from error


def _through(proxy: Address) -> urllib3.ProxyManager:
    login = {} if proxy.authorization is None else {"Proxy-Authorization": proxy.authorization}
    return urllib3.ProxyManager(proxy.url, proxy_headers=login)
