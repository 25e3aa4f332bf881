"""Encodes and checks the messages of the control socket: schema ``pitcore.control/1``.

One JSON object a line, both ways: a request ``{"command": "status", "args": {}}`` is answered by ``{"ok": true,
"result": ...}`` or ``{"ok": false, "error": "one line for people"}``. Several may follow on one connection. ``server``
and ``client`` use the sockets.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pitcore.errors import ControlError

MAX_REQUEST_BYTES = 16 * 1024
MAX_REPLY_BYTES = 1024 * 1024
MAX_PATH_BYTES = 107  # sun_path of Linux's sockaddr_un, without its last zero byte
EXPIRES = frozenset({"arm", "reload", "point", "test_valve"})  # must not be executed after their client stopped waiting
URGENT = frozenset({"disarm"})  # executed even if nobody waits, and answered however many other clients there are
BOARD_SOCKET = "/run/pitcore/control.sock"  # in every shipped board configuration


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One command.

    Attributes:
        command: its name.
        args: its arguments, by name.
        until_ns: CLOCK_MONOTONIC after which it must not be executed, because the client has stopped waiting.
    """

    command: Annotated[str, Meta(max_length=64)]
    args: dict[str, Any] = msgspec.field(default_factory=dict)
    schema: Literal["pitcore.control/1"] = "pitcore.control/1"
    until_ns: int | UnsetType = UNSET  # left out if not needed, because an older service refuses it


class Reply(msgspec.Struct, frozen=True):
    """One answer.

    Attributes:
        ok: the command was executed.
        result: of the command.
        error: one line with the reason why it was not.
    """

    ok: bool
    result: Any = None
    error: str | None = None
    schema: Literal["pitcore.control/1"] = "pitcore.control/1"


def lock_path(path: Path) -> Path:
    """Return the lock file of a running service; it holds the process number."""
    return path.with_name(path.name + ".lock")


def encode(message: Request | Reply) -> bytes:
    """Return a message as one line."""
    return msgspec.json.encode(message) + b"\n"


def decode_request(line: bytes) -> Request:
    """Decode a line. Raises ControlError."""
    try:
        return msgspec.json.decode(line, type=Request)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ControlError(
            f'not a request: {error}; send {{"command": "status", "args": {{}}}} and a newline'
        ) from error


def is_request(raw: bytes) -> bool:
    """Return whether this is a complete request."""
    try:
        decode_request(raw)
    except ControlError:
        return False
    return True


def decode_reply(line: bytes) -> Reply:
    """Decode a line. Raises ControlError."""
    try:
        return msgspec.json.decode(line, type=Reply)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ControlError(
            f"the service's answer cannot be read: {error}; client and service differ in version"
        ) from error


def check_path(path: Path) -> None:
    """Check that a socket may have this path. Raises ControlError."""
    length = len(os.fsencode(path))
    if length > MAX_PATH_BYTES:
        raise ControlError(
            f"{path}: {length} bytes, but a Unix socket's path has at most {MAX_PATH_BYTES}; shorten [control] socket"
        )
