"""Adds a bundle to the repository: tests it, packs it, makes patches to it, and signs the metadata."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from tuf.api.exceptions import LengthOrHashMismatchError
from tuf.api.metadata import TargetFile

from pitcore.errors import PublishError, first_line
from pitcore.inference.session import Session
from pitcore.machine import usable_cores
from pitcore.model_card import Bundle, load_bundle
from pitcore.ota import archive
from pitcore.ota.channel import PatchTarget as SignedPatch
from pitcore.ota.channel import ReleaseMetadata, check_name
from pitcore_tools.package.channels import channels, read_channel, releases
from pitcore_tools.package.patches import best_patch
from pitcore_tools.package.repository import CHANNEL_PREFIX, MODELS, StaticRepository, rule_of

GOLDEN_BATCH = 32
DUE_DAYS = 30.0  # a role with fewer days left needs its key soon
LAST_NUMBER = (
    "x-pitcore-last-release"  # in the models' metadata, so that a number is never used again, even after `withdraw`
)


@dataclass(frozen=True, slots=True)
class PublishRequest:
    """Options of a release.

    Attributes:
        bases: number of newest releases from which a patch to it is made.
        arch: machines for which it is; empty means any.
        again: True to release an existing archive again with a new number.
        number: number of the release; None takes the next.
    """

    bases: int = 3
    arch: tuple[str, ...] = ()
    again: bool = False
    number: int | None = None


@dataclass(frozen=True, slots=True)
class Added:
    """The result of ``add``.

    Attributes:
        target: name of the full archive.
        length: its size in bytes.
        release: the signed metadata of the release.
    """

    target: str
    length: int
    release: ReleaseMetadata


def add(repository: StaticRepository, directory: Path, wish: PublishRequest) -> Added:
    """Test a bundle, and list it with its patches, signed by the offline key.

    Raises:
        PublishError: it is in the repository already, or its key is not available.
        BundleError, CardError: the bundle is damaged, or fails its golden vectors on this machine.
    """
    bundle = load_bundle(directory)
    Session(bundle, capacity=GOLDEN_BATCH, workers=usable_cores())  # runs its golden vectors, as a board will
    content = _packed(bundle)
    known = releases(repository)
    number = _number(repository, known, wish.number)
    target = _target_name(repository, bundle, content, wish, number)
    patches, custom = _patches(repository, known, target, content, wish.bases), _custom(bundle, number, wish.arch)
    release = msgspec.structs.replace(custom, deltas=tuple(signed for signed, _ in patches))
    with repository.edit_targets(MODELS) as targets:
        targets.unrecognized_fields[LAST_NUMBER] = number
        for signed, patch in patches:
            targets.targets[signed.target] = repository.put_target(signed.target, patch)
        targets.targets[target] = repository.put_target(target, content, _plain(release))
    return Added(target, len(content), release)


def withdraw(repository: StaticRepository, target: str) -> None:
    """Remove an archive and its patches from the list. Boards that have it keep it.

    Raises:
        PublishError: it is not listed, or a channel names it.
    """
    known = releases(repository)
    if target not in known:
        raise PublishError(f"{target}: not in this repository; `pitcore-tools package list` shows what is")
    for channel in channels(repository):
        if any(entry.target == target for entry in read_channel(repository, channel).releases):
            raise PublishError(f"{target}: channel {channel} names it; release another there first")
    with repository.edit_targets(MODELS) as targets:
        for name in (target, *(patch.target for patch in known[target].deltas)):
            del targets.targets[name]


def refresh(repository: StaticRepository, roles: Sequence[str]) -> dict[str, float]:
    """Sign the named roles again, and channels that have passed half of their validity, and publish.

    Returns:
        The roles that have passed half of their validity and whose keys are not available, with the days until they
        expire; negative if they have.

    Raises:
        PublishError: a named role does not exist, or its keys or those of snapshot and timestamp are not available.
    """
    delegated = repository.delegated()
    for role in roles:
        if role in {"snapshot", "timestamp"}:
            continue
        if role not in {"root", "targets", *delegated}:
            raise PublishError(f"{role}: no such role; there are root, targets, {', '.join(delegated)}")
        with repository.edit(role):
            pass  # unchanged content with a later expiry
    waiting = {}
    for role in ("root", "targets", *delegated):
        if role in roles or repository.days_left(role) > rule_of(role).days / 2:
            continue
        if role.startswith(CHANNEL_PREFIX) and repository.can_sign(role):
            with repository.edit(role):
                pass
        else:
            waiting[role] = round(repository.days_left(role), 1)
    if not repository.publish():
        raise PublishError("the keys of snapshot and timestamp are missing; add --keys with the folder of online keys")
    return waiting


def _number(repository: StaticRepository, known: dict[str, ReleaseMetadata], wanted: int | None) -> int:
    """Return the number of the next release: larger than all earlier ones."""
    last = repository.targets(MODELS).unrecognized_fields.get(LAST_NUMBER, 0)
    highest = max((release.release_seq for release in known.values()), default=last)
    highest = max(highest, last)
    if wanted is not None and wanted <= highest:
        raise PublishError(f"number {wanted}: {highest} was used already; boards take nothing below it")
    return wanted or highest + 1


def _packed(bundle: Bundle) -> bytes:
    out = io.BytesIO()
    archive.pack(bundle.directory, out)
    content = out.getvalue()
    if len(content) > archive.MAX_BYTES:
        raise PublishError(f"{bundle.directory}: {len(content)} bytes, but a board accepts at most {archive.MAX_BYTES}")
    return content


def _target_name(
    repository: StaticRepository, bundle: Bundle, content: bytes, wish: PublishRequest, number: int
) -> str:
    """Return an unused name for the archive."""
    card = bundle.card
    name = f"models/{card.name}-{card.version}.tar"
    check_name(name)
    listed = repository.targets(MODELS).targets
    if name not in listed:
        return name
    if listed[name].hashes["sha256"] != hashlib.sha256(content).hexdigest():
        raise PublishError(f"{bundle.label} is published with other content; give the bundle a version of its own")
    if not wish.again:
        raise PublishError(f"{bundle.label} is published already; --again gives it a new number, to go back to it")
    return f"models/{card.name}-{card.version}.r{number}.tar"


def _custom(bundle: Bundle, number: int, arch: tuple[str, ...]) -> ReleaseMetadata:
    card = bundle.card
    return ReleaseMetadata(number, bundle.sha256, bundle.label, card.schema, card.runtime.onnxruntime_min, arch)


def _plain(release: ReleaseMetadata) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(release)
    return plain


def _base(repository: StaticRepository, target: TargetFile) -> bytes:
    """Return a listed archive, checked by its hash, because a patch from other bytes would fit no board."""
    path = repository.target_path(target)
    try:
        content = path.read_bytes()
        target.verify_length_and_hashes(content)
    except OSError as error:
        raise PublishError(f"{path}: {error.strerror}; copy it back") from error
    except LengthOrHashMismatchError as error:
        raise PublishError(f"{path}: {first_line(error)}; copy it back") from error
    return content


def _patches(
    repository: StaticRepository, known: dict[str, ReleaseMetadata], target: str, content: bytes, bases: int
) -> list[tuple[SignedPatch, bytes]]:
    """Return patches from the newest releases that differ, each with its metadata."""
    listed = repository.targets(MODELS).targets
    found: dict[str, tuple[SignedPatch, bytes]] = {}
    full_sha256 = hashlib.sha256(content).hexdigest()
    for name in list(reversed(known))[:bases]:
        base_sha256 = listed[name].hashes["sha256"]
        if base_sha256 in {full_sha256, *found}:
            continue
        patch = best_patch(_base(repository, listed[name]), content)
        if patch is None:
            continue
        patch_name = f"{target.removesuffix('.tar')}.from-{base_sha256[:12]}.{patch.method}"
        signed = SignedPatch(
            patch_name, hashlib.sha256(patch.content).hexdigest(), len(patch.content), patch.method, base_sha256
        )
        found[base_sha256] = (signed, patch.content)
    return list(found.values())
