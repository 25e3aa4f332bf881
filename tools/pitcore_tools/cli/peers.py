"""``pitcore-tools peers``."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from pitcore.cli.parameters import OutputFile
from pitcore.cli.progress import progress
from pitcore.config import Config
from pitcore.errors import DataError
from pitcore_tools.documents import fill


@click.command()
@click.option(
    "--rounds", default=24, show_default=True, type=click.IntRange(3, 10_000), help="Rounds of every variant."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON with every round, for programs.")
@click.option("--write", type=OutputFile(), help="Put the tables into this Markdown file.")
def peers(rounds: int, as_json: bool, write: Path | None) -> None:
    """Compare the speed of pitcore with common libraries, on the same frames, in turns.

    Searching: OpenCV's connected components with every algorithm and label size; times are compared only if boxes,
    areas and crops are equal. The network: torch, ONNX Runtime and OpenVINO. Frame to verdicts: the user's
    production path (torch, ResNet50, 128 px) and OpenCV with OpenVINO int8. One thread, then all.

    \b
    Examples:
      pitcore-tools peers
      pitcore-tools peers --write docs/peers.md
    """
    try:
        from pitcore_tools.peers import report, run  # noqa: PLC0415  needs OpenCV, which is an extra
    except ImportError as error:
        raise DataError(f"the peers are not installed ({error.name}): run `make peers`") from error
    config, everyone = Config(), len(os.sched_getaffinity(0))
    threads = sorted({1, everyone})
    with progress("peers", (rounds + 1) * (1 + 2 * len(threads))) as bar:
        questions = [run.prepare(config, rounds, lambda: bar.update(1))]
        for count in threads:
            questions.append(run.network(count, rounds, lambda: bar.update(1)))
            questions.append(run.whole(config, count, rounds, lambda: bar.update(1)))
    if as_json:
        click.echo(json.dumps(report.facts_of(questions, run.versions())))
        return
    text = report.text(questions, run.versions())
    if write is None:
        click.echo(text)
        return
    fill(write, {"peers": lambda: text})
    click.echo(f"written: {write}")
