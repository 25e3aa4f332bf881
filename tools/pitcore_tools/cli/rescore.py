"""``pitcore-tools rescore``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, get_args

import click
import msgspec

from pitcore.camera.folders import LINK, below
from pitcore.cli.classify import find_pictures
from pitcore.cli.parameters import InputPath, OutputFolder, Text
from pitcore.cli.progress import progress
from pitcore.durable import replace_file
from pitcore.errors import DataError
from pitcore.inference.session import Session
from pitcore.model_card import PointName, load_bundle
from pitcore.plain_text import printable
from pitcore_tools.rescore import report as reporting
from pitcore_tools.rescore.judge import Result, bundle_content
from pitcore_tools.rescore.pieces import SUFFIX, Plan, plan_archive, plan_files
from pitcore_tools.rescore.run import keep, load, missing, run_plain, run_ray


@click.command()
@click.argument("archive", type=Text())
@click.option("--bundle", required=True, type=InputPath(folder=True), help="Bundle of the candidate.")
@click.option("--output", default="out/rescore", show_default=True, type=OutputFolder(), help="Folder for the results.")
@click.option(
    "--point",
    type=click.Choice(get_args(PointName)),
    required=True,
    help="Operating point of the boards ([decision] point; `pitcore status` shows it). If it differs among them, give "
    "the loosest: a stricter point lets fewer cherries pass than the boards will.",
)
@click.option("--address", type=Text(), help="Address of a running Ray cluster. Default: this machine's cores.")
@click.option("--workers", type=click.IntRange(1, 4096), help="Number of cores. Default: all of the cluster.")
@click.option("--plain", is_flag=True, help="A plain loop on one core, without Ray.")
def rescore(
    archive: str,
    bundle: Path,
    output: Path,
    point: PointName,
    address: str | None,
    workers: int | None,
    *,
    plain: bool,
) -> None:
    """Judge ARCHIVE with a candidate and report differences from the boards' verdicts.

    ARCHIVE is an archive of `pitcore-tools pull` (Parquet shards), or a folder of crops (PNG). Each
    crop is judged once. An interrupted run continues. OUTPUT gets verdicts.jsonl, with the lines of
    `pitcore classify --json`, and report.json and report.txt. Bad crops are set aside and counted.

    \b
    Examples:
      pitcore-tools rescore out/archive --bundle out/bundle --point balanced
      pitcore-tools rescore s3://line/crops --bundle out/bundle --point strict --address auto
    """
    candidate = load_bundle(bundle)
    Session(candidate, capacity=32)  # checks its golden vectors before hours of work
    name, chosen = candidate.card.point(point)
    reporter = reporting.Reporter(candidate, (name, chosen.thresholds), archive)
    plan = _plan(archive, candidate.sha256)
    todo, began_s, judged = missing(output, plan.pieces), time.monotonic(), 0
    unread = dict[str, str]()
    with progress("rescore", sum(piece.count for piece in todo)) as bar:

        def done(result: Result) -> None:
            nonlocal judged
            judged += len(result.crops)
            bar.update(len(result.crops))
            if result.bad is not None:
                unread[result.id] = result.bad

        if todo:
            content = bundle_content(candidate)
            results = run_plain(todo, content) if plain else run_ray(todo, content, address, workers)
            keep(output, results, done)
    took_s = time.monotonic() - began_s
    output.mkdir(parents=True, exist_ok=True)
    lost = [piece for piece in missing(output, plan.pieces) if piece.id not in unread]
    if lost:
        raise DataError(f"{output}: {len(lost)} pieces have no result; run the command again to continue")

    def write(file: BinaryIO) -> None:
        for line in _lines(output, plan, reporter):
            file.write(line)

    replace_file(output / "verdicts.jsonl", write)
    found = reporter.finish()
    found.bad_shards = sorted({*plan.bad_shards, *unread.values()})
    found.crops_per_s = round(judged / took_s, 1) if judged else None
    said = reporting.text(found)
    replace_file(output / "report.json", lambda file: file.write(msgspec.json.format(msgspec.json.encode(found))))
    replace_file(output / "report.txt", lambda file: file.write(f"{said}\n".encode()))
    click.echo(said)


def _plan(archive: str, model: str) -> Plan:
    place = Path(archive)
    entries = list(below(place)) if place.is_dir() else []
    if place.is_dir() and not any(entry.path.suffix == SUFFIX for entry in entries):
        return plan_files(find_pictures(archive), model)
    plan = plan_archive(archive, model)
    unseen = [entry for entry in entries if entry.passed_over and entry.passed_over != LINK]  # links are followed there
    plan.bad_shards += [f"{printable(entry.path)}: {entry.passed_over}" for entry in unseen]
    return plan


def _lines(output: Path, plan: Plan, reporter: reporting.Reporter) -> Iterator[bytes]:
    for piece in plan.pieces:
        result = load(output, piece)
        if result is not None:
            yield from reporter.lines(result.crops, result.node)
