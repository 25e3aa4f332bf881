"""Writes a repository of static files so that a reader never sees an incomplete publication.

It stores and signs metadata, and stores target files; ``publish`` decides what is published. Changes are collected in
memory. ``commit`` writes each file atomically and the timestamp last: until then boards see the old publication, and
after an error it stays in place.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tuf.api.metadata import (
    TOP_LEVEL_ROLE_NAMES,
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.repository import Repository

from pitcore.errors import PublishError
from pitcore.ota.clock import read_clock
from pitcore.ota.metadata import ISSUED
from pitcore_tools.package.keys import KeyRing
from pitcore_tools.package.served import write_served_file
from pitcore_tools.package.signing_time import check_signing_time

Now = Callable[[], datetime]
MODELS, CHANNEL_PREFIX = "models", "channel-"


@dataclass(frozen=True, slots=True)
class Rule:
    """The signing rule of a kind of role.

    Attributes:
        days: days until the metadata expire.
        keys, threshold: number of keys, and number of keys that must sign.
        offline: True if its keys are kept offline and used only to sign.
    """

    days: int
    keys: int
    threshold: int
    offline: bool


RULES = {
    "root": Rule(days=365, keys=3, threshold=2, offline=True),  # tolerates the loss of one key, and the theft of one
    "targets": Rule(days=365, keys=1, threshold=1, offline=True),
    MODELS: Rule(days=365, keys=1, threshold=1, offline=True),
    "channel": Rule(days=90, keys=1, threshold=1, offline=False),  # a channel may be unchanged for a season
    "snapshot": Rule(days=30, keys=1, threshold=1, offline=False),
    "timestamp": Rule(days=7, keys=1, threshold=1, offline=False),  # for at most this time a mirror can hide a release
}
_ORDER = ("targets", MODELS, CHANNEL_PREFIX, "snapshot", "root", "timestamp")  # order of writing
_NEW = {"root": Root, "timestamp": Timestamp, "snapshot": Snapshot}


def rule_of(role: str) -> Rule:
    """Return the rule for a role by its name."""
    return RULES["channel"] if role.startswith(CHANNEL_PREFIX) else RULES[role]


def channel_role(channel: str) -> str:
    """Return the name of the role that signs a channel's file."""
    return f"{CHANNEL_PREFIX}{channel}"


class StaticRepository(Repository):
    """Metadata and targets in a directory, in ``metadata/`` and ``targets/``.

    Args:
        directory: an existing directory.
        keys: the available keys.
        now: returns the time for signatures.
    """

    def __init__(self, directory: Path, keys: KeyRing, now: Now = lambda: datetime.now(UTC)) -> None:
        self.directory, self.keys, self._now = directory, keys, now
        self._metadata, self._targets = directory / "metadata", directory / "targets"
        self._pending: dict[str, Metadata[Any]] = {}
        self._written: dict[Path, bytes] = {}

    def open(self, role: str) -> Metadata[Any]:
        """Return a copy of a role's newest metadata, or new metadata if there are none."""
        if role in self._pending:
            return Metadata.from_bytes(self._pending[role].to_bytes())
        path = self._newest(role)
        if path is None:
            fresh: Metadata[Any] = Metadata(_NEW.get(role, Targets)())
            fresh.signed.version = 0  # ``close`` increments it
            return fresh
        try:
            return Metadata.from_file(str(path))
        except Exception as error:  # tuf passes on any exception of its decoder
            raise PublishError(f"{path}: cannot be read: {error}; restore the repository from its copy") from error

    def close(self, role: str, md: Metadata[Any]) -> None:
        """Sign the next version of a role, for ``commit`` to write. Raises PublishError."""
        now = self._now().replace(microsecond=0)
        signed = md.signed
        check_signing_time(now, self._last_signed(signed), synced=read_clock().synced)
        signed.version += 0 if role in self._pending else 1
        signed.expires = now + timedelta(days=rule_of(role).days)
        signed.unrecognized_fields[ISSUED] = now.strftime("%Y-%m-%dT%H:%M:%SZ")
        md.signatures.clear()
        for signer in self.keys.of(self._keyids(role, signed)):
            md.sign(signer, append=True)
        self._check_threshold(role, md)
        self._pending[role] = md

    @property
    def targets_infos(self) -> dict[str, MetaFile]:
        """The metadata files that the snapshot lists."""
        found = {}
        for role in ("targets", *self.delegated()):
            raw = self.open(role).to_bytes() if role in self._pending else self._read_newest(role)
            if raw is not None:
                version = Metadata[Targets].from_bytes(raw).signed.version
                found[f"{role}.json"] = MetaFile.from_data(version, raw, ["sha256"])
        return found

    @property
    def snapshot_info(self) -> MetaFile:
        """The snapshot's entry in the timestamp."""
        raw = self.open("snapshot").to_bytes()
        return MetaFile.from_data(Metadata[Snapshot].from_bytes(raw).signed.version, raw, ["sha256"])

    def delegated(self) -> list[str]:
        """Return the names of the delegated roles."""
        delegations = self.targets().delegations
        return list(delegations.roles or ()) if delegations else []

    def delegate(self, role: str, patterns: list[str]) -> None:
        """Delegate to a new role without keys; ``Targets.add_key`` adds them."""
        rule = rule_of(role)
        with self.edit_targets() as targets:
            if targets.delegations is None:
                targets.delegations = Delegations({}, {})
            roles = targets.delegations.roles
            assert roles is not None, "a table of roles, as made above"  # noqa: S101  the other kind is never made
            roles[role] = DelegatedRole(role, [], rule.threshold, terminating=True, paths=patterns)

    def put_target(self, name: str, content: bytes, custom: dict[str, Any] | None = None) -> TargetFile:
        """Store a target file and return its metadata, which the caller adds to a role."""
        target = TargetFile.from_data(name, content, ["sha256"])
        if custom is not None:
            target.unrecognized_fields["custom"] = custom
        self._written[self.target_path(target)] = content
        return target

    def target_path(self, target: TargetFile) -> Path:
        """Return the path of a target."""
        return self._targets / target.get_prefixed_paths()[0]

    def can_sign(self, role: str) -> bool:
        """Return True if enough keys of a role are available."""
        return len(self.keys.of(self._keyids(role, self.open(role).signed))) >= rule_of(role).threshold

    def publish(self) -> bool:
        """Update snapshot and timestamp after changes. Return False if their keys are not available."""
        if not (self.can_sign("snapshot") and self.can_sign("timestamp")):
            return False
        infos = self.targets_infos
        if self._snapshot_is_due(infos):
            with self.edit_snapshot() as snapshot:
                snapshot.meta = infos
        with self.edit_timestamp() as timestamp:
            timestamp.snapshot_meta = self.snapshot_info
        return True

    def days_left(self, role: str) -> float:
        """Return the days until a role's metadata expire; negative if they have expired."""
        left: timedelta = self.open(role).signed.expires - self._now()
        return left / timedelta(days=1)

    def _last_signed(self, signed: Any) -> datetime | None:  # noqa: ANN401  tuf types the four kinds apart
        """Return the time at which a role, or else the timestamp on disk, was signed; None if there is none."""
        path = self._newest("timestamp")
        both = [signed] if path is None else [signed, self.open("timestamp").signed]
        issued = [each.unrecognized_fields[ISSUED] for each in both if ISSUED in each.unrecognized_fields]
        return max(map(datetime.fromisoformat, issued), default=None)

    def _snapshot_is_due(self, infos: dict[str, MetaFile]) -> bool:
        path = self._newest("snapshot")
        if path is None or "root" in self._pending:  # its key may be another
            return True
        rests = Metadata[Snapshot].from_file(str(path)).signed.meta == infos
        return not rests or self.days_left("snapshot") < rule_of("snapshot").days / 2

    def commit(self) -> list[str]:
        """Write all changes, and return the names of the files. Raises PublishError."""
        files = dict(self._written)
        for role in sorted(self._pending, key=_position):
            md = self._pending[role]
            name = "timestamp.json" if role == "timestamp" else f"{md.signed.version}.{role}.json"
            files[self._metadata / name] = md.to_bytes()
        for path, content in files.items():
            try:
                write_served_file(path, content)
            except OSError as error:
                raise PublishError(
                    f"{path}: {error.strerror}; boards still see the old publication, run the command again"
                ) from error
        self._pending.clear()
        self._written.clear()
        return [path.relative_to(self.directory).as_posix() for path in files]

    def versions(self, role: str) -> list[int]:
        """Return the versions of a role on disk, oldest first."""
        found = (path.name.partition(".")[0] for path in self._metadata.glob(f"*.{role}.json"))
        return sorted(int(version) for version in found if version.isdecimal())

    def _newest(self, role: str) -> Path | None:
        if role == "timestamp":
            path = self._metadata / "timestamp.json"
            return path if path.exists() else None
        versions = self.versions(role)
        return self._metadata / f"{versions[-1]}.{role}.json" if versions else None

    def _read_newest(self, role: str) -> bytes | None:
        path = self._newest(role)
        return path.read_bytes() if path else None

    def _keyids(self, role: str, signed: Any) -> list[str]:  # noqa: ANN401  tuf types the four kinds apart
        """Return the ids of the keys that sign a role; a root is signed by its own and by the previous root's keys."""
        if role == "root":
            before = self._newest("root")
            old = Metadata[Root].from_file(str(before)).signed.roles["root"].keyids if before else []
            return list(dict.fromkeys([*signed.roles["root"].keyids, *old]))
        if role in TOP_LEVEL_ROLE_NAMES:
            return list(self.root().roles[role].keyids)
        return list(self.targets().get_delegated_role(role).keyids)

    def _check_threshold(self, role: str, md: Metadata[Any]) -> None:
        delegators: list[Any] = [self.root() if role in TOP_LEVEL_ROLE_NAMES else self.targets()]
        if role == "root":
            before = self._newest("root")
            delegators = [md.signed, *([Metadata[Root].from_file(str(before)).signed] if before else [])]
        for delegator in delegators:
            result = delegator.get_verification_result(role, md.signed_bytes, md.signatures)
            if not result:
                kind = "offline" if rule_of(role).offline else "online"
                missing = ", ".join(keyid[:12] for keyid in result.unsigned)
                raise PublishError(
                    f"{role}: signed by {len(result.signed)} of the {result.threshold} keys it needs; add --keys with "
                    f"the folder of its {kind} keys (missing: {missing})"
                )


def _position(role: str) -> int:
    return next(number for number, prefix in enumerate(_ORDER) if role.startswith(prefix))


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Lock the repository against other publishers. Raises PublishError."""
    if not (directory / "metadata").is_dir():
        raise PublishError(f"{directory}: no repository here; make one with `pitcore-tools package init`")
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise PublishError(f"{directory}: another command publishes here; wait until it has ended") from error
    finally:
        os.close(fd)
