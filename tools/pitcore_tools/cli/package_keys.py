"""``pitcore-tools package init | add-channel | rotate-key``: roles and their keys."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click
from tuf.api.metadata import TOP_LEVEL_ROLE_NAMES

from pitcore.cli.parameters import InputPath, OutputFolder, Text
from pitcore_tools.cli.package_options import (
    confirm,
    keys_option,
    new_passphrase,
    open_repository,
    publish_changes,
    repository_option,
    yes_option,
)
from pitcore_tools.package import setup
from pitcore_tools.package.repository import locked, rule_of


@click.command()
@repository_option
@click.option("--keys", "folder", required=True, type=OutputFolder(), help="New folder for the private keys.")
@click.option("--channel", "channels", required=True, multiple=True, type=Text(), help="A first channel. Repeatable.")
@click.option("--passphrase-file", type=InputPath(), help="Read the passphrase from this file instead of asking.")
@click.option("--unprotected", is_flag=True, help="Make offline keys without a passphrase, for trials only.")
def init(
    directory: Path, folder: Path, channels: tuple[str, ...], passphrase_file: Path | None, *, unprotected: bool
) -> None:
    """Create a repository and its keys. No file is overwritten.

    Root has three keys and needs two. These and the keys of targets and models go to KEYS/offline: move them off this
    machine. Keys of channels, snapshot and timestamp go to KEYS/online.

    \b
    Example:
      pitcore-tools package init --repository /srv/models --keys /media/safe/keys --channel stable --channel beta
    """
    if unprotected and passphrase_file:
        raise click.UsageError("--unprotected and --passphrase-file cannot be used together")
    phrase = None if unprotected else new_passphrase(passphrase_file)
    root = setup.initialise(directory, folder, channels, phrase, lambda: datetime.now(UTC))
    click.echo(
        f"repository {directory}, keys {folder}\n"
        f"1. move {folder}/offline off this machine: root-1, root-2 and root-3 to three places\n"
        f"2. copy {root} to /etc/pitcore/root.json on every board\n"
        f"3. run `pitcore-tools package refresh` every day, with {folder}/online"
    )


@click.command("add-channel")
@repository_option
@keys_option
@click.option(
    "--new-keys", required=True, type=OutputFolder(shared=True), help="Folder that the new key goes into, as online/..."
)
@click.argument("channel", type=Text())
def add_channel(
    directory: Path, folders: tuple[Path, ...], passphrase_file: Path | None, new_keys: Path, channel: str
) -> None:
    """Create a channel. Needs the targets key and the online keys.

    \b
    Example:
      pitcore-tools package add-channel night-shift --repository /srv/models --keys /media/safe/keys --new-keys keys
    """
    with locked(directory):
        repository = open_repository(directory, folders, passphrase_file)
        setup.add_channel(repository, channel, new_keys)
        publish_changes(repository)


@click.command("rotate-key")
@repository_option
@keys_option
@click.option(
    "--key", "old", type=Text(), help="First letters of the id of the key to replace; needed where a role has several."
)
@click.option("--new-keys", required=True, type=OutputFolder(shared=True), help="Folder that the new key goes into.")
@click.option("--unprotected", is_flag=True, help="Make an offline key without a passphrase, for trials only.")
@yes_option
@click.argument("role", type=Text())
def rotate_key(
    directory: Path,
    folders: tuple[Path, ...],
    passphrase_file: Path | None,
    old: str | None,
    new_keys: Path,
    unprotected: bool,
    yes: bool,
    role: str,
) -> None:
    """Replace a lost or stolen key. Boards stop trusting the old key at their next check.

    ROLE is root, targets, snapshot, timestamp (needs two root keys), models or channel-NAME (needs the targets key).

    \b
    Example:
      pitcore-tools package rotate-key timestamp --repository /srv/models --keys /media/a --keys /media/b \\
          --keys keys/online --new-keys keys
    """
    with locked(directory):
        repository = open_repository(directory, folders, passphrase_file)
        ids = setup.key_ids(repository, role)
        click.echo(f"{role} has the keys {', '.join(keyid[:12] for keyid in ids)}")
        confirm("replace one for good?", yes)
        offline = rule_of(role).offline and not unprotected
        phrase = new_passphrase(passphrase_file) if offline else None
        keyid = setup.rotate(repository, role, old, new_keys, phrase)
        publish_changes(repository)
        root = directory / "metadata" / f"{repository.root().version}.root.json"
    click.echo(f"{role}: new key {keyid[:12]} below {new_keys}; destroy the old one's file, and run `verify`")
    if role in TOP_LEVEL_ROLE_NAMES:
        click.echo(f"the root of trust is now {root}: boards follow it by themselves, give it to new ones")
