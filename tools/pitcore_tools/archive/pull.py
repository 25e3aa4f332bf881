"""Copies the crops that a board kept into an archive. Each crop is stored once, also if a pull is interrupted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import fsspec

from pitcore.capture.ring import NAME
from pitcore.errors import DataError, ImageError, first_line
from pitcore_tools.archive.store import Archive, Archived

SHARD_CROPS, SHARD_BYTES = 4096, 64 * 1024 * 1024


@dataclass(slots=True)
class Pulled:
    """The result of a pull.

    Attributes:
        found: number of crops in the folder.
        had: number of crops that the archive already had.
        new: number of crops that were added.
        gone: number of crops that the board removed during the pull.
        faults: reasons why crops were skipped, one line each.
    """

    found: int = 0
    had: int = 0
    new: int = 0
    gone: int = 0
    faults: list[str] = field(default_factory=list)


def pull(source: str, archive: Archive, looked: Callable[[], None]) -> Pulled:
    """Fetch the crops that an archive does not have.

    Args:
        source: folder of a board's [capture]: a path, or a URL of fsspec, ``sftp://board/var/lib/pitcore/capture``.
        archive: the archive to which they are added.
        looked: called after each crop.

    Raises:
        DataError: the folder cannot be read, or the archive cannot be written.
    """
    try:
        store, root = fsspec.core.url_to_fs(source)
        listed = [str(path) for path in store.ls(root, detail=False)]
    except (ImportError, ValueError, OSError) as error:
        raise DataError(
            f"{source}: cannot be read: {first_line(error)}; name the folder of a board's [capture]"
        ) from error
    paths = sorted(path for path in listed if NAME.fullmatch(path.rsplit("/", 1)[-1]))
    hashes, names = archive.known()
    done, waiting, waiting_bytes = Pulled(found=len(paths)), list[Archived](), 0
    for path in paths:
        name = path.rsplit("/", 1)[-1]
        crop = None if name in names else _fetch(store, path, done)
        done.had += name in names or (crop is not None and crop.sha256 in hashes)
        if crop is not None and crop.sha256 not in hashes:
            hashes.add(crop.sha256)
            waiting.append(crop)
            waiting_bytes += len(crop.png)
        if len(waiting) >= SHARD_CROPS or waiting_bytes >= SHARD_BYTES:
            archive.write(waiting)
            done.new += len(waiting)
            waiting, waiting_bytes = [], 0
        looked()
    if waiting:
        archive.write(waiting)
        done.new += len(waiting)
    return done


def _fetch(store: fsspec.AbstractFileSystem, path: str, done: Pulled) -> Archived | None:
    """Return a crop, or None if it is gone or damaged, which is counted in ``done``. Raises DataError."""
    try:
        content: bytes = store.cat_file(path)
    except FileNotFoundError:
        done.gone += 1
        return None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {first_line(error)}; run the command again to continue") from error
    try:
        return Archived.of(path.rsplit("/", 1)[-1], content)
    except ImageError as error:
        done.faults.append(str(error))
        return None
