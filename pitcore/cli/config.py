"""Implements ``pitcore config``, which checks a board's configuration."""

from __future__ import annotations

from pathlib import Path

import click

from pitcore.cli.options import named
from pitcore.cli.parameters import InputPath
from pitcore.config import Config, explain, load_config, operating_point, weakened
from pitcore.config.load import config_text
from pitcore.config.mistakes import mistakes
from pitcore.doctor.load import check_load
from pitcore.errors import ConfigError
from pitcore.inference.choice import open_bundle
from pitcore.inference.session import Session
from pitcore.loop.sources import check_recorded
from pitcore.model_card import Bundle
from pitcore.output_path import VERDICT_FILE, check_file
from pitcore.shadow.candidate_process import open_candidate


@click.group()
def config() -> None:
    """Check a board's configuration: pitcore config check FILE."""


@config.command()
@click.argument("path", type=InputPath())
@click.option("--explain", "is_explained", is_flag=True, help="Print every value, its meaning, default and origin.")
def check(path: Path, is_explained: bool) -> None:
    """Check a configuration file and its model.

    Exit code 0 if both are good, 2 if not; the message names file, section and key. The model is loaded and computes
    its golden vectors. No camera is opened, and nothing is written to the verdict file. If no service runs, a few drawn
    frames are judged to check that this machine keeps up with the belt.

    \b
    Examples:
      pitcore config check /etc/pitcore/board.toml
      pitcore config check --explain /etc/pitcore/board.toml
    """
    with named(path):
        _check(path, is_explained=is_explained)


def _check(path: Path, *, is_explained: bool) -> None:
    """Check and describe a configuration file. Raises PitcoreError."""
    loaded = load_config(path)
    if found := mistakes(loaded):
        raise ConfigError(f"{path}: {found[0]}")
    check_file(Path(loaded.sink.path), VERDICT_FILE)
    check_recorded(loaded.source)
    bundle = open_bundle(loaded)
    runtime = loaded.runtime
    Session(bundle, capacity=runtime.max_cherries, threads=runtime.threads, sub_batch=runtime.sub_batch)  # proves it
    operating = operating_point(bundle.card, loaded.decision)
    candidate = _candidate(loaded)
    thresholds = operating.thresholds
    frame = loaded.frame
    click.echo(f"{path}: good")
    click.echo(f"  frame       {' + '.join(frame.planes)}, {frame.height_px}x{frame.width_px} px")
    click.echo(f"  model       {bundle.label} ({bundle.directory}); golden vectors reproduced here")
    if candidate is not None:
        click.echo(f"  shadow      {candidate.label} ({candidate.directory}) judges some frames in addition")
    click.echo(f"  point       {operating.point}: {operating.promise}")
    click.echo(f"  thresholds  clean below {thresholds.accept}, pit from {thresholds.reject}")
    click.echo(f"  calibration {_calibration(loaded)}")
    for said in weakened(loaded):
        click.echo(f"  LESS SAFE   {said}")
    load = check_load(loaded)
    click.echo(f"  {'TOO SLOW' if load.status == 'warn' else 'load':11} {load.found}")
    if load.fix:
        click.echo(f"  {'':11} -> {load.fix}")
    click.echo(f"  hash        {loaded.sha256}")
    if is_explained:
        _print_explained(loaded, path)


def _candidate(loaded: Config) -> Bundle | None:
    """Return the candidate of [shadow], loaded and proved; None where there is none. Raises PitcoreError."""
    if not loaded.shadow.enabled:
        return None
    candidate = open_candidate(str(loaded.shadow.bundle), loaded.frame.planes)
    Session(candidate, capacity=1)
    operating_point(candidate.card, loaded.decision)
    return candidate


def _calibration(loaded: Config) -> str:
    """Return the measured steps, and the time of the last one."""
    values = loaded.calibration.values
    if values is None:
        return "none"
    planes = values.planes.values()
    parts = {
        "exposure": any(plane.exposure_us is not None for plane in planes),
        "flat": any(plane.background for plane in planes),
        "align": values.alignment is not None,
        "belt": values.belt is not None,
    }
    measured = ", ".join(name for name, known in parts.items() if known)
    return f"number {values.serial} of {values.measured_at}: {measured}"


def _print_explained(loaded: Config, path: Path) -> None:
    """Print every value; a key that the file gives is marked."""
    section = ""
    for one in explain(loaded, config_text(path)):
        if one.section != section:
            section = one.section
            click.echo(f"\n[{section}]")
        origin = f"{path.name}; default {one.default}" if one.given else "default"
        click.echo(f"{one.key} = {one.value}  ({origin})")
        if one.meaning:
            click.echo(f"    {one.meaning}")
        if (section, one.key) == ("belt", "px_per_tick") and loaded.px_per_tick != loaded.belt.px_per_tick:
            click.echo(f"    {loaded.px_per_tick} is in force, which `pitcore calibrate belt` measured")
