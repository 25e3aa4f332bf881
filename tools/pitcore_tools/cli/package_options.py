"""Shared options and questions of the publisher's commands."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from pitcore.cli.parameters import InputPath
from pitcore.errors import PublishError
from pitcore_tools.package.keys import KeyRing
from pitcore_tools.package.repository import StaticRepository

MIN_PASSPHRASE = 8


def repository_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option ``--repository DIR``."""
    return click.option(
        "--repository",
        "directory",
        required=True,
        type=InputPath(folder=True),
        help="Folder of static files that a web server serves.",
    )(function)


def keys_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options ``--keys DIR`` (repeatable) and ``--passphrase-file``."""
    function = click.option(
        "--passphrase-file", type=InputPath(), help="Read the keys' passphrase from this file instead of asking."
    )(function)
    return click.option(
        "--keys",
        "folders",
        required=True,
        multiple=True,
        type=InputPath(folder=True),
        help="Folder of private keys. Repeatable.",
    )(function)


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask before publishing.")


def open_repository(directory: Path, folders: tuple[Path, ...], passphrase_file: Path | None) -> StaticRepository:
    """Return the repository with the keys in ``folders``. Raises PublishError."""
    return StaticRepository(directory, KeyRing(folders, lambda: read_passphrase(passphrase_file)))


def publish_changes(repository: StaticRepository, *, quietly: bool = False) -> bool:
    """Write the changes, and report if they wait for online keys."""
    published = repository.publish()
    repository.commit()
    if not published and not quietly:
        click.echo(
            "signed, but not published: run `pitcore-tools package refresh` where the online keys are; "
            "after a change of root boards take no update until then"
        )
    return published


def is_asked() -> bool:
    """Return whether the command runs in an interactive terminal."""
    return sys.stdin.isatty()


def confirm(question: str, yes: bool) -> None:
    """Ask, and exit if the answer is no. Raises PublishError without a terminal, unless ``yes`` is set."""
    if yes:
        return
    if not is_asked():
        raise PublishError("there is no terminal to ask at; give --yes in a script")
    if not click.confirm(question):
        raise click.Abort


def read_passphrase(path: Path | None) -> bytes:
    """Return the passphrase from a file or from the person at the terminal. Raises PublishError."""
    if path is None:
        if not is_asked():
            raise PublishError("a key needs its passphrase, and there is no terminal to ask at; give --passphrase-file")
        phrase: str = click.prompt("passphrase of the keys", hide_input=True)
        return phrase.encode()
    try:
        return path.read_bytes().removeprefix(codecs.BOM_UTF8).strip()
    except OSError as error:
        raise PublishError(f"{path}: {error.strerror}; name a file that holds the passphrase") from error


def new_passphrase(path: Path | None) -> bytes:
    """Return a passphrase for new keys, asked twice. Raises PublishError."""
    if path is not None:
        phrase = read_passphrase(path)
    elif is_asked():
        phrase = click.prompt("new passphrase for offline keys", hide_input=True, confirmation_prompt=True).encode()
    else:
        raise PublishError("offline keys need a passphrase, and there is no terminal to ask at; give --passphrase-file")
    if len(phrase) < MIN_PASSPHRASE:
        raise PublishError(f"a passphrase of {len(phrase)} bytes is too short; use {MIN_PASSPHRASE} or more")
    return phrase
