"""Downloads one large file into a ``.part``, continues an earlier try, and keeps only the signed bytes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from pitcore.errors import Refusal, UpdateError
from pitcore.ota.disk import storage_error
from pitcore.ota.fetcher import Fetcher, oversized
from pitcore.ota.web import ResponseBody

log = logging.getLogger(__name__)
_WORTH_GOING_ON = {Refusal.CUT_SHORT, Refusal.UNAVAILABLE}  # a slow server gets no second chance in the same call


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file that signed metadata describe.

    Attributes:
        url: of the file.
        length: in bytes.
        verifies: returns whether a complete file is the signed one.
    """

    url: str
    length: int
    verifies: Callable[[BufferedReader], bool]


def download(fetcher: Fetcher, wanted: Wanted, part: Path) -> None:
    """Download the wanted file into ``part``.

    It is not fsynced. A broken connection is opened again while each try brings some bytes.

    Raises:
        UpdateError: ``part`` is kept if a later try can continue it, and is removed otherwise.
    """
    fetcher.begin(fetcher.limits.target_s(wanted.length))
    try:
        part.touch()
        _discard_if_impossible(part, wanted)
        begun = _size(part) > 0
        _bring_all(fetcher, wanted, part)
        if not _verifies(part, wanted) and begun:
            log.info("%s: the earlier partial download does not match; it starts again from the first byte", wanted.url)
            part.unlink()
            _bring_all(fetcher, wanted, part)
        if not _verifies(part, wanted):
            part.unlink()
            raise _not_as_signed(wanted, "its bytes are not those that were signed")
    except OSError as error:
        raise storage_error(part, error) from error


def _bring_all(fetcher: Fetcher, wanted: Wanted, part: Path) -> None:
    """Fetch until ``part`` is complete."""
    for attempt in range(fetcher.limits.attempts):
        have = _size(part)
        if have == wanted.length:
            return
        try:
            _bring(fetcher, wanted, part)
        except UpdateError as error:
            if error.refusal in {Refusal.OVERSIZED, Refusal.WRONG_HASH}:
                part.unlink(missing_ok=True)
            last_attempt = attempt + 1 == fetcher.limits.attempts
            if error.refusal not in _WORTH_GOING_ON or last_attempt or _size(part) <= have:
                raise
            log.info("%s; continuing at byte %d", error, _size(part))


def _bring(fetcher: Fetcher, wanted: Wanted, part: Path) -> None:
    """Fetch once, from the end of ``part`` on."""
    with part.open("ab") as file, fetcher.open(wanted.url, file.tell()) as body:
        if body.total is not None and body.total > wanted.length:
            raise oversized(wanted.url, wanted.length)
        _append(body, file, wanted)
        if file.tell() == body.total != wanted.length:
            raise _not_as_signed(wanted, f"{body.total} bytes long, but {wanted.length} were signed")
        if file.tell() < wanted.length:
            raise UpdateError(
                Refusal.CUT_SHORT,
                f"{wanted.url}: {file.tell()} of {wanted.length} bytes; the received part is kept for the next try",
            )


def _append(body: ResponseBody, file: BinaryIO, wanted: Wanted) -> None:
    if body.start != file.tell():
        file.truncate(body.start)  # it starts again; "ab" writes at the end, wherever that is
        file.seek(body.start)
    for chunk in body.chunks:
        if file.tell() + len(chunk) > wanted.length:
            raise oversized(wanted.url, wanted.length)
        file.write(chunk)


def _not_as_signed(wanted: Wanted, what: str) -> UpdateError:
    return UpdateError(Refusal.WRONG_HASH, f"{wanted.url}: {what}; tell the publisher of the repository")


def _discard_if_impossible(part: Path, wanted: Wanted) -> None:
    if _size(part) > wanted.length:
        part.unlink()


def _verifies(part: Path, wanted: Wanted) -> bool:
    with part.open("rb") as file:
        return _size(part) == wanted.length and wanted.verifies(file)


def _size(part: Path) -> int:
    try:
        return part.stat().st_size
    except FileNotFoundError:
        return 0
