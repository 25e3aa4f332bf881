"""Interprets a server's answer: the requested file, or a page that the network sent instead. Pure.

The content decides, not the type in the header: many servers send a wrong type, and a login page may have any. Every
published text file begins with one of a few keys, and no published file begins with ``<``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from html import unescape

from urllib3 import exceptions as faults

from pitcore.errors import Refusal, UpdateError, first_line
from pitcore.ota.minimum_speed import Pace
from pitcore.plain_text import printable

_BLANK = b"\t\n\r \xef\xbb\xbf\xfe\xff\x00"  # also the marks of UTF-8 and UTF-16
_TEXT_FILE = re.compile(rb'\s*\{\s*"(signatures|signed|schema|name)"')  # metadata, or a channel
_SHOWN = 60  # letters of an unexpected answer that are shown
_PAGE_BYTES = 4096  # of a web page that are read for this
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_MARKUP = re.compile(
    r"<(script|style)\b.*?(</\1>|$)|<!--.*?(-->|$)|<[^>]*(>|$)", re.IGNORECASE | re.DOTALL
)  # all that a browser does not show
_LOG_IN = "log this network in, or let the board through"
_OBJECT = re.compile(r"^\w+\(host=.*?\): |\[Errno -?\d+\] ")  # a connection or pool as Python shows it, and a number
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)")  # longer ones are no lengths of files


def checked(chunks: Iterator[bytes], url: str) -> Iterator[bytes]:
    """Pass chunks on, unless they begin like a web page, however small they are.

    Raises:
        UpdateError: the answer is a web page.
    """
    head = b""
    for chunk in chunks:
        head += chunk
        begun = head.lstrip(_BLANK)
        if begun.startswith(b"<"):
            with suppress(UpdateError):  # what came is enough to say what it is
                while len(head) < _PAGE_BYTES and (more := next(chunks, b"")):
                    head += more
            raise captive(url, f"the server sent a web page instead of the file; it begins with '{_beginning(head)}'")
        if begun:
            yield head
            break
    else:
        if head:
            yield head
        return
    yield from chunks


def check_text_file(content: bytes, url: str) -> None:
    """Refuse content that cannot be the beginning of metadata or of a channel.

    Args:
        content: all of the answer, or its beginning.
        url: of the request.

    Raises:
        UpdateError: the answer is something else.
    """
    if _TEXT_FILE.match(content):
        return
    if not content.strip(_BLANK):
        raise captive(url, "the server sent nothing instead of the file")
    raise captive(url, f"the server sent something else instead of the file; it begins with '{_beginning(content)}'")


def _beginning(answer: bytes) -> str:
    """Return the title or the first words of an answer, as a browser shows them, in one line."""
    text = answer[:_PAGE_BYTES].replace(b"\x00", b"").strip(_BLANK).decode("utf-8", "replace")  # also UTF-16
    title = _TITLE.search(text)
    if title is not None and title[1].strip():
        text = title[1]
    elif text.startswith("<"):
        text = _MARKUP.sub(" ", text)
    words = " ".join(unescape(text).split())
    return printable(words[:_SHOWN])


def check_headers(headers: Mapping[str, str], url: str) -> None:
    """Refuse an answer whose header says that it is compressed or a login page. Raises UpdateError."""
    encoding = headers.get("Content-Encoding", "identity").strip().lower()
    # A server may take the end of a patch's name for an encoding: then its bytes are as they were published.
    if encoding not in {"", "identity"} and not url.endswith(f".{encoding}"):
        raise UpdateError(
            Refusal.UNAVAILABLE,
            f"{url}: the server, or a proxy before it, compressed the answer ({encoding[:20]}) although that was not "
            "asked for; switch compression off there for the repository",
        )
    if headers.get("Content-Type", "").lower().startswith("application/captive+json"):
        raise captive(url, "the network sent its login page instead of the file")


def captive(url: str, what: str) -> UpdateError:
    """Return the refusal of an answer that is not from the repository."""
    return UpdateError(Refusal.CAPTIVE_PORTAL, f"{url}: {what}; {_LOG_IN}, then check the address")


def refused_status(status: int, headers: Mapping[str, str], url: str) -> UpdateError:
    """Return the refusal for a status other than success."""
    if status == 401:
        return UpdateError(
            Refusal.NOT_SET_UP,
            f"{url}: the server asks for a name and a password, or refuses those given; set [update] url to "
            "https://NAME:PASSWORD@HOST/...",
        )
    if status == 407:
        return UpdateError(Refusal.UNREACHABLE, f"{url}: {_PROXY_WANTS}")
    if status in {403, 404, 410}:  # object stores answer 403 for what they do not have
        return UpdateError(
            Refusal.NOT_FOUND,
            f"{url}: the server answers {status}; check the URL in the configuration, then tell the server's owner",
        )
    if status == 511:
        return captive(url, "this network asks for a login")
    if 300 <= status < 400:
        to = headers.get("Location", "")[:200].partition("?")[0].rpartition("@")[2]
        return UpdateError(
            Refusal.UNAVAILABLE,
            f"{url}: the server answers {status} and sends the board to {to!r}; {_LOG_IN}, or set the url to the "
            "server's new address",
        )
    wait = headers.get("Retry-After", "")
    asks = f" and asks to wait {wait} s" if wait.isdecimal() and len(wait) < 7 else ""
    return UpdateError(Refusal.UNAVAILABLE, f"{url}: the server answers {status}{asks}; it is tried again later")


# Errors of urllib3 and of sockets, and what they mean. The first that fits counts.
_MEANINGS: tuple[tuple[type[Exception] | tuple[type[Exception], ...], Refusal, str], ...] = (
    (faults.LocationValueError, Refusal.NOT_SET_UP, "fix the URL in the configuration"),
    (
        faults.ProxyError,
        Refusal.UNREACHABLE,
        "check the proxy that https_proxy or http_proxy names, and the network",
    ),
    (
        (faults.NewConnectionError, faults.ConnectTimeoutError, faults.SSLError),
        Refusal.UNREACHABLE,
        "check the network and the board's clock",
    ),
    ((faults.TimeoutError, TimeoutError), Refusal.TOO_SLOW, "try again on a faster network"),
    (faults.ResponseError, Refusal.UNAVAILABLE, "check the URL in the configuration"),
)
_PROXY_WANTS = (
    "the proxy asks for a name and a password, or refuses those given; set https_proxy or http_proxy to "
    "http://NAME:PASSWORD@HOST:PORT"
)


def range_of(headers: Mapping[str, str]) -> tuple[int, int | None]:
    """Return the start of a partial answer and the length of the whole file; a start of -1 means no match."""
    found = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
    if found is None:
        return -1, None
    return int(found[1]), None if found[2] == "*" else int(found[2])


@contextmanager
def refusals(url: str, pace: Pace) -> Iterator[None]:
    """Convert urllib3's errors, and those it passes on, into ours."""
    try:
        yield
    except (faults.HTTPError, OSError, ValueError) as error:
        cause = error.reason if isinstance(error, faults.MaxRetryError) and error.reason else error
        if pace.remaining_s() == 0.0:
            cause = faults.TimeoutError("it took longer than allowed")  # the watchdog hung up
        raise _refusal(cause, url) from error


def _words(error: BaseException) -> str:
    """Return what happened, without the objects that urllib3 writes into its messages."""
    match error.args:
        case (str(what), BaseException() as cause):
            return f"{what.rstrip('.')}: {_words(cause)}"
        case (_, str(what)):  # a connection or a number, and what happened
            return printable(what)
    return printable(_OBJECT.sub("", first_line(error)))


def _refusal(error: BaseException, url: str) -> UpdateError:
    what = _words(error)
    if isinstance(error, faults.ProxyError) and " 407" in f"{what} {error.original_error}":
        return UpdateError(Refusal.UNREACHABLE, f"{url}: {_PROXY_WANTS}")
    for kinds, refusal, fix in _MEANINGS:
        if isinstance(error, kinds):
            return UpdateError(refusal, f"{url}: {what}; {fix}")
    return UpdateError(
        Refusal.CUT_SHORT, f"{url}: {what}; the received part is kept, and the next try fetches the rest"
    )
