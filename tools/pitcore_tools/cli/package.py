"""``pitcore-tools package``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click
import msgspec

from pitcore.cli.parameters import InputPath, Number, OutputFolder, Text
from pitcore.errors import PublishError
from pitcore.model_card import load_bundle
from pitcore_tools.cli.package_keys import add_channel, init, rotate_key
from pitcore_tools.cli.package_options import (
    confirm,
    json_option,
    keys_option,
    open_repository,
    publish_changes,
    repository_option,
    yes_option,
)
from pitcore_tools.package import publish, variants
from pitcore_tools.package.channels import channels as every_channel
from pitcore_tools.package.channels import phase, read_to_replace, releases, write_channel
from pitcore_tools.package.repository import MODELS, channel_role, locked
from pitcore_tools.package.stick import check_is_stick, export
from pitcore_tools.package.verify import VerifyReport, phases, verify
from pitcore_tools.rescore.report import Gate, check_gate

DUE = 3  # exit code of `refresh`: a role expires soon, and its key is not here


@click.group()
def package() -> None:
    """Publish models: sign, make deltas, phase in.

    docs/updates_publisher.md describes all steps, and what to do when a key is lost or stolen.
    """


for command in (init, add_channel, rotate_key):
    package.add_command(command)


@package.command()
@repository_option
@keys_option
@click.option("--deltas-from", "bases", default=3, show_default=True, type=click.IntRange(0, 20))
@click.option(
    "--arch", multiple=True, type=Text(), help="Only for machines with this `uname -m`. Repeatable. Default: any."
)
@click.option(
    "--number", type=click.IntRange(1), help="Number of the release. Default: the next. For use after a key was stolen."
)
@click.option(
    "--gate", type=InputPath(), help="report.json of `rescore`; refuse the bundle where it exceeds the limits."
)
@click.option(
    "--gate-flips",
    default=0.05,
    show_default=True,
    type=Number(0.0, 1.0),
    help="Share of verdicts that may change.",
)
@click.option(
    "--gate-clean",
    default=0.01,
    show_default=True,
    type=Number(0.0, 1.0),
    help="Share of the cherries that boards stopped (maybe or pit) which may pass.",
)
@click.option(
    "--gate-bad", default=0.01, show_default=True, type=Number(0.0, 1.0), help="Share of crops that may be bad."
)
@click.option("--again", is_flag=True, help="Publish an earlier archive again, under a new number.")
@json_option
@click.argument("bundle", type=InputPath(folder=True))
def add(
    directory: Path,
    folders: tuple[Path, ...],
    passphrase_file: Path | None,
    bases: int,
    arch: tuple[str, ...],
    again: bool,
    number: int | None,
    gate: Path | None,
    gate_flips: float,
    gate_clean: float,
    gate_bad: float,
    as_json: bool,
    bundle: Path,
) -> None:
    """Add a bundle: check it, run its golden vectors, pack it, make patches, sign. No board installs it yet.

    Needs the models key. Without the online keys the result waits for `refresh`.

    \b
    Example:
      pitcore-tools package add out/bundle --repository /srv/models --keys /media/safe/keys
    """
    if gate is not None:
        report = check_gate(gate, load_bundle(bundle), Gate(gate_flips, gate_clean, gate_bad))
        passing = f"{report.newly_clean} of {report.stopped} stopped cherries would pass"
        click.echo(f"gate: at the boards' point {report.point} {passing}", err=True)
    with locked(directory):
        repository = open_repository(directory, folders, passphrase_file)
        added = publish.add(repository, bundle, publish.PublishRequest(bases, arch, again, number))
        published = publish_changes(repository, quietly=as_json)
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
@click.option("--percent", required=True, type=Number(0.0, 100.0), help="Share of the boards; 0 stops a phase.")
@yes_option
@click.argument("channel", type=Text())
@click.argument("target", type=Text())
def release(
    directory: Path,
    folders: tuple[Path, ...],
    passphrase_file: Path | None,
    percent: float,
    yes: bool,
    channel: str,
    target: str,
) -> None:
    """Release a model to a share of a channel's boards. Needs the keys of channel, snapshot and timestamp.

    \b
    Example:
      pitcore-tools package release stable models/cherry-1.1.0.tar --percent 1 \\
          --repository /srv/models --keys keys/online
    """
    with locked(directory):
        repository = open_repository(directory, folders, passphrase_file)
        before, known = read_to_replace(repository, channel, click.echo), releases(repository)
        after = phase(before, known, target, percent)
        was = next((entry.percent for entry in before.releases if entry.target == target), 0.0)
        found = known[target]
        click.echo(f"{channel}: {found.label}, release {found.release_seq}: {was:g} % -> {percent:g} % of the boards")
        if percent < was:
            click.echo(
                "boards that have installed it keep it; to replace it, add the old bundle --again and release that"
            )
        if not (repository.can_sign("snapshot") and repository.can_sign("timestamp")):
            raise PublishError("the keys of snapshot and timestamp are missing; add --keys with their folder")
        confirm("publish this?", yes)
        write_channel(repository, after)
        publish_changes(repository)


@package.command()
@repository_option
@keys_option
@json_option
@click.argument("roles", nargs=-1, type=Text())
def refresh(
    directory: Path, folders: tuple[Path, ...], passphrase_file: Path | None, as_json: bool, roles: tuple[str, ...]
) -> None:
    """Sign the timestamp and other roles that are due, so that boards accept the repository as current. Run it daily.

    The named ROLES are signed too: once a year root, targets and models, with their offline keys.

    Exit code 0: published; 2: it failed; 3: published, but a role whose key is not here expires within 30 days or has
    expired. Boards refuse every update from then on.

    \b
    Examples:
      pitcore-tools package refresh --repository /srv/models --keys keys/online
      pitcore-tools package refresh root targets models --repository /srv/models --keys keys/online --keys /media/safe
    """
    with locked(directory):
        repository = open_repository(directory, folders, passphrase_file)
        waiting = publish.refresh(repository, roles)
        written = repository.commit()
    if as_json:
        click.echo(json.dumps({"written": written, "waiting": waiting}))
    else:
        click.echo(f"signed: {', '.join(written)}")
        for role, days in waiting.items():
            click.echo(_waits(role, days), err=days < publish.DUE_DAYS)
    if any(days < publish.DUE_DAYS for days in waiting.values()):
        sys.exit(DUE)


@package.command()
@repository_option
@keys_option
@yes_option
@click.argument("target", type=Text())
def withdraw(directory: Path, folders: tuple[Path, ...], passphrase_file: Path | None, yes: bool, target: str) -> None:
    """Remove an archive from the list, such as one signed by a thief. Needs the models key. No channel may name it.

    \b
    Example:
      pitcore-tools package withdraw models/cherry-6.6.6.tar --repository /srv/models --keys /media/safe --keys online
    """
    with locked(directory):
        repository = open_repository(directory, folders, passphrase_file)
        publish.withdraw(repository, target)
        confirm(f"withdraw {target}?", yes)
        publish_changes(repository)


@package.command("list")
@repository_option
@json_option
def list_(directory: Path, as_json: bool) -> None:
    """List releases, and the channels that name them.

    \b
    Example:
      pitcore-tools package list --repository /srv/models
    """
    with locked(directory):
        repository = open_repository(directory, (), None)
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
@click.option("--root", type=InputPath(), help="root.json of a board. Default: the repository's first.")
@click.option(
    "--stick", is_flag=True, help="Check a folder that `export-usb` wrote: it holds only what its channels name."
)
@json_option
def verify_(directory: Path, root: Path | None, stick: bool, as_json: bool) -> None:
    """Verify a repository or a stick like a board does, and hash every file. Needs no key.

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
@click.option("--channel", "channels", multiple=True, type=Text(), help="Channel to copy. Repeatable. Default: all.")
@click.option("--folder", is_flag=True, help="DESTINATION is a folder of this machine, not a stick.")
@click.argument("destination", type=OutputFolder())
def export_usb(directory: Path, channels: tuple[str, ...], folder: bool, destination: Path) -> None:
    """Copy the files for boards without a network to a mounted stick, and verify them there. Needs no key.

    The stick is valid until the first of its roles expires, mostly its timestamp: run `refresh` first.

    \b
    Example:
      pitcore-tools package export-usb /media/stick/pitcore --repository /srv/models --channel stable
    """
    with locked(directory):
        if not folder:
            check_is_stick(destination, directory)
        repository = open_repository(directory, (), None)
        chosen = list(channels) or every_channel(repository)
        size = export(repository, destination, chosen)
        roles = ("root", "targets", MODELS, *map(channel_role, chosen), "snapshot", "timestamp")
        days = min(map(repository.days_left, roles))
    verify(destination, stick=True)
    board = destination.parent if destination.name == "pitcore" else destination
    click.echo(f"on the board: pitcore update install --from {board}, with the folder where it is mounted there")
    click.echo(f"{destination}: {size} bytes, good for {days:.1f} days; unmount it before you pull it out")


@package.command("deltas")
@click.option(
    "--bundle",
    default=variants.DEFAULT,
    type=InputPath(folder=True),
    help="Base of the patch. Default: the model that comes with pitcore.",
)
@json_option
def deltas(bundle: Path, as_json: bool) -> None:
    """Compare deltas with full archives for three kinds of new models, and measure the time to apply them.

    The new models are emulated: the base's int8 weights are replaced or slightly changed, as in the table.

    \b
    Example:
      pitcore-tools package deltas
    """
    rows = variants.measure(bundle)
    click.echo(json.dumps([row.plain() for row in rows]) if as_json else variants.table(rows))


def _waits(role: str, days: float) -> str:
    """Return the line for a role that waits for its key."""
    left = f"expires in {days:.0f} days" if days > 0 else "HAS EXPIRED, boards refuse every update"
    return f"{role}: {left}; sign it with `pitcore-tools package refresh {role}` and its key"


def _report(report: VerifyReport) -> str:
    lines = [f"{row.channel}: {row.label}, release {row.release_seq}, {row.percent:g} %" for row in report.phases]
    lines += [f"{role}: good for {days:.1f} days" for role, days in report.days_left.items()]
    return "\n".join([*lines, f"{report.files} files are what was signed"])
