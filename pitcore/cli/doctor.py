"""Implements ``pitcore doctor``, which checks this board."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click
import msgspec

from pitcore import __version__
from pitcore.cli.options import board_option
from pitcore.doctor.check import Check
from pitcore.doctor.examine import examine, worst


@click.command()
@board_option
@click.option("--json", "as_json", is_flag=True, help="As one JSON object, schema pitcore.doctor/1.")
def doctor(config_path: Path | None, as_json: bool) -> None:
    """Check this board: configuration, model, processor, cameras, memory, GPIO, disk, service.

    Each line is ok, warn, fail, or skip if this machine has no such part. A warn or fail line has its fix. Opens no
    camera and drives no line, so it may run beside the service. Exit code 1 if anything fails.

    \b
    Example:
      pitcore doctor
    """
    checks = examine(config_path)
    if as_json:
        click.echo(json.dumps(report(checks), indent=1))
    else:
        for check in checks:
            click.echo(line(check))
    sys.exit(1 if worst(checks) == "fail" else 0)


def report(checks: list[Check]) -> dict[str, object]:
    """Return the checks as an object for programs."""
    return {
        "schema": "pitcore.doctor/1",
        "version": __version__,
        "worst": worst(checks),
        "checks": msgspec.to_builtins(checks),
    }


def line(check: Check) -> str:
    """Return a check for people: one line, and one more with its fix."""
    fix = f"\n{'':6}{'':16}-> {check.fix}" if check.fix else ""
    return f"{check.status:6}{check.name:16}{check.found}{fix}"
