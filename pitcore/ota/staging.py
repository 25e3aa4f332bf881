"""Fetches an offered archive into the staging directory: by patch if one fits, otherwise whole.

Nothing here is synced: files in staging are trusted only after their hash was computed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from pitcore.errors import Refusal, UpdateError
from pitcore.model_card import Bundle
from pitcore.ota import archive, delta
from pitcore.ota.disk import Operation, storage_error
from pitcore.ota.install import part_name
from pitcore.ota.repository import Delta, Offer, Repository
from pitcore.ota.slots import Store


class Bringer:
    """Fetches, and applies patches.

    Args:
        repository: source of the archive.
        store: holds the staging directory.
        tell: takes a progress line.
    """

    def __init__(self, repository: Repository, store: Store, tell: Callable[[str], None]) -> None:
        self._repository, self._tell = repository, tell
        self._staging, self._disk = store.staging, store.disk

    def bring(self, offer: Offer, running: Bundle) -> Path:
        """Return the offered archive, with length and hash verified.

        Args:
            offer: the wanted archive.
            running: the bundle that patches apply to.

        Raises:
            UpdateError: it cannot be fetched.
        """
        whole = self._staging / part_name(offer.sha256)
        if offer.deltas and not _is_whole(whole, offer):
            try:
                self._by_patch(offer, running, whole)
            except UpdateError as error:
                self._tell(f"no update by patch: {error}; fetching the whole {_megabytes(offer.length)}")
        if not _is_whole(whole, offer):
            self._tell(f"fetching {offer.target}, {_megabytes(offer.length)}")
            self._repository.fetch(offer.target, offer.sha256, offer.length, whole)
        if not _is_whole(whole, offer):
            raise UpdateError(Refusal.WRONG_HASH, f"{offer.target}: its content is not what was signed; try again")
        return whole

    def _by_patch(self, offer: Offer, running: Bundle, whole: Path) -> None:
        """Make the archive from the running model and the smallest patch that fits. Raises UpdateError."""
        base, rebuilt = self._staging / "base.part", self._staging / "rebuilt.part"
        try:
            with self._disk.writer(base) as file:
                archive.pack(running.directory, file)
            base_sha256 = _sha256(base)
            fitting = [patch for patch in offer.deltas if patch.base_sha256 == base_sha256]
            if not fitting:
                raise UpdateError(Refusal.WRONG_BASE, f"none of the {len(offer.deltas)} is for {running.label}")
            self._apply(fitting[0], offer, base, rebuilt)
            self._disk.perform(Operation("rename", rebuilt, whole))
        except OSError as error:
            raise storage_error(base, error) from error
        finally:
            for rest in (base, rebuilt):
                self._disk.remove_tree(rest)

    def _apply(self, patch: Delta, offer: Offer, base: Path, rebuilt: Path) -> None:
        """Fetch one patch, apply it, and verify the result. Raises UpdateError, OSError."""
        part = self._staging / part_name(patch.sha256)
        self._tell(f"fetching {patch.target}, {_megabytes(patch.length)} instead of {_megabytes(offer.length)}")
        self._repository.fetch(patch.target, patch.sha256, patch.length, part)
        try:
            with self._disk.writer(rebuilt) as file:
                delta.apply(patch.method, base, part, file, offer.length)
        finally:
            self._disk.remove_tree(part)
        if not _is_whole(rebuilt, offer):
            raise UpdateError(Refusal.WRONG_HASH, f"{patch.target}: its result is not what was signed")


def _is_whole(path: Path, offer: Offer) -> bool:
    """Return whether a file is the offered archive. Raises UpdateError."""
    try:
        return path.is_file() and path.stat().st_size == offer.length and _sha256(path) == offer.sha256
    except OSError as error:
        raise storage_error(path, error) from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _megabytes(length: int) -> str:
    return f"{length / 1e6:.2f} MB"
