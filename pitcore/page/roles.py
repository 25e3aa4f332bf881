"""Manages permissions on the page: roles, their tokens on disk, and sessions of browsers.

A token is 256 random bits, shown once when it is created. Only its SHA-256 is stored, and it is never logged.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
import time
from collections import OrderedDict
from pathlib import Path
from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta

from pitcore.durable import replace_file
from pitcore.errors import ConfigError, PageError
from pitcore.output_path import fix_of
from pitcore.wall_clock import utc_now

Role = Literal["viewer", "operator", "engineer"]
ROLES: tuple[Role, ...] = get_args(Role)  # each includes the rights of those before it
FILE = "page_tokens.json"
AS_SERVICE = "run this as the user of the service"
MODE = 0o600
MAX_TOKENS, MAX_SESSIONS = 100, 256
SESSION_S = 12 * 3600.0  # longer than a shift
MAX_TOKEN_CHARS = 200


class Token(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A stored token.

    Attributes:
        name: name of its owner, for the log.
        role: role of its owner.
        sha256: hash of the token, in hex.
        made: time of creation, UTC, RFC 3339.
    """

    name: Annotated[str, Meta(min_length=1, max_length=64)]
    role: Role
    sha256: str
    made: str


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    tokens: list[Token] = []
    schema: Literal["pitcore.page-tokens/1"] = "pitcore.page-tokens/1"


def read_tokens(path: Path) -> list[Token]:
    """Return the tokens of a file; none if there is no file.

    Raises:
        PageError: the file cannot be read, is damaged, or other users than its owner may read it.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode) or mode & 0o077:
                raise PageError(f"{path}: other users can read it, so no token is accepted; chmod 600 {path}")
            return msgspec.json.decode(file.read(1 << 20), type=_File).tokens
    except FileNotFoundError:
        return []
    except OSError as error:
        raise PageError(f"{path}: cannot be read: {error.strerror}; {fix_of(error, AS_SERVICE)}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PageError(f"{path}: is damaged: {error}; remove it, and make tokens again") from error


def add_token(path: Path, role: Role, name: str) -> str:
    """Create a token for a person and return it. Raises PageError."""
    tokens = read_tokens(path)
    if any(token.name == name for token in tokens):
        raise PageError(f"{name} has a token; revoke it first: pitcore page revoke {name}")
    if len(tokens) >= MAX_TOKENS:
        raise PageError(f"there are {MAX_TOKENS} tokens; revoke one first")
    token = secrets.token_urlsafe(32)
    _write(path, [*tokens, Token(name, role, _hash(token), utc_now())])
    return token


def remove_token(path: Path, name: str) -> None:
    """Revoke a person's token and all sessions that use it. Raises PageError."""
    tokens = read_tokens(path)
    left = [token for token in tokens if token.name != name]
    if len(left) == len(tokens):
        known = ", ".join(token.name for token in tokens) or "there is none"
        raise PageError(f"no token is named {name}; known: {known}")
    _write(path, left)


def _write(path: Path, tokens: list[Token]) -> None:
    """Write the file, readable only by its owner. If root writes it, the owner is that of its folder.

    Raises:
        PageError: it cannot be written.
    """
    raw = msgspec.json.encode(_File(tokens))

    def fill(file: object) -> None:
        fd: int = file.fileno()  # type: ignore[attr-defined]
        os.fchmod(fd, MODE)
        if os.geteuid() == 0:
            owner = path.parent.stat()
            os.fchown(fd, owner.st_uid, owner.st_gid)
        os.write(fd, raw)

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, fill)
    except OSError as error:
        raise PageError(f"{path}: cannot be written: {error.strerror}; {fix_of(error, AS_SERVICE)}") from error


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


class Session(msgspec.Struct, frozen=True):
    """A session of a browser that sent a token; it ends at ``ends_s`` (CLOCK_MONOTONIC, seconds)."""

    token: Token
    ends_s: float


class Sessions:
    """Keeps the sessions of browsers, in memory only.

    Args:
        path: file of the tokens. It is read for each request, so that a revoked token is refused at once.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sessions: OrderedDict[str, Session] = OrderedDict()

    def begin(self, token: str) -> tuple[str, Token] | None:
        """Return the secret of a new session and its token; None if the token is unknown. Raises PageError."""
        digest = _hash(token[:MAX_TOKEN_CHARS])
        match = None
        for one in read_tokens(self._path):
            if secrets.compare_digest(one.sha256, digest):
                match = one
        if match is None:
            return None
        secret = secrets.token_urlsafe(32)
        self._sessions[_hash(secret)] = Session(match, time.monotonic() + SESSION_S)
        while len(self._sessions) > MAX_SESSIONS:
            self._sessions.popitem(last=False)
        return secret, match

    def find(self, secret: str | None) -> Token | None:
        """Return the token of a valid session, or None. Raises PageError."""
        session = None if not secret else self._sessions.get(_hash(secret[:MAX_TOKEN_CHARS]))
        if session is None or session.ends_s < time.monotonic():
            return None
        return session.token if session.token in read_tokens(self._path) else None

    def end(self, secret: str | None) -> None:
        """End a session."""
        if secret:
            self._sessions.pop(_hash(secret[:MAX_TOKEN_CHARS]), None)


def may(token: Token | None, needed: Role) -> bool:
    """Return True if a token's role includes the needed one."""
    return token is not None and ROLES.index(token.role) >= ROLES.index(needed)


def check_name(name: str) -> str:
    """Return a person's name if it can be shown in a log. Raises ConfigError."""
    if not 0 < len(name) <= 64 or not name.isprintable():
        raise ConfigError("a name is 1 to 64 printable characters")
    return name
