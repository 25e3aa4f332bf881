"""Makes digests of crops and files, so that results which hold for some crops only are not used with others."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path


def crops_digest(hashes: Sequence[str], labels: Iterable[int] | None = None) -> str:
    """Return the SHA-256 of crops in their order, in hex.

    Args:
        hashes: hashes of N crops.
        labels: N labels, or None if they do not matter.
    """
    rows = hashes if labels is None else [f"{name} {label}" for name, label in zip(hashes, labels, strict=True)]
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


def digests(hashes: Sequence[str], labels: Iterable[int], files: Iterable[Path]) -> dict[str, str]:
    """Return the SHA-256 of crops with their labels (``crops``), and of each file by its path, if it exists.

    Raises:
        OSError: a file cannot be read.
    """
    found = {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path.exists()}
    return {"crops": crops_digest(hashes, labels), **found}
