"""Implements ``pitcore classify``: verdicts for crop pictures."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import click
import msgspec

from pitcore.camera.folders import walk
from pitcore.camera.recording import MANIFEST
from pitcore.cli.options import bundle_option, read_config
from pitcore.cli.parameters import InputPath
from pitcore.cli.progress import progress
from pitcore.errors import ImageError
from pitcore.inference.choice import open_bundle
from pitcore.loop.classifier import Classifier, CropVerdict
from pitcore.machine import usable_cores
from pitcore.model_card import PointName
from pitcore.plain_text import printable


@click.command()
@click.argument("paths", nargs=-1, required=True, type=InputPath(as_text=True), metavar="PATH...")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line, for programs.")
@click.option("--workers", type=click.IntRange(1, 64), help="Number of cores that read and judge. Default: all.")
@click.option(
    "--point",
    type=click.Choice(get_args(PointName)),
    default="strict",
    show_default=True,
    help="Operating point of the model's card. Give that of the board to get its verdicts.",
)
@bundle_option
def classify(paths: tuple[str, ...], as_json: bool, workers: int | None, point: PointName, bundle: Path | None) -> None:
    """Judge every PNG below each PATH (a file or a folder), in sorted order.

    A picture is a cherry cut out by its mask: red the plane lit from above, blue the one lit from below, green and the
    rest 0. A picture that cannot be read is reported and skipped, and the exit code is then 2.

    \b
    Examples:
      pitcore classify crops/
      pitcore classify crops/ --json > verdicts.jsonl
      pitcore classify crops/ --point balanced
    """
    opened = open_bundle(read_config(None, bundle))
    classifier = Classifier(opened, point=point, workers=workers or usable_cores())
    files = [name for path in paths for name in find_pictures(path)]
    failed = unknown = 0
    with progress("classify", len(files)) as bar:
        for found in classifier.classify(files):
            failed += found.error is not None
            unknown += found.p_pit is not None and math.isnan(found.p_pit)
            click.echo(json_line(found, opened.label) if as_json else _text_line(found))
            bar.update(1)
    if unknown:
        click.echo(f"{unknown} of {len(files)} pictures: the network gave NaN or infinity, so they are maybe", err=True)
    if failed:
        raise ImageError(f"{failed} of {len(files)} pictures could not be judged; each has a line that says why")


def find_pictures(path: str) -> list[str]:
    """Return a file as it is, or every PNG below a folder, sorted, each joined to the path as given.

    Raises:
        ImageError: nothing is there.
    """
    place = Path(path)
    if place.is_file():
        return [path]
    if not place.is_dir():
        raise ImageError(f"{path}: no such file or folder; give crop pictures (PNG) or a folder of them")
    return list(_joined(path, place))


def _joined(given: str, folder: Path) -> Iterator[str]:
    try:
        os.scandir(folder).close()
    except OSError as error:
        raise ImageError(f"{given}: cannot be read: {error.strerror}; name a folder that this user may read") from error
    found = walk(folder)
    relative = [path.relative_to(folder).as_posix() for path in found.pictures]
    if not relative:
        if (folder / MANIFEST).is_file():
            raise ImageError(f"{given}: this is a recording, not a folder of crops; `pitcore replay DIR` judges it")
        besides = f" ({found})" if found.passed_over else ""
        raise ImageError(f"{given}: no PNG below this folder{besides}; give a folder that holds crop pictures")
    if found.passed_over:
        click.echo(f"{printable(given)}: {found}", err=True)
    base = given.rstrip("/") or "/"
    for name in relative:
        yield f"{base}/{name}" if base != "/" else f"/{name}"


def json_line(found: CropVerdict, model: str) -> str:
    """Return the line of one picture, without its end."""
    path = found.path.encode(errors="backslashreplace").decode()  # JSON is UTF-8, file names need not be
    if found.error is not None:
        return msgspec.json.encode({"path": path, "error": printable(found.error)}).decode()
    line = {"path": path, "verdict": found.verdict, "code": found.code, "p_pit": found.p_pit, "model": model}
    return msgspec.json.encode(line).decode()


def _text_line(found: CropVerdict) -> str:
    if found.error is not None:
        return f"{'error':6} {'':8} {printable(found.error)}"
    return f"{found.verdict:6} {found.p_pit:8.6f} {printable(found.path)}"
