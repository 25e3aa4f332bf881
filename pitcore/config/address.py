"""Checks web addresses and separates name and password from them.

Pure. Only the address without them is shown, logged or stored.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

WEB = ("http", "https")
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+):", re.IGNORECASE)
_HOST = re.compile(r"(localhost|[a-z0-9-]+(\.[a-z0-9-]+)+)(:\d+)?(/|$)", re.IGNORECASE)  # at the start of a text
_GAP = re.compile(r"[\s\x00-\x20\x7f\xa0]")


@dataclass(frozen=True, slots=True)
class Address:
    """A web address without credentials.

    Attributes:
        url: scheme in small letters, no slash at the end; safe to show.
        authorization: value of the HTTP header ``Authorization`` (RFC 7617), never shown; None without credentials.
    """

    url: str
    authorization: str | None = field(default=None, repr=False)


def read_address(text: str, schemes: tuple[str, ...] = WEB) -> Address:
    """Check an address and remove name and password from it.

    Args:
        text: ``https://HOST/PATH``, ``https://NAME:PASSWORD@HOST/PATH``, or ``file:///PATH``.
        schemes: accepted schemes.

    Raises:
        ValueError: it is not usable. The message gives the reason and not the address, which may hold a password.
    """
    if _GAP.search(text):
        raise ValueError("a space or a control character is in the address; remove it, or write it as %20")
    scheme, separator, _ = text.partition("://")
    if not separator or scheme.lower() not in schemes:
        raise ValueError(f"not an address with {' or '.join(f'{each}://' for each in schemes)}")
    try:
        parts = urlsplit(text)
        port = parts.port  # checked here, not at the first request
    except ValueError as error:
        raise ValueError("host or port cannot be read; write scheme://HOST:PORT/PATH, IPv6 as [::1]") from error
    if "?" in text or "#" in text:
        raise ValueError("? or # is in the address, and paths are added to its end; in a password write %3F or %23")
    if scheme.lower() == "file":
        if parts.netloc not in {"", "localhost"}:
            raise ValueError(f"a file on the host {parts.hostname}; write file:/// and the path from the root")
    elif not parts.hostname:
        raise ValueError("the host is missing; write scheme://HOST/PATH")
    return Address(_plain(parts, port), _basic(parts))


def is_address(text: str) -> bool:
    """Return whether a text is an address, not the path of a folder."""
    return "://" in text or _SCHEME.match(text) is not None


def check_path(text: str) -> None:
    """Refuse the path of a folder that begins like a host: ``http://`` was forgotten. Raises ValueError."""
    if _HOST.match(text):
        raise ValueError(f"begins like a host; write https://{text} or http://{text}, or ./{text} for a folder")


def _plain(parts: SplitResult, port: int | None) -> str:
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    place = host if port is None else f"{host}:{port}"
    return f"{parts.scheme}://{place}{parts.path.rstrip('/')}"


def _basic(parts: SplitResult) -> str | None:
    """Return the header value of HTTP's basic authentication."""
    if parts.username is None:
        return None
    said = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return f"Basic {base64.b64encode(said.encode()).decode()}"
