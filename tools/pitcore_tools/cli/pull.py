"""``pitcore-tools pull``."""

from __future__ import annotations

import click

from pitcore.capture.ring import NAME
from pitcore.cli.parameters import Text
from pitcore.cli.progress import progress
from pitcore.errors import DataError, ImageError
from pitcore.plain_text import printable

_SHOWN = 5  # number of rejected crops that are printed


@click.command()
@click.argument("source", type=Text())
@click.argument("archive", type=Text())
def pull(source: str, archive: str) -> None:
    """Copy the crops that a board kept in SOURCE to ARCHIVE.

    SOURCE is the folder of a board's [capture] section: on this machine, or an fsspec URL. ARCHIVE is a folder or an
    fsspec URL, to which Parquet shards are written. Crops in the archive are not copied again, so the same command
    continues an interrupted pull. Nothing is removed from the board.

    \b
    Examples:
      rsync -a board:/var/lib/pitcore/capture/ kept/ && pitcore-tools pull kept ../archive
      pitcore-tools pull sftp://board/var/lib/pitcore/capture s3://bucket/crops
    """
    check_archive_packages()
    from pitcore_tools.archive.pull import pull as run  # noqa: PLC0415  pyarrow is an extra
    from pitcore_tools.archive.store import Archive  # noqa: PLC0415

    with progress("pull", 0) as bar:
        done = run(source, Archive(archive), lambda: bar.update(1))
    click.echo(f"{archive}: {done.new} new crops of {done.found}; {done.had} were there, {done.gone} gone meanwhile")
    for fault in done.faults[:_SHOWN]:
        click.echo(f"set aside: {printable(fault)}", err=True)
    if done.faults:
        raise ImageError(f"{len(done.faults)} of {done.found} crops were set aside; the others are in {archive}")
    if not done.found:
        raise DataError(f"{source}: no crop in it, whose names are as {NAME.pattern}; name the [capture] folder")


def check_archive_packages() -> None:
    """Check that the packages for archives are installed. Raises DataError."""
    try:
        import fsspec  # noqa: F401, PLC0415
        import pyarrow as pa  # noqa: F401, PLC0415
    except ImportError as error:
        raise DataError(f"the Python package {error.name} is missing: pip install 'pitcore-tools[archive]'") from error
