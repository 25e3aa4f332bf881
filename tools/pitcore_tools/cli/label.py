"""``pitcore-tools label`` and ``label-folder``."""

from __future__ import annotations

import contextlib
import socket
from operator import methodcaller
from pathlib import Path

import click

from pitcore.camera.crops import CLASS_FOLDERS, LABELS
from pitcore.cli.parameters import InputPath, OutputFolder, Text
from pitcore.durable import replace_file
from pitcore.errors import DataError
from pitcore_tools.audit.output import claim_folder
from pitcore_tools.label.book import JOINED, Book
from pitcore_tools.label.crops import choose, crops_of
from pitcore_tools.tables import HASH_DIGITS
from pitcore_tools.train.dataset import read_relabel


@click.command()
@click.argument("source", type=Text())
@click.option("--out", required=True, type=OutputFolder(), help="Folder of the tables; existing tables are continued.")
@click.option("--sample", type=click.IntRange(1), help="Label only the random sample: this number of each verdict.")
@click.option("--port", default=8490, show_default=True, type=click.IntRange(0, 65535), help="Port on this machine.")
def label(source: str, out: Path, sample: int | None, port: int) -> None:
    """Serve a page on which people label the crops of SOURCE by keyboard, until Ctrl-C.

    SOURCE is a folder of crops, or an archive of `pitcore-tools pull`. Each person gives a name and has a table of that
    name in --out. labels.csv joins them: a recipe may name it as its relabel file, and `label-folder` writes a training
    set from it. Crops on which people disagree are left out until somebody decides on the page. To let a colleague
    label from another machine, use `ssh -L 8490:localhost:8490 THIS-MACHINE`.

    \b
    Examples:
      pitcore-tools label ../archive --out ../labels
      pitcore-tools label ../archive --out ../audit-labels --sample 200
    """
    try:
        import uvicorn  # noqa: PLC0415

        from pitcore_tools.label.site import Site  # noqa: PLC0415
    except ImportError as error:
        raise DataError(f"the Python package {error.name} is missing: pip install 'pitcore-tools[label]'") from error

    crops = choose(crops_of(source), sample)
    book = Book(out, [one.crop for one in crops])
    try:
        listening = socket.create_server(("127.0.0.1", port))
    except OSError as error:
        raise DataError(f"port {port}: {error.strerror}; choose another --port") from error
    click.echo(f"{len(crops)} crops: http://127.0.0.1:{listening.getsockname()[1]}/  (Ctrl-C ends)")
    server = uvicorn.Server(uvicorn.Config(Site(crops, book).app(), log_level="warning", ws="none", lifespan="off"))
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[listening])
    click.echo(f"{out / JOINED}: what people agreed on")


@click.command("label-folder")
@click.argument("source", type=Text())
@click.option("--labels", required=True, type=InputPath(), help="labels.csv of `pitcore-tools label`.")
@click.option("--out", required=True, type=OutputFolder(), help="New folder for the crops; outside of git.")
def label_folder(source: str, labels: Path, out: Path) -> None:
    """Write the labelled crops of SOURCE as a training set: cherry_clean/ and cherry_pit/ in --out.

    \b
    Example:
      pitcore-tools label-folder ../archive --labels ../labels/labels.csv --out ../cherries/new
    """
    label_of = read_relabel(labels, LABELS)
    claim_folder(out)
    counts = [0, 0]
    try:
        for name in CLASS_FOLDERS:
            (out / name).mkdir()
        for one in choose(crops_of(source), None):
            index = label_of.get(one.crop[:HASH_DIGITS])
            if index is not None:
                path = out / CLASS_FOLDERS[index] / f"{one.crop[:HASH_DIGITS]}.png"
                replace_file(path, methodcaller("write", one.png))
                counts[index] += 1
    except OSError as error:
        raise DataError(f"{out}: cannot be written: {error.strerror}; name another --out") from error
    left = sum(index is None for index in label_of.values())
    click.echo(f"{out}: {counts[0]} clean, {counts[1]} pit; {left} crops left out by their label")
