"""Implements ``pitcore update``: models over the air or from a stick."""

from __future__ import annotations

import sys
from typing import Any

import click
import msgspec

from pitcore.cli.campaign import campaign
from pitcore.cli.update_place import needing_the_extra, options, place_of
from pitcore.control.remote import ask_status
from pitcore.errors import ConfigError, ControlError, UpdateError
from pitcore.ota.identity import Identity, read_identity
from pitcore.ota.last_update import remember
from pitcore.ota.overview import Overview, RunningModel, look
from pitcore.ota.trial import UpdateOutcome
from pitcore.text_table import table

FETCHING = {"check", "fetch", "install"}
ON_TRIAL = 3  # exit code: no failure, but no success yet


@click.group()
def update() -> None:
    """New models: check, fetch, install, commit, roll back.

    The old model keeps running if an update fails. `pitcore update status` shows faults and fixes.
    """


update.add_command(campaign)


@update.command()
@options
def check(as_json: bool, **where: Any) -> None:  # noqa: ANN401  the options above
    """Ask whether a release is offered, and change nothing.

    \b
    Example:
      pitcore update check
    """
    _carry_out("check", as_json, where)


@update.command()
@options
def fetch(as_json: bool, **where: Any) -> None:  # noqa: ANN401  the options above
    """Download and verify the offered release, and stop there. `install` continues with it.

    \b
    Example:
      pitcore update fetch
    """
    _carry_out("fetch", as_json, where)


@update.command()
@click.option("--again", is_flag=True, help="Also install a release that failed on this board before.")
@options
def install(as_json: bool, again: bool, **where: Any) -> None:  # noqa: ANN401  the options above
    """Install the offered release. Success is reported after the new model has passed its trial.

    An interrupted update is finished first. Exit code 0: done, or nothing to do; 2: it failed, the old model runs; 3:
    still on trial, since the service does not run or no frames arrive.

    \b
    Example:
      pitcore update install
      pitcore update install --from /media/stick
    """
    _carry_out("install", as_json, where, again=again)


@update.command()
@options
def commit(as_json: bool, **where: Any) -> None:  # noqa: ANN401  the options above
    """Judge the model on trial now, and commit it or roll it back.

    \b
    Example:
      pitcore update commit
    """
    _carry_out("commit", as_json, where)


@update.command()
@options
def rollback(as_json: bool, **where: Any) -> None:  # noqa: ANN401  the options above
    """Go back to the previous model, and refuse the present one from now on.

    \b
    Example:
      pitcore update rollback
    """
    _carry_out("rollback", as_json, where)


@update.command()
@options
def status(as_json: bool, **where: Any) -> None:  # noqa: ANN401  the options above
    """Show the installed models, faults and fixes.

    \b
    Example:
      pitcore update status
    """
    place = place_of(**where)
    try:
        model = ask_status(place.socket).model
        running: RunningModel | None = RunningModel(f"{model.name}@{model.version}", model.sha256, model.directory)
    except ControlError:
        running = None
    found = look(place.store, running)
    try:
        identity = read_identity(place.config.update.device_id)
    except ConfigError as error:
        identity = Identity("none", str(error))
    if as_json:
        shown = msgspec.to_builtins(found) | {"device_id": identity.device_id, "device_id_from": identity.origin}
        click.echo(msgspec.json.encode(shown).decode())
    else:
        click.echo(f"this board  {identity.device_id} (from {identity.origin})")
        click.echo(f"configured  {place.config_path or 'by no file: the defaults'}")
        click.echo(text(found))


def _carry_out(command: str, as_json: bool, where: dict[str, Any], **arguments: bool) -> None:
    """Run a command, store its result, and print it. Raises UpdateError, ConfigError."""
    place = place_of(**where)
    with needing_the_extra():
        from pitcore.cli.updating import updater  # noqa: PLC0415  pitcore runs without the extra
    try:
        outcome: UpdateOutcome = getattr(updater(place, fetches=command in FETCHING), command)(**arguments)
    except UpdateError as error:
        remember(place.store, command, error)
        if as_json:
            said = {"result": "failed", "refusal": error.refusal, "message": str(error)}
            click.echo(msgspec.json.encode(said).decode())
        raise
    remember(place.store, command, outcome)
    answer = {"result": outcome.result, "message": outcome.message}
    click.echo(msgspec.json.encode(answer).decode() if as_json else f"{outcome.result}: {outcome.message}")
    if outcome.result == "on trial":
        sys.exit(ON_TRIAL)


def text(found: Overview) -> str:
    """Return the overview for a terminal, with the faults last."""
    rows = [
        [view.slot, view.role, view.label or "-", "-" if view.release_seq is None else str(view.release_seq),
         "-" if view.label is None else "damaged" if view.damage else "whole"]
        for view in found.slots
    ]  # fmt: skip
    made = "" if found.is_made else " (there is no store yet: the first `pitcore update install` creates it)"
    lines = [
        f"store       {found.store}, {found.free_bytes / 1e6:.0f} MB free{made}",
        f"runs now    {found.running or 'the service does not answer'}",
        f"next start  {found.serves} ({found.role})",
        f"accepts     release {found.release_seq_floor} and later",
        table(["slot", "role", "model", "release", "files"], rows),
    ]
    lines += [f"refused          {card[:12]}: {why}" for card, why in found.bad.items()]
    lines += [f"not judged yet   {card[:12]}: tried {times} times" for card, times in found.unjudged.items()]
    if found.attempts_left is not None:
        lines.append(f"on trial    {found.attempts_left} more loads before it counts as a crash loop")
    if found.last is not None:
        lines.append(f"last update {found.last.at} {found.last.command}: {found.last.message}")
    if not found.troubles:
        return "\n".join([*lines, "all is well"])
    return "\n".join([*lines, "", *(f"ERROR  {trouble.what}\n  FIX  {trouble.fix}" for trouble in found.troubles)])
