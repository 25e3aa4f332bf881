"""Installs a verified archive in the inactive slot, in an order that survives a power cut.

Nothing here takes effect until ``state`` names the slot. After a fault at any point the steps are repeated.
"""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

from pitcore.errors import BundleError, Refusal, UpdateError, first_line
from pitcore.model_card import Bundle, load_bundle
from pitcore.ota import state as states
from pitcore.ota.archive import MEMBERS
from pitcore.ota.disk import PIECE_BYTES, Disk, Operation, storage_error
from pitcore.ota.repository import Offer
from pitcore.ota.slots import Store
from pitcore.ota.state import SlotName

RESERVE_BYTES = 128 * 1024  # state, metadata, directories
MEGABYTE = 1e6


def make_room(store: Store, offer: Offer) -> SlotName:
    """Check that an offer fits, then empty the inactive slot: first in the state, then on the disk.

    Args:
        store: locked for this update.
        offer: needs its archive, its patch, and either its unpacked files or the archive that the patch applies to.

    Returns:
        The emptied slot.

    Raises:
        UpdateError: it does not fit, and nothing was changed; or the disk refuses.
    """
    slot = store.read().inactive
    kept = {part_name(offer.sha256), *(part_name(delta.sha256) for delta in offer.deltas)}
    stale = [entry for entry in _entries(store.staging) if entry.name not in kept]
    there = sum(_size(entry) for entry in _entries(store.staging) if entry.name in kept)
    patch = max((delta.length for delta in offer.deltas), default=0)
    needed = 2 * offer.length + patch + RESERVE_BYTES - there
    reclaimed = _size(store.slot(slot)) + sum(map(_size, stale))
    found = os.statvfs(store.root)
    free = found.f_bavail * found.f_frsize
    if needed > free + reclaimed:
        raise UpdateError(
            Refusal.NO_SPACE,
            f"{store.root}: the update needs {needed / MEGABYTE:.1f} MB, {free / MEGABYTE:.1f} MB are free and "
            f"{reclaimed / MEGABYTE:.1f} MB would be freed; make room, `df -h {store.root}` shows where",
        )
    store.change(lambda state: states.empty(state, slot))
    for entry in (store.slot(slot), *stale):
        store.disk.remove_tree(entry)
    return slot


def part_name(sha256: str) -> str:
    """Return the name of a file that is being fetched, in the staging directory."""
    return f"{sha256}.part"


def fill(store: Store, slot: SlotName, archive: Path, card_sha256: str) -> Bundle:
    """Unpack a verified archive beside the slot, sync it, and move it into the slot.

    Returns:
        The bundle in the slot, every file of it checked.

    Raises:
        BundleError, CardError: the archive does not hold the bundle that was signed.
        UpdateError: the disk refuses.
    """
    unpacked, disk = store.staging / "unpacked", store.disk
    disk.remove_tree(unpacked)
    disk.perform(Operation("mkdir", unpacked))
    _unpack(archive, unpacked, disk)
    disk.perform(Operation("sync directory", unpacked))
    found = load_bundle(unpacked).sha256
    if found != card_sha256:
        raise BundleError(f"{archive.name}: its card has hash {found[:12]}, not the {card_sha256[:12]} that was signed")
    disk.perform(Operation("rename", unpacked, store.slot(slot)))
    disk.perform(Operation("sync directory", store.slots))
    return load_bundle(store.slot(slot))


def _unpack(archive: Path, into: Path, disk: Disk) -> None:
    """Write and sync the files of a bundle. No name is taken from the archive, so none can point elsewhere.

    Raises:
        BundleError: it holds something else.
        UpdateError: the disk refuses.
    """
    try:
        with tarfile.open(archive, mode="r:") as opened:
            for name in MEMBERS:
                member = opened.next()
                content = None if member is None or member.name != name else opened.extractfile(member)
                if content is None:
                    raise BundleError(f"{archive.name}: does not hold {name} at its place; publish the bundle again")
                disk.perform(Operation("create", into / name))
                while piece := content.read(PIECE_BYTES):
                    disk.perform(Operation("write", into / name, content=piece))
                disk.perform(Operation("sync", into / name))
            if opened.next() is not None:
                raise BundleError(f"{archive.name}: holds files that are not of a bundle; publish it again")
    except tarfile.TarError as error:
        raise BundleError(
            f"{archive.name}: not an archive of a bundle: {first_line(error)}; publish it again"
        ) from error
    except OSError as error:
        raise storage_error(archive, error) from error


def _entries(directory: Path) -> list[Path]:
    return sorted(directory.iterdir()) if directory.is_dir() else []


def _size(path: Path) -> int:
    """Return the bytes below a path."""
    if path.is_dir():
        return sum(map(_size, path.iterdir()))
    return path.stat().st_size if path.exists() else 0
