"""``pitcore-tools package``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from pitcore.errors import PublishError
from pitcore_tools.package import publish, setup, variants
from pitcore_tools.package.channels import phase, read_channel, releases, write_channel
from pitcore_tools.package.keys import KeyRing
from pitcore_tools.package.repository import CHANNEL_PREFIX, StaticRepository, locked, rule_of
from pitcore_tools.package.stick import export
from pitcore_tools.package.verify import Report, phases, verify

FOLDER = click.Path(path_type=Path, file_okay=False)
MIN_PASSPHRASE = 8


def repository_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--repository DIR``."""
    return click.option(
        "--repository", "directory", required=True, type=FOLDER, help="Folder of static files that a web server serves."
    )(function)


def keys_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--keys DIR``, several times, and where the passphrase comes from."""
    function = click.option(
        "--passphrase-file", type=click.Path(path_type=Path), help="Read the keys' passphrase here, do not ask."
    )(function)
    return click.option(
        "--keys", "folders", required=True, multiple=True, type=FOLDER, help="Folder of private keys. Repeatable."
    )(function)


json_option = click.option("--json", "as_json", is_flag=True, help="For programs.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask before publishing.")


@click.group()
def package() -> None:
    """Publish models: sign, make deltas, phase in.

    docs/updates_publisher.md goes from a bundle to every board, and says what to do when a key is lost or stolen.
    """


@package.command()
@repository_option
@click.option("--keys", "folder", required=True, type=FOLDER, help="New folder for the private keys.")
@click.option("--channel", "channels", required=True, multiple=True, help="A first channel. Repeatable.")
@click.option("--passphrase-file", type=click.Path(path_type=Path), help="Read the passphrase here, do not ask.")
@click.option("--unprotected", is_flag=True, help="Offline keys without a passphrase: for trials only.")
def init(
    directory: Path, folder: Path, channels: tuple[str, ...], passphrase_file: Path | None, *, unprotected: bool
) -> None:
    """Make a repository and its keys. Nothing is ever overwritten.

    Root has three keys and needs two; they, targets and models go into KEYS/offline and out of the machine. Channels,
    snapshot and timestamp are in KEYS/online.

    \b
    Example:
      pitcore-tools package init --repository /srv/models --keys /media/safe/keys --channel stable --channel beta
    """
    if unprotected and passphrase_file:
        raise click.UsageError("--unprotected and --passphrase-file exclude each other")
    phrase = None if unprotected else _new_passphrase(passphrase_file)
    root = setup.initialise(directory, folder, channels, phrase, lambda: datetime.now(UTC))
    click.echo(
        f"repository {directory}, keys {folder}\n"
        f"1. move {folder}/offline off this machine: root-1, root-2 and root-3 to three places\n"
        f"2. copy {root} to /etc/pitcore/root.json on every board\n"
        f"3. run `pitcore-tools package refresh` every day, with {folder}/online"
    )


@package.command("add-channel")
@repository_option
@keys_option
@click.option("--new-keys", required=True, type=FOLDER, help="Folder that the new key goes into, as online/...")
@click.argument("channel")
def add_channel(
    directory: Path, folders: tuple[Path, ...], passphrase_file: Path | None, new_keys: Path, channel: str
) -> None:
    """Make a channel. Needs the targets key, and the online ones.

    \b
    Example:
      pitcore-tools package add-channel night-shift --repository /srv/models --keys /media/safe/keys --new-keys keys
    """
    with locked(directory):
        repository = _open(directory, folders, passphrase_file)
        setup.add_channel(repository, channel, new_keys)
        _publish(repository)


@package.command()
@repository_option
@keys_option
@click.option("--deltas-from", "bases", default=3, show_default=True, type=click.IntRange(0, 20))
@click.option("--arch", multiple=True, help="Only for machines of this `uname -m`. Repeatable. Default: any.")
@click.option("--again", is_flag=True, help="An archive that is here gets a new number: the way back to it.")
@json_option
@click.argument("bundle", type=FOLDER)
def add(
    directory: Path,
    folders: tuple[Path, ...],
    passphrase_file: Path | None,
    bases: int,
    arch: tuple[str, ...],
    again: bool,
    as_json: bool,
    bundle: Path,
) -> None:
    """Add a bundle: check it, run its golden vectors, pack it, make patches, sign. No board is asked to take it yet.

    Needs the models key. Without the online keys the result waits for `refresh`.

    \b
    Example:
      pitcore-tools package add out/bundle --repository /srv/models --keys /media/safe/keys
    """
    with locked(directory):
        repository = _open(directory, folders, passphrase_file)
        added = publish.add(repository, bundle, publish.Wish(bases, arch, again))
        published = _publish(repository, quietly=as_json)
    if as_json:
        plain = {"target": added.target, "length": added.length, "published": published}
        click.echo(json.dumps(plain | {"release": msgspec.to_builtins(added.release)}))
        return
    click.echo(f"{added.target}: release {added.release.release_seq}, {added.length} bytes")
    for patch in added.release.deltas:
        share = 100.0 * patch.length / added.length
        click.echo(f"  {patch.target}: {patch.length} bytes, {share:.1f} % of the full archive")
    click.echo(f"next: pitcore-tools package release CHANNEL {added.target} --percent 1")


@package.command()
@repository_option
@keys_option
@click.option("--percent", required=True, type=click.FloatRange(0.0, 100.0), help="Of the boards; 0 stops a phase.")
@yes_option
@click.argument("channel")
@click.argument("target")
def release(
    directory: Path,
    folders: tuple[Path, ...],
    passphrase_file: Path | None,
    percent: float,
    yes: bool,
    channel: str,
    target: str,
) -> None:
    """Ask a share of a channel's boards to take a release. Needs the channel's key, snapshot's and timestamp's.

    \b
    Example:
      pitcore-tools package release stable models/cherry-1.1.0.tar --percent 1 \\
          --repository /srv/models --keys keys/online
    """
    with locked(directory):
        repository = _open(directory, folders, passphrase_file)
        before, known = read_channel(repository, channel), releases(repository)
        after = phase(before, known, target, percent)
        was = next((entry.percent for entry in before.releases if entry.target == target), 0.0)
        found = known[target]
        click.echo(f"{channel}: {found.label}, release {found.release_seq}: {was:g} % -> {percent:g} % of the boards")
        if percent < was:
            click.echo(
                "boards that have taken it keep it; to take it back, add the old bundle --again and release that"
            )
        if not (repository.can_sign("snapshot") and repository.can_sign("timestamp")):
            raise PublishError("the keys of snapshot and timestamp are not at hand; add --keys with their folder")
        _confirm("publish this?", yes)
        write_channel(repository, after)
        _publish(repository)


@package.command("rotate-key")
@repository_option
@keys_option
@click.option("--key", "old", help="First letters of the id of the key to replace; needed where a role has several.")
@click.option("--new-keys", required=True, type=FOLDER, help="Folder that the new key goes into.")
@click.option("--unprotected", is_flag=True, help="A new offline key without a passphrase: for trials only.")
@yes_option
@click.argument("role")
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
    """Replace a lost or stolen key. Boards stop to believe the old one with their next check.

    ROLE is root, targets, snapshot, timestamp (needs two root keys), models or channel-NAME (needs the targets key).

    \b
    Example:
      pitcore-tools package rotate-key timestamp --repository /srv/models --keys /media/a --keys /media/b \\
          --keys keys/online --new-keys keys
    """
    with locked(directory):
        repository = _open(directory, folders, passphrase_file)
        ids = setup.key_ids(repository, role)
        click.echo(f"{role} has the keys {', '.join(keyid[:12] for keyid in ids)}")
        _confirm("replace one for good?", yes)
        offline = rule_of(role).offline and not unprotected
        phrase = _new_passphrase(passphrase_file) if offline else None
        keyid = setup.rotate(repository, role, old, new_keys, phrase)
        _publish(repository)
    click.echo(f"{role}: new key {keyid[:12]} below {new_keys}")


@package.command()
@repository_option
@keys_option
@json_option
@click.argument("roles", nargs=-1)
def refresh(
    directory: Path, folders: tuple[Path, ...], passphrase_file: Path | None, as_json: bool, roles: tuple[str, ...]
) -> None:
    """Sign the timestamp again, and what else is due, so that boards know nothing is held back. Run it every day.

    Names of further ROLES sign those again too: once a year root, targets and models, with their offline keys.

    \b
    Examples:
      pitcore-tools package refresh --repository /srv/models --keys keys/online
      pitcore-tools package refresh root targets models --repository /srv/models --keys keys/online --keys /media/safe
    """
    with locked(directory):
        repository = _open(directory, folders, passphrase_file)
        waiting = publish.refresh(repository, roles)
        written = repository.commit()
    if as_json:
        click.echo(json.dumps({"written": written, "waiting": waiting}))
        return
    click.echo(f"signed: {', '.join(written)}")
    for role in waiting:
        click.echo(f"{role}: half its time is over; sign it again with `refresh {role}` and its key")


@package.command("list")
@repository_option
@json_option
def list_(directory: Path, as_json: bool) -> None:
    """List releases, and which channels ask for them.

    \b
    Example:
      pitcore-tools package list --repository /srv/models
    """
    with locked(directory):
        repository = _open(directory, (), None)
        known, asked = releases(repository), phases(repository)
    if as_json:
        rows = [{"target": name} | msgspec.to_builtins(release) for name, release in known.items()]
        click.echo(json.dumps({"releases": rows, "phases": [msgspec.to_builtins(row) for row in asked]}))
        return
    for name, found in known.items():
        where = ", ".join(f"{row.channel} {row.percent:g} %" for row in asked if row.target == name)
        click.echo(f"{found.release_seq:4}  {name}  {where or 'in no channel'}")


@package.command("verify")
@repository_option
@click.option("--root", type=click.Path(path_type=Path), help="root.json of a board. Default: the repository's first.")
@click.option("--stick", is_flag=True, help="What `export-usb` wrote: only what its channels name need be there.")
@json_option
def verify_(directory: Path, root: Path | None, stick: bool, as_json: bool) -> None:
    """Look at a repository or a stick with a board's eyes, and hash every file. Needs no key.

    \b
    Example:
      pitcore-tools package verify --repository /srv/models --root /etc/pitcore/root.json
    """
    try:
        provisioned = root.read_bytes() if root else None
    except OSError as error:
        raise PublishError(f"{root}: {error.strerror}; name the root.json that boards were given") from error
    report = verify(directory, provisioned, stick=stick)
    click.echo(json.dumps(report.plain()) if as_json else _report(report))


@package.command("export-usb")
@repository_option
@click.option("--channel", "channels", multiple=True, help="To take along. Repeatable. Default: all.")
@click.argument("destination", type=FOLDER)
def export_usb(directory: Path, channels: tuple[str, ...], destination: Path) -> None:
    """Copy what boards without a network need to a stick, and verify it there. Needs no key.

    The stick is good until its timestamp expires: run `refresh` first.

    \b
    Example:
      pitcore-tools package export-usb /media/stick/pitcore --repository /srv/models --channel stable
    """
    with locked(directory):
        repository = _open(directory, (), None)
        every = [role.removeprefix(CHANNEL_PREFIX) for role in repository.delegated() if role != "models"]
        size = export(repository, destination, list(channels) or every)
        days = repository.days_left("timestamp")
    verify(destination, stick=True)
    click.echo(f"{destination}: {size} bytes, good for {days:.1f} days; unmount it before you pull it out")


@package.command("deltas")
@click.option(
    "--bundle", default=variants.DEFAULT, type=FOLDER, help="Base. Default: the model that comes with pitcore."
)
@json_option
def deltas(bundle: Path, as_json: bool) -> None:
    """Compare deltas with full archives for three ways to make a new model, and measure applying them.

    The new models are emulated: the base's int8 weights are replaced or nudged, as the table says.

    \b
    Example:
      pitcore-tools package deltas
    """
    rows = variants.measure(bundle)
    click.echo(json.dumps([row.plain() for row in rows]) if as_json else variants.table(rows))


def _open(directory: Path, folders: tuple[Path, ...], passphrase_file: Path | None) -> StaticRepository:
    return StaticRepository(directory, KeyRing(folders, lambda: _passphrase(passphrase_file)))


def _publish(repository: StaticRepository, *, quietly: bool = False) -> bool:
    """Write what was changed; say so where it waits for online keys."""
    published = repository.publish()
    repository.commit()
    if not published and not quietly:
        click.echo("signed, but no board sees it yet: run `pitcore-tools package refresh` where the online keys are")
    return published


def _is_asked() -> bool:
    """Return whether a person sits at the terminal."""
    return sys.stdin.isatty()


def _confirm(question: str, yes: bool) -> None:
    if yes:
        return
    if not _is_asked():
        raise PublishError("nobody is here to ask; say --yes in a script")
    if not click.confirm(question):
        raise click.Abort


def _passphrase(path: Path | None) -> bytes:
    if path is None:
        if not _is_asked():
            raise PublishError("a key needs its passphrase, and nobody is here to ask; give --passphrase-file")
        phrase: str = click.prompt("passphrase of the keys", hide_input=True)
        return phrase.encode()
    try:
        return path.read_bytes().strip()
    except OSError as error:
        raise PublishError(f"{path}: {error.strerror}; name a file that holds the passphrase") from error


def _new_passphrase(path: Path | None) -> bytes:
    if path is not None:
        phrase = _passphrase(path)
    elif _is_asked():
        phrase = click.prompt("new passphrase for offline keys", hide_input=True, confirmation_prompt=True).encode()
    else:
        raise PublishError("offline keys need a passphrase, and nobody is here to ask; give --passphrase-file")
    if len(phrase) < MIN_PASSPHRASE:
        raise PublishError(f"a passphrase of {len(phrase)} bytes is no protection; use {MIN_PASSPHRASE} or more")
    return phrase


def _report(report: Report) -> str:
    lines = [f"{row.channel}: {row.label}, release {row.release_seq}, {row.percent:g} %" for row in report.phases]
    lines += [f"{role}: good for {days:.1f} days" for role, days in report.days_left.items()]
    return "\n".join([*lines, f"{report.files} files are what was signed"])
