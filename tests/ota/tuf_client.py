"""The client command line that the update framework's conformance suite drives: ``python -m tests.ota.tuf_client``.

The same fetcher and the same store of metadata as ``pitcore update``; what pitcore adds for its own boards (floors,
channels, releases) is left out, since the suite plays repositories that know nothing of it.
"""

from __future__ import annotations

import sys
from functools import partial
from io import BufferedReader
from pathlib import Path
from urllib.parse import quote

import click
from tuf.api.exceptions import LengthOrHashMismatchError
from tuf.api.metadata import TargetFile

from pitcore.errors import PitcoreError, Refusal, UpdateError
from pitcore.ota.disk import Disk, storage_error
from pitcore.ota.download import Wanted, download
from pitcore.ota.fetcher import Fetcher
from pitcore.ota.metadata import TrustedMetadata

FOLDER = click.Path(path_type=Path, file_okay=False)
PROVISIONED = "provisioned.root"


@click.group()
@click.option("--metadata-dir", "directory", required=True, type=FOLDER, help="Where trusted metadata are kept.")
@click.option("--metadata-url", "url", help="Below which a repository's metadata lie.")
@click.option("--target-name", help="Of the file to download.")
@click.option("--target-base-url", "base_url", help="Below which a repository's targets lie.")
@click.option("--target-dir", type=FOLDER, help="Where to put a downloaded file.")
def tuf_client(directory: Path, **options: str | Path | None) -> None:
    """Verify a repository of the update framework, and download from it.

    \b
    Example:
      python -m tests.ota.tuf_client --metadata-dir D init root.json
      python -m tests.ota.tuf_client --metadata-dir D --metadata-url https://host/metadata refresh
    """
    click.get_current_context().obj = {"directory": directory, **options}


@tuf_client.command()
@click.argument("root", type=click.Path(path_type=Path, dir_okay=False))
@click.pass_obj
def init(given: dict[str, Path], root: Path) -> None:
    """Trust ROOT from now on."""
    directory = given["directory"]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        content = root.read_bytes()
    except OSError as error:
        raise storage_error(root, error) from error
    disk = Disk()
    disk.replace(directory / PROVISIONED, content)  # stays, also if later files cannot be fetched
    disk.replace(directory / "root.json", content)


@tuf_client.command()
@click.pass_obj
def refresh(given: dict[str, Path]) -> None:
    """Bring the top-level metadata up to date."""
    _refreshed(given, Fetcher())


@tuf_client.command("download")
@click.pass_obj
def download_(given: dict[str, Path]) -> None:
    """Bring the metadata up to date, and download one file."""
    fetcher = Fetcher()
    metadata = _refreshed(given, fetcher)
    name = _needed(given, "target_name")
    target = metadata.target(name)
    metadata.sync()
    if target is None:
        raise UpdateError(Refusal.NOT_FOUND, f"{name}: no signed metadata list it; check its name")
    place = Path(_needed(given, "target_dir")) / quote(name, safe="")
    if _is_there(place, target):
        return
    path = target.get_prefixed_paths()[0] if metadata.consistent_snapshot() else name
    url = f"{_needed(given, 'base_url').rstrip('/')}/{path}"
    part = place.with_name(f".{place.name}.part")
    download(fetcher, Wanted(url, target.length, partial(_verifies, target)), part)
    Disk().keep(part, place)


def _refreshed(given: dict[str, Path], fetcher: Fetcher) -> TrustedMetadata:
    directory = given["directory"]
    try:
        root = (directory / PROVISIONED).read_bytes()
    except OSError as error:
        raise UpdateError(Refusal.NOT_SET_UP, f"{directory}: no root to trust; run `init` first") from error
    fetcher.begin(fetcher.limits.check_s)
    metadata = TrustedMetadata(directory, _needed(given, "url"), root, fetcher, Disk())
    metadata.refresh()
    metadata.sync()
    return metadata


def _verifies(target: TargetFile, file: BufferedReader) -> bool:
    try:
        target.verify_length_and_hashes(file)
    except LengthOrHashMismatchError:
        return False
    return True


def _is_there(place: Path, target: TargetFile) -> bool:
    try:
        with place.open("rb") as file:
            return _verifies(target, file)
    except OSError:
        return False


def _needed(given: dict[str, Path], option: str) -> str:
    if given[option] is None:
        names = {"url": "--metadata-url", "base_url": "--target-base-url"}
        raise click.UsageError(f"this needs {names.get(option, '--' + option.replace('_', '-'))}")
    return str(given[option])


def main() -> None:
    """Entry point. Exit code 0: done; 1: refused, and one line says why."""
    try:
        tuf_client(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(1)
    except PitcoreError as error:
        click.echo(f"tuf_client: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
