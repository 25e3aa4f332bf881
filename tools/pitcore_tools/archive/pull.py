"""Brings what a board kept into an archive: each crop once, whenever it is broken off and begun again."""

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
    """What a pull did.

    Attributes:
        found: crops in the folder.
        had: of them, those that the archive had.
        new: those that it has now.
        gone: removed by the board while they were fetched.
        faults: why crops were set aside, a line each.
    """

    found: int = 0
    had: int = 0
    new: int = 0
    gone: int = 0
    faults: list[str] = field(default_factory=list)


def pull(source: str, archive: Archive, looked: Callable[[], None]) -> Pulled:
    """Fetch the crops that an archive has not.

    Args:
        source: the folder of a board's [capture]: a path, or what fsspec takes, ``sftp://board/var/lib/pitcore/capture``.
        archive: gets them.
        looked: called after each crop.

    Raises:
        DataError: the folder cannot be read, or the archive not be written.
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
    """Return a crop, or None where it is gone or damaged, which is counted. Raises DataError."""
    try:
        content: bytes = store.cat_file(path)
    except FileNotFoundError:
        done.gone += 1
        return None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {first_line(error)}; give the command again, it goes on") from error
    try:
        return Archived.of(path.rsplit("/", 1)[-1], content)
    except ImageError as error:
        done.faults.append(str(error))
        return None
