"""Wraps the update framework (``tuf.ngclient``): its client, its files, and its errors.

A fault of a file of this board names that file, and a fault of what was fetched names the repository.

tuf verifies signatures, thresholds, versions and expiry. This module adds what tuf leaves out. It fsyncs tuf's files,
removes the rest of an interrupted run, and drops versions so high that no honest one could follow. ``trust`` chooses
the model.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from tuf.api import exceptions
from tuf.api.metadata import Metadata, Root, TargetFile, Targets
from tuf.api.serialization import DeserializationError
from tuf.ngclient import Updater

from pitcore.errors import Refusal, UpdateError, first_line
from pitcore.ota.disk import Disk, Operation, storage_error
from pitcore.ota.fetcher import Fetcher
from pitcore.ota.floors import RoleFloor
from pitcore.plain_text import printable

ISSUED = "x-pitcore-issued"  # in the signed part: when it was signed, as `expires` is written
MAX_ROOT_BYTES = 512_000  # as tuf
MAX_STEP = 1_000_000  # versions; one an hour for a hundred years
ROOT_FROM = "the trusted root.json"
_TOP = ("timestamp", "snapshot", "targets")
# Errors of tuf, roles they came with (None: any), and what they mean. The first that fits counts.
_MEANINGS: tuple[tuple[type[Exception] | tuple[type[Exception], ...], set[str] | None, Refusal, str], ...] = (
    (
        exceptions.UnsignedMetadataError,
        None,
        Refusal.BAD_SIGNATURE,
        "not signed by this board's publisher, or by too few keys",
    ),
    (exceptions.ExpiredMetadataError, None, Refusal.EXPIRED, "run `pitcore-tools package refresh`"),
    (exceptions.BadVersionNumberError, {"root"}, Refusal.ROOT_GAP, "publish every version of it"),
    (
        exceptions.BadVersionNumberError,
        {"timestamp", "snapshot"},
        Refusal.ROLLED_BACK,
        "this is an old copy of the repository, use a new one",
    ),
    (
        (exceptions.BadVersionNumberError, exceptions.LengthOrHashMismatchError),
        None,
        Refusal.MIXED,
        "parts of two publications, try again when the copy is complete",
    ),
    (exceptions.DownloadError, None, Refusal.UNREACHABLE, "check the network"),
)


@dataclass(frozen=True, slots=True)
class SeenMetadata:
    """A role's verified metadata on this board.

    Attributes:
        floor: version and keys.
        expires_s, issued_s: seconds since 1970; ``issued_s`` is 0 if the signer gives no time.
    """

    floor: RoleFloor
    expires_s: float
    issued_s: float


class TrustedMetadata:
    """Holds verified metadata of one repository. Only one instance at a time may use a directory.

    Args:
        directory: of tuf's files; exists, on a file system with links.
        url: of the folder with the metadata.
        root: provisioned; None trusts the ``root.json`` in the directory.
        fetcher: fetches the bytes.
        disk: for fsync.
        root_from: where ``root`` was read from, for error messages.

    Raises:
        UpdateError: ``root`` cannot be trusted, or the disk refuses.
    """

    def __init__(  # noqa: PLR0913, PLR0917  a client of tuf has as many
        self, directory: Path, url: str, root: bytes | None, fetcher: Fetcher, disk: Disk, root_from: str = ROOT_FROM
    ) -> None:
        self._directory, self._url, self._fetcher, self._disk = directory, url, fetcher, disk
        with self._border():
            for left in directory.glob("tmp*"):  # tuf's temporary files, when it was ended while writing one
                left.unlink()
            try:
                self._updater = Updater(str(directory), url, fetcher=fetcher, bootstrap=root)  # fetches nothing
            except exceptions.RepositoryError as error:
                raise UpdateError(
                    Refusal.NOT_SET_UP,
                    f"{root_from}: not the publisher's root.json: {printable(first_line(error))}; copy it there again",
                ) from error

    def refresh(self) -> None:
        """Update the top-level roles. Raises UpdateError."""
        with self._border():
            self._updater.refresh()

    def target(self, name: str) -> TargetFile | None:
        """Return the entry of a file in verified metadata, loading the delegated roles. Raises UpdateError."""
        with self._border():
            return self._updater.get_targetinfo(name)

    def sync(self) -> None:
        """Sync the accepted metadata, so that they survive a power cut. Raises UpdateError."""
        history = self._directory / "root_history"
        for path in (*sorted(history.glob("*.json")), *sorted(self._directory.glob("*.json"))):
            self._disk.perform(Operation("sync", path))
        for directory in (history, self._directory):
            self._disk.perform(Operation("sync directory", directory))

    def seen(self, delegated: frozenset[str]) -> dict[str, SeenMetadata]:
        """Return the top-level roles, and those of the named delegated roles that exist.

        Raises:
            UpdateError: a file that was verified a moment ago cannot be read.
        """
        root: Root = self._kept("root")
        targets: Targets = self._kept("targets")
        found = {"root": _seen(root, ())}  # replaced by its own keys: each version follows from the one before
        for role in _TOP:
            found[role] = _seen(self._kept(role), root.roles[role].keyids)
        delegations = targets.delegations.roles if targets.delegations else None
        for role, delegation in (delegations or {}).items():
            if role in delegated and self._path(role).exists():
                found[role] = _seen(self._kept(role), delegation.keyids)
        return found

    def forget_leaps(self, floors: dict[str, RoleFloor]) -> list[str]:
        """Remove metadata whose version is more than ``MAX_STEP`` above its floor, and return their roles.

        Metadata that depend on them are removed too. The floors still keep old metadata out.
        """
        leapt = []
        paths = [path for path in sorted(self._directory.glob("*.json")) if path.name != "root.json"]
        for path in paths:
            with suppress(UpdateError):
                role = unquote(path.stem)
                version = self._kept(role).version
                if version > MAX_STEP + (floors[role].version if role in floors else 0):
                    leapt.append(role)
        if leapt:
            for path in paths:
                path.unlink(missing_ok=True)
        return leapt

    def skips_a_root(self) -> bool:
        """Return whether the repository has the root after next, but not the next."""
        with suppress(OSError, UpdateError, exceptions.RepositoryError, exceptions.DownloadError):
            version = self._kept("root").version
            self._fetcher.download_bytes(self._root_url(version + 2), MAX_ROOT_BYTES)
            try:
                self._fetcher.download_bytes(self._root_url(version + 1), MAX_ROOT_BYTES)
            except exceptions.DownloadHTTPError:
                return True
        return False

    def consistent_snapshot(self) -> bool:
        """Return whether the names of targets begin with their hash. Raises UpdateError."""
        return bool(self._kept("root").consistent_snapshot)

    def _path(self, role: str) -> Path:
        return self._directory / f"{quote(role, '')}.json"

    def _kept(self, role: str) -> Any:  # noqa: ANN401  tuf types the four kinds apart
        """Return the signed part of a role's file on this board. Raises UpdateError."""
        path = self._path(role)
        try:
            return Metadata[Any].from_bytes(path.read_bytes()).signed
        except OSError as error:
            raise storage_error(path, error) from error
        except DeserializationError as error:
            raise UpdateError(
                Refusal.STORAGE, f"{path}: damaged on this board; delete it, the next run fetches it again"
            ) from error

    def _root_url(self, version: int) -> str:
        return f"{self._url.rstrip('/')}/{version}.root.json"

    @contextmanager
    def _border(self) -> Iterator[None]:
        """Convert tuf's errors into ours."""
        try:
            yield
        except (exceptions.RepositoryError, exceptions.DownloadError) as error:
            raise self._refusal(error) from error
        except OSError as error:
            named = error.filename2 or error.filename  # the target of a rename
            raise storage_error(Path(named) if isinstance(named, str) else self._directory, error) from error

    def _refusal(self, error: Exception) -> UpdateError:
        """Return the refusal for an error of tuf, which depends on the role that tuf was fetching."""
        if isinstance(error, exceptions.DownloadHTTPError):
            return UpdateError(Refusal.NOT_FOUND, first_line(error))  # from the fetcher, with place and fix
        role = _role(self._fetcher.last_url)
        for kinds, roles, refusal, fix in _MEANINGS:
            if isinstance(error, kinds) and (roles is None or role in roles):
                return UpdateError(refusal, f"{self._url}: {role}: {first_line(error)}; {fix}")
        return UpdateError(Refusal.MALFORMED, f"{self._url}: {role}: {first_line(error)}; publish it again")


def _seen(signed: Any, keys: list[str] | tuple[str, ...]) -> SeenMetadata:  # noqa: ANN401  tuf types the four kinds apart
    issued = signed.unrecognized_fields.get(ISSUED)
    issued_s = 0.0
    with suppress(TypeError, ValueError):
        issued_s = datetime.fromisoformat(issued).timestamp()
    return SeenMetadata(RoleFloor(signed.version, tuple(sorted(keys))), signed.expires.timestamp(), issued_s)


def _role(url: str) -> str:
    """Return the role in the last part of a URL: ``.../12.snapshot.json`` is of ``snapshot``."""
    name = unquote(url.rpartition("/")[2]).removesuffix(".json")
    version, dot, role = name.partition(".")
    return role if dot and version.isdecimal() else name
