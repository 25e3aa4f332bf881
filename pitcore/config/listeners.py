"""Finds two servers of a configuration that would listen at one address."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from itertools import combinations
from typing import Protocol


class Listener(Protocol):
    """A section that runs a server."""

    @property
    def enabled(self) -> bool:
        """Whether it runs."""
        ...

    @property
    def bind(self) -> str:
        """Address to listen on."""
        ...

    @property
    def port(self) -> int:
        """TCP; 0 takes a free one."""
        ...


def clash(listeners: Mapping[str, Listener]) -> str | None:
    """Return which two servers take the same port of the same address; None if each has its own.

    Args:
        listeners: by section. ``localhost`` is 127.0.0.1; no other host name is resolved.
    """
    running = [(name, one) for name, one in listeners.items() if one.enabled and one.port]
    for (name, one), (other_name, other) in combinations(running, 2):
        if one.port == other.port and _overlap(one.bind, other.bind):
            return (
                f"{name}.port and {other_name}.port are both {one.port}, at {one.bind} ({name}.bind) and {other.bind} "
                f"({other_name}.bind): only one of them can listen there; give {other_name}.port another number"
            )
    return None


def _overlap(one: str, other: str) -> bool:
    if one == other:
        return True
    first, second = _address(one), _address(other)
    if first is None or second is None or first.version != second.version:
        return False
    return first == second or first.is_unspecified or second.is_unspecified


def _address(bind: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address("127.0.0.1" if bind == "localhost" else bind)
    except ValueError:
        return None
