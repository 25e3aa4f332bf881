"""Defines the trusted repository, the only source of an update's bytes.

``pitcore.ota.trust`` decides what is genuine and current, and implements ``Repository``; ``pitcore.ota.update`` decides
what the board does with it, and owns the disk.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Delta:
    """A patch that makes an offered archive from one that the board may have.

    Attributes:
        target: name of the patch in the repository.
        sha256, length: of the patch.
        method: ``zstd`` (the base is the dictionary) or ``bsdiff4``.
        base_sha256: of the archive it applies to.
    """

    target: str
    sha256: str
    length: int
    method: str
    base_sha256: str


@dataclass(frozen=True, slots=True)
class Offer:
    """A model that offline-signed metadata lists and the board's channel names, for this board's cohort.

    Attributes:
        target: name of the full archive in the repository, ``models/NAME-VERSION.tar``.
        sha256, length: of the archive; ``length`` is in bytes; a longer file is refused.
        card_sha256: of the bundle's ``card.json``; it names the bundle everywhere on the board.
        release_seq: grows with every release, signed offline; an older one is refused.
        channel: names it.
        deltas: patches that make it, smallest first.
    """

    target: str
    sha256: str
    length: int
    card_sha256: str
    release_seq: int
    channel: str
    deltas: tuple[Delta, ...]


class Repository(Protocol):
    """A source of verified models: a web server or a stick."""

    def check(self) -> Offer | None:
        """Update the trusted metadata and return the offer for this board.

        Returns:
            None if the board's cohort is not asked yet, or its channel names nothing.

        Raises:
            UpdateError: no trustworthy metadata could be fetched. It gives the reason and the fix.
        """

    def fetch(self, target: str, sha256: str, length: int, part: Path) -> None:
        """Fetch a target into ``part``, continue an earlier try, and verify length and hash.

        ``part`` is complete and verified when this returns, but not fsynced. A file that does not verify is removed.

        Raises:
            UpdateError: as ``check``.
        """
