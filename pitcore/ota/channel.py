"""Decodes releases and channels, and decides which boards they ask. Pure: no IO.

Every model carries two signatures. An *offline* key signs the archive's name, hash and ``ReleaseMetadata``. An *online*
key signs the channel's file, which names archives listed in that way, and the share of boards that take them.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from pitcore.errors import Refusal, UpdateError, first_line
from pitcore.model_card import SCHEMAS as CONTRACTS
from pitcore.model_card import Sha256

MAX_CHANNEL_BYTES = 64 * 1024
COHORTS = 10_000  # a hundredth of a percent is the finest step

Bytes = Annotated[int, Meta(ge=1, le=2**40)]
_TARGET_NAME = re.compile(r"models/[a-z0-9][a-z0-9._-]{0,199}")


class PatchTarget(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A delta as signed by the offline key."""

    target: str
    sha256: Sha256
    length: Bytes
    method: Literal["zstd", "bsdiff4"]
    base_sha256: Sha256


class ReleaseMetadata(msgspec.Struct, frozen=True):
    """The custom data of an archive in offline-signed metadata. Unknown keys are ignored: they are for later boards.

    Attributes:
        release_seq: grows with every release that was ever made, whatever its version says.
        card_sha256: of the bundle's ``card.json``.
        label: ``name@version``.
        contract: of the card; a board that does not support it does not install the model.
        onnxruntime_min: as in the card.
        arch: machines it was tested on, as ``uname -m`` names them; empty means any.
        deltas: patches that make it.
    """

    release_seq: Annotated[int, Meta(ge=1, le=2**53)]
    card_sha256: Sha256
    label: str
    contract: str
    onnxruntime_min: str
    arch: tuple[str, ...] = ()
    deltas: tuple[PatchTarget, ...] = ()


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One release in a channel, and the share of boards that install it.

    Attributes:
        percent: share of the boards, 0 to 100, in steps of 0.01.
        salt: selects other boards for each release. It stays while ``percent`` grows, so no board leaves.
    """

    target: str
    percent: Annotated[float, Meta(ge=0.0, le=100.0)]
    salt: Annotated[str, Meta(min_length=8, max_length=64)]

    def __post_init__(self) -> None:
        """Refuse a share that is not a number, since JSON would store it as null. Raises ValueError."""
        if not 0.0 <= self.percent <= 100.0:
            raise ValueError(f"{self.percent} % is not a share of the boards; give 0 to 100")


class Channel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file of a channel: its releases, newest first. A board installs the first one that asks it."""

    schema: Literal["pitcore.channel/1"]
    name: str
    releases: Annotated[tuple[Entry, ...], Meta(max_length=8)]


@dataclass(frozen=True, slots=True)
class BoardMachine:
    """The properties of the board that a release must fit.

    Attributes:
        arch: as ``uname -m`` names it.
        onnxruntime: its version.
    """

    arch: str
    onnxruntime: str


def channel_target(channel: str) -> str:
    """Return the name of a channel's file in the repository."""
    return f"channels/{channel}.json"


def check_name(target: str) -> None:
    """Refuse a name of a model or patch that could mean a file elsewhere. Raises UpdateError."""
    if _TARGET_NAME.fullmatch(target) is None:
        raise UpdateError(
            Refusal.BAD_NAME,
            f"{target[:80]!r}: not the name of a model; the publisher's key is misused, tell the publisher",
        )


def decode_channel(raw: bytes, channel: str) -> Channel:
    """Decode a channel's file. Raises UpdateError."""
    try:
        found = msgspec.json.decode(raw, type=Channel)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        message = f"channel {channel}: {first_line(error)}; write it with `pitcore-tools package release`"
        raise UpdateError(Refusal.MALFORMED, message) from error
    if found.name != channel:
        raise UpdateError(Refusal.MIXED, f"channel {channel}: the file belongs to channel {found.name}; publish again")
    for entry in found.releases:
        check_name(entry.target)
    return found


def decode_release(custom: object, target: str) -> ReleaseMetadata:
    """Check the custom data of an archive. Raises UpdateError."""
    try:
        release = msgspec.convert(custom, ReleaseMetadata, strict=True)
    except msgspec.ValidationError as error:
        message = f"{target}: {first_line(error)}; write it with `pitcore-tools package add`"
        raise UpdateError(Refusal.MALFORMED, message) from error
    for patch in release.deltas:
        check_name(patch.target)
    return release


def asked(entry: Entry, device_id: str) -> bool:
    """Return whether a release asks this board: ``sha256(salt|device_id) % 10000 < percent * 100``."""
    digest = hashlib.sha256(f"{entry.salt}|{device_id}".encode()).digest()
    return int.from_bytes(digest, "big") % COHORTS < round(entry.percent * (COHORTS / 100))


def check_fits(release: ReleaseMetadata, machine: BoardMachine, target: str) -> None:
    """Refuse a release that this board cannot run. Raises UpdateError."""
    fix = "update pitcore on this board first"
    if release.contract not in CONTRACTS:
        why = f"made for {release.contract}, but this board supports {' and '.join(CONTRACTS)}"
    elif _version(release.onnxruntime_min) > _version(machine.onnxruntime):
        why = f"needs onnxruntime {release.onnxruntime_min}, but this board has {machine.onnxruntime}"
    elif release.arch and machine.arch not in release.arch:
        why, fix = (
            f"made for {', '.join(release.arch)}, but this board is {machine.arch}",
            "put the board in another channel",
        )
    else:
        return
    raise UpdateError(Refusal.INCOMPATIBLE, f"{target}: {why}; {fix}")


def _version(text: str) -> tuple[int, ...]:
    """Return the leading numbers of a version: 1.22.0 for 1.22.0rc1."""
    numbers = []
    for part in text.split(".")[:3]:
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
    return tuple(numbers + [0] * (3 - len(numbers)))
