"""Copies a repository to a stick: all roots, the newest metadata, and the archives that its channels name."""

from __future__ import annotations

from pathlib import Path

from pitcore.errors import PublishError
from pitcore.ota.channel import channel_target
from pitcore_tools.package.channels import read_channel, releases
from pitcore_tools.package.repository import MODELS, StaticRepository, channel_role
from pitcore_tools.package.served import write_served_file


def check_is_stick(destination: Path, repository: Path) -> None:
    """Raise PublishError if the destination is on this machine's file system, because the stick is not mounted."""
    place = next(folder for folder in (destination.absolute(), *destination.absolute().parents) if folder.exists())
    own = {folder.stat().st_dev for folder in (Path("/"), Path("/run"), repository) if folder.exists()}
    if place.stat().st_dev in own:
        raise PublishError(
            f"{destination}: on this machine's own disk, so no stick is mounted there; mount it (`findmnt` shows it), "
            "or give --folder to write to a folder of this machine"
        )


def export(repository: StaticRepository, destination: Path, channels: list[str]) -> int:
    """Copy everything that boards of these channels need; the timestamp comes last.

    Args:
        repository: the repository; no key is needed.
        destination: an empty folder, or a stick that was written before.
        channels: the channels to copy.

    Returns:
        The size of the copied files in bytes.

    Raises:
        PublishError: the destination has other files, or cannot be written.
    """
    if destination.exists() and any(destination.iterdir()) and not (destination / "metadata").is_dir():
        raise PublishError(f"{destination}: not empty, and no repository; name an empty folder on the stick")
    files = [*_targets(repository, channels), *_metadata(repository)]
    total = 0
    for path in files:
        to = destination / path.relative_to(repository.directory)
        try:
            content = path.read_bytes()
            write_served_file(to, content)
        except OSError as error:
            raise PublishError(f"{to}: {error.strerror}; is the stick full, or its switch on read-only?") from error
        total += len(content)
    return total


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
    """Return the files of all roots and the newest of every other role, the timestamp last."""
    folder = repository.directory / "metadata"
    roots = [folder / f"{version}.root.json" for version in repository.versions("root")]
    others = [
        folder / f"{repository.versions(role)[-1]}.{role}.json"
        for role in ("targets", *repository.delegated(), "snapshot")
    ]
    return [*others, *roots, folder / "timestamp.json"]
