"""Writes the file of a channel: the releases, and the share of boards for each."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from pathlib import Path

import msgspec

from pitcore.errors import PublishError, UpdateError
from pitcore.ota.channel import Channel, Entry, ReleaseMetadata, channel_target, decode_channel, decode_release
from pitcore_tools.package.repository import CHANNEL_PREFIX, MODELS, StaticRepository, channel_role


def check_channel_name(channel: str) -> None:
    """Raise PublishError if a channel's name is not a plain word."""
    if re.fullmatch(r"[a-z0-9][a-z0-9-]{0,30}", channel) is None:
        raise PublishError(f"channel {channel!r}: use small letters, digits and hyphens, 31 at most")


def releases(repository: StaticRepository) -> dict[str, ReleaseMetadata]:
    """Return every listed archive by name, oldest first."""
    found = {
        name: decode_release(target.custom, name)
        for name, target in repository.targets(MODELS).targets.items()
        if target.custom is not None and "release_seq" in target.custom
    }
    return dict(sorted(found.items(), key=lambda item: item[1].release_seq))


def channels(repository: StaticRepository) -> list[str]:
    """Return the names of the channels."""
    return [role.removeprefix(CHANNEL_PREFIX) for role in repository.delegated() if role.startswith(CHANNEL_PREFIX)]


def read_channel(repository: StaticRepository, channel: str) -> Channel:
    """Return a channel. Raises PublishError if there is none."""
    role = channel_role(channel)
    if role not in repository.delegated():
        known = ", ".join(channels(repository))
        raise PublishError(f"channel {channel}: there is none; there are {known}")
    path = _path(repository, channel)
    try:
        return decode_channel(path.read_bytes(), channel)
    except OSError as error:
        raise PublishError(f"{path}: {error.strerror}; copy it back, or release again") from error


def read_to_replace(repository: StaticRepository, channel: str, tell: Callable[[str], None]) -> Channel:
    """Return a channel; a channel that cannot be read is returned empty, so that a release can replace it.

    Raises:
        PublishError: there is no such channel.
    """
    try:
        return read_channel(repository, channel)
    except UpdateError as error:
        tell(f"{error}; what the channel asked for before is lost, and this release is written alone")
        return Channel("pitcore.channel/1", channel, ())


def has_channel(repository: StaticRepository, channel: str) -> bool:
    """Return True if the channel's file exists here; a stick may not have all channels."""
    return _path(repository, channel).exists()


def _path(repository: StaticRepository, channel: str) -> Path:
    target = repository.targets(channel_role(channel)).targets[channel_target(channel)]
    return repository.target_path(target)


def write_channel(repository: StaticRepository, channel: Channel) -> None:
    """Sign a channel's file. Raises PublishError."""
    name = channel_target(channel.name)
    target = repository.put_target(name, msgspec.json.format(msgspec.json.encode(channel), indent=2) + b"\n")
    with repository.edit_targets(channel_role(channel.name)) as targets:
        targets.targets = {name: target}


def phase(channel: Channel, known: dict[str, ReleaseMetadata], target: str, percent: float) -> Channel:
    """Return the channel with ``target`` released to ``percent`` of the boards.

    While a newer release is phased in, a release at 100 % stays in the channel for the boards that are not selected
    yet, and for new boards. A release keeps its salt, so a selected board stays selected.

    Raises:
        PublishError: there is no such archive, it is older than the channel's release, or ``percent`` is invalid.
    """
    if target not in known:
        raise PublishError(f"{target}: not in this repository; `pitcore-tools package list` shows what is")
    newest = max((known[entry.target].release_seq for entry in channel.releases), default=0)
    if known[target].release_seq < newest:
        raise PublishError(
            f"{target}: older than what channel {channel.name} has, and no board goes back; "
            "add its bundle --again, it gets a new number"
        )
    same = next((entry for entry in channel.releases if entry.target == target), None)
    try:
        entry = Entry(target, percent, same.salt if same else secrets.token_hex(16))
    except ValueError as error:
        raise PublishError(f"{target}: {error}") from error
    base = [before for before in channel.releases if before.target != target and before.percent == 100.0]
    return Channel(channel.schema, channel.name, (entry, *base[:1]) if percent < 100.0 else (entry,))
