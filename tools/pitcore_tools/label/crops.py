"""The crops that people are asked about: of a folder, or of an archive."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pitcore.camera.crops import crop_hash, decode_crop, find_crops
from pitcore.capture.record import CaptureRecord, decode_record
from pitcore.errors import DataError, ImageError
from pitcore_tools.cli.pull import check_archive_packages


@dataclass(frozen=True, slots=True)
class Asked:
    """One crop.

    Attributes:
        crop: hash of its pixels.
        png: its file.
        record: what a board knew of it; None where no board kept it.
    """

    crop: str
    png: bytes
    record: CaptureRecord | None


def crops_of(source: Path | str) -> Iterator[Asked]:
    """Yield the crops of a folder of PNG files, or of an archive of ``pitcore-tools pull``; damaged ones are left out.

    Raises:
        DataError: there is nothing to read.
    """
    folder = Path(source)
    pictures = find_crops(folder) if folder.is_dir() else []
    if pictures:
        yield from _of_files(pictures)
        return
    check_archive_packages()
    from pitcore_tools.archive.store import Archive  # noqa: PLC0415  pyarrow is an extra

    for one in Archive(str(source)).read():
        yield Asked(one.crop, one.png, one.record)


def _of_files(pictures: Iterable[Path]) -> Iterator[Asked]:
    for path in pictures:
        try:
            png = path.read_bytes()
            crop = crop_hash(decode_crop(png, str(path)))
        except (ImageError, OSError):
            continue
        try:
            record = decode_record(png, str(path))[0]
        except ImageError:
            record = None
        yield Asked(crop, png, record)


def choose(crops: Iterable[Asked], sample: int | None) -> list[Asked]:
    """Return the crops to ask about, each picture once, in the order of their hashes.

    That order has nothing to do with what they show, so whoever stops early has labelled a random part.

    Args:
        crops: of the source.
        sample: only of the boards' random samples, so many of each verdict; None asks about all.

    Raises:
        DataError: none is left.
    """
    found = {one.crop: one for one in crops if sample is None or _is_random(one)}
    taken, chosen = Counter[str](), []
    for crop in sorted(found):
        one = found[crop]
        verdict = "" if one.record is None else one.record.verdict.verdict
        taken[verdict] += 1
        if sample is None or taken[verdict] <= sample:
            chosen.append(one)
    if not chosen:
        fix = "" if sample is None else "; none was drawn at random, so leave out --sample"
        raise DataError(f"there is no crop to label{fix}")
    return chosen


def _is_random(one: Asked) -> bool:
    return one.record is not None and "random" in one.record.why
