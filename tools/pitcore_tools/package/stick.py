"""Copies a repository to a stick: every root, the newest metadata, and the archives that its channels name."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import BinaryIO

from pitcore.durable import replace_file
from pitcore.errors import PublishError
from pitcore.ota.channel import channel_target
from pitcore_tools.package.channels import read_channel, releases
from pitcore_tools.package.repository import MODELS, StaticRepository, channel_role


def export(repository: StaticRepository, destination: Path, channels: list[str]) -> int:
    """Copy what boards of these channels need; the timestamp comes last.

    Args:
        repository: to copy; no key is needed.
        destination: empty, or a stick that was written before.
        channels: to take along.

    Returns:
        How many bytes the stick now holds for them.

    Raises:
        PublishError: something else lies there, or it cannot be written.
    """
    if destination.exists() and any(destination.iterdir()) and not (destination / "metadata").is_dir():
        raise PublishError(f"{destination}: not empty, and no repository; name an empty folder on the stick")
    files = [*_targets(repository, channels), *_metadata(repository)]
    total = 0
    for path in files:
        to = destination / path.relative_to(repository.directory)
        try:
            to.parent.mkdir(parents=True, exist_ok=True)
            content = path.read_bytes()
            replace_file(to, partial(_write, content))
        except OSError as error:
            raise PublishError(f"{to}: {error.strerror}; is the stick full, or its switch on read-only?") from error
        total += len(content)
    return total


def _write(content: bytes, file: BinaryIO) -> None:
    file.write(content)


def _targets(repository: StaticRepository, channels: list[str]) -> list[Path]:
    known, models = releases(repository), repository.targets(MODELS).targets
    names, paths = [], []
    for channel in channels:
        for entry in read_channel(repository, channel).releases:
            names += [entry.target, *(patch.target for patch in known[entry.target].deltas)]
        listed = repository.targets(channel_role(channel)).targets
        paths.append(repository.target_path(listed[channel_target(channel)]))
    return [*(repository.target_path(models[name]) for name in dict.fromkeys(names)), *paths]


def _metadata(repository: StaticRepository) -> list[Path]:
    """Return every root, and the newest of every other role, the timestamp at the end."""
    folder = repository.directory / "metadata"
    roots = [folder / f"{version}.root.json" for version in repository.versions("root")]
    others = [
        folder / f"{repository.versions(role)[-1]}.{role}.json"
        for role in ("targets", *repository.delegated(), "snapshot")
    ]
    return [*others, *roots, folder / "timestamp.json"]
