"""Reads and selects the crops to label, from a folder or an archive."""

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
    """One crop to label.

    Attributes:
        crop: hash of its pixels.
        png: bytes of its file.
        record: a board's data of it; None if it was not kept by a board.
    """

    crop: str
    png: bytes
    record: CaptureRecord | None


def crops_of(source: Path | str) -> Iterator[Asked]:
    """Yield the crops of a folder of PNG files, or of an archive of ``pitcore-tools pull``. Skips damaged ones.

    Raises:
        DataError: there are no crops, or the archive cannot be read.
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
    """Return the crops to label, each picture once, in the order of their hashes.

    The order does not depend on the content, so the labelled part is random even if a person stops early.

    Args:
        crops: the crops of the source.
        sample: number of crops of each verdict, taken only from the boards' random samples; None takes all crops.

    Raises:
        DataError: no crop is left.
    """
    by_hash = {one.crop: one for one in crops if sample is None or _is_random(one)}
    taken, chosen = Counter[str](), []
    for crop in sorted(by_hash):
        one = by_hash[crop]
        verdict = "" if one.record is None else one.record.verdict.verdict
        taken[verdict] += 1
        if sample is None or taken[verdict] <= sample:
            chosen.append(one)
    if not chosen:
        fix = "" if sample is None else "; none is of a random sample, so leave out --sample"
        raise DataError(f"there is no crop to label{fix}")
    return chosen


def _is_random(one: Asked) -> bool:
    return one.record is not None and "random" in one.record.why
