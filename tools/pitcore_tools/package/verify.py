"""Verifies a repository like a board, and compares every file with the signed metadata."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tuf.api.exceptions import LengthOrHashMismatchError
from tuf.api.metadata import TargetFile

from pitcore.errors import PublishError, first_line
from pitcore.ota.channel import channel_target
from pitcore.ota.disk import Disk
from pitcore.ota.fetcher import Fetcher
from pitcore.ota.metadata import ROOT_FROM, TrustedMetadata
from pitcore_tools.package.channels import channels as every_channel
from pitcore_tools.package.channels import has_channel, read_channel, releases
from pitcore_tools.package.keys import KeyRing
from pitcore_tools.package.repository import MODELS, StaticRepository
from pitcore_tools.package.served import check_readable


@dataclass(frozen=True, slots=True)
class Phase:
    """A release in a channel."""

    channel: str
    target: str
    label: str
    release_seq: int
    percent: float


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """The result of a verification.

    Attributes:
        days_left: days until the metadata of each role expire.
        phases: releases of each channel, newest first.
        files: number of targets that were checked.
    """

    days_left: dict[str, float]
    phases: list[Phase]
    files: int

    def plain(self) -> dict[str, Any]:
        """Return the values for JSON."""
        return asdict(self)


def verify(directory: Path, root: bytes | None = None, *, stick: bool = False) -> VerifyReport:
    """Verify a repository in a directory.

    Args:
        directory: directory of the repository, or of a stick.
        root: root metadata that boards are provisioned with; None takes the first of the repository.
        stick: True for a stick, which has only some channels and the archives that they name.

    Raises:
        UpdateError: a board would refuse the metadata.
        PublishError: a file is missing or differs from the signed metadata.
    """
    repository = StaticRepository(directory, KeyRing((), lambda: b""))
    versions = repository.versions("root")
    if not versions:
        raise PublishError(f"{directory}: no repository here; make one with `pitcore-tools package init`")
    if versions != list(range(1, versions[-1] + 1)):
        raise PublishError(f"{directory}: root.json has versions {versions}; boards need every one, copy them back")
    first = directory / "metadata" / "1.root.json"
    with tempfile.TemporaryDirectory(prefix="pitcore-verify-") as folder:
        fetcher = Fetcher()
        fetcher.begin(fetcher.limits.check_s)
        url = f"{directory.resolve().as_uri()}/metadata/"
        content, root_from = (first.read_bytes(), str(first)) if root is None else (root, ROOT_FROM)
        trusted = TrustedMetadata(Path(folder), url, content, fetcher, Disk(), root_from)
        trusted.refresh()
        channels = [name for name in every_channel(repository) if not stick or has_channel(repository, name)]
        named = phases(repository, channels)
        models = _named(repository, named) if stick else list(repository.targets(MODELS).targets)
        targets = [_trusted(trusted, name) for name in (*models, *map(channel_target, channels))]
    for target in targets:
        _check_file(repository, target)
    if not stick:
        check_readable(directory)
    roles = ("root", "targets", *repository.delegated(), "snapshot", "timestamp")
    days_left = {role: round(repository.days_left(role), 1) for role in roles}
    return VerifyReport(days_left, named, len(targets))


def phases(repository: StaticRepository, channels: list[str] | None = None) -> list[Phase]:
    """Return the releases of all or of the given channels. Raises PublishError if one is not listed."""
    known, found = releases(repository), []
    for channel in every_channel(repository) if channels is None else channels:
        for entry in read_channel(repository, channel).releases:
            if entry.target not in known:
                raise PublishError(f"channel {channel}: {entry.target} is signed by no offline key; release another")
            release = known[entry.target]
            found.append(Phase(channel, entry.target, release.label, release.release_seq, entry.percent))
    return found


def _named(repository: StaticRepository, named: list[Phase]) -> list[str]:
    """Return the archives that channels name, and the patches to them."""
    known = releases(repository)
    archives = [phase.target for phase in named]
    return [*archives, *(patch.target for name in archives for patch in known[name].deltas)]


def _trusted(trusted: TrustedMetadata, name: str) -> TargetFile:
    target = trusted.target(name)
    if target is None:
        raise PublishError(f"{name}: no key vouches for it; publish again with `pitcore-tools package refresh`")
    return target


def _check_file(repository: StaticRepository, target: TargetFile) -> None:
    path = repository.target_path(target)
    try:
        with path.open("rb") as file:
            target.verify_length_and_hashes(file)
    except OSError as error:
        raise PublishError(f"{path}: {error.strerror}; copy it back, or publish the release again") from error
    except LengthOrHashMismatchError as error:
        raise PublishError(f"{path}: {first_line(error)}; copy it back, or publish the release again") from error
