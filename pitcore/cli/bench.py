"""Implements the command ``pitcore-bench``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np

from pitcore import machine
from pitcore.bench import report
from pitcore.bench.load import Load, parse_load
from pitcore.bench.once import allocations, cold_start_ms, swap_ms
from pitcore.bench.overload import overload as overload_text
from pitcore.bench.run import measure
from pitcore.bench.swaps import swap_trial
from pitcore.bench.swaps import text as swaps_text
from pitcore.bench.sweep import Sweep
from pitcore.cli.errors import run_command
from pitcore.cli.options import bundle_option, config_option, read_config
from pitcore.cli.parameters import InputPath, Number, OutputFile, Text
from pitcore.cli.progress import progress
from pitcore.cli.rejects import tell_rejects
from pitcore.config import Config
from pitcore.control.memory import keep_large_blocks_apart
from pitcore.durable import replace_file
from pitcore.errors import ConfigError, OutputError
from pitcore.inference.choice import open_bundle
from pitcore.output_path import cannot_be_written

SLOWER = MISSED = 3  # exit code of --fail-if-slower, and of --swaps that lose a frame or memory


@click.command("pitcore-bench", context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--load",
    "load_text",
    default="24",
    show_default=True,
    type=Text(),
    help="CHERRIES or CHERRIES@FPS; FPS may be max.",
)
@click.option("--seconds", default=10.0, show_default=True, type=Number(0.2, 86_400.0), help="Time to measure.")
@click.option("--frames", type=click.IntRange(50, 10_000_000), help="Measure this many frames instead.")
@click.option("--workers", type=click.IntRange(1, 64), help="Number of cores that judge. Default: the configuration's.")
@click.option("--json", "json_path", type=OutputFile(report.KIND, or_stdout=True), help="Write the report here.")
@click.option("--compare", type=InputPath(), help="Compare with an earlier --json report.")
@click.option("--fail-if-slower", is_flag=True, help=f"Exit code {SLOWER} if --compare finds a stage slower.")
@click.option("--quick", is_flag=True, help="Do not measure allocations, cold start and change of model.")
@click.option(
    "--sweep",
    is_flag=True,
    help="Instead: measure the cost by cherries per frame, for 1 worker and more. After --seconds and 110 s no further "
    "point is started.",
)
@click.option("--overload", type=Number(1.0, 20.0), help="Instead: offer this many times the load it can process.")
@click.option(
    "--swaps", type=click.IntRange(1, 10_000), help="Instead: change the model this many times while it runs."
)
@click.option(
    "--rejects",
    type=click.IntRange(100, 10_000_000),
    is_flag=False,
    flag_value=100_000,
    help="Instead: run 100000 cherries, or this number, past the valves, and check where each pit is hit.",
)
@config_option
@bundle_option
def bench(
    load_text: str,
    seconds: float,
    frames: int | None,
    workers: int | None,
    json_path: Path | None,
    compare: Path | None,
    fail_if_slower: bool,
    quick: bool,
    sweep: bool,
    overload: float | None,
    swaps: int | None,
    rejects: int | None,
    config_path: Path | None,
    bundle: Path | None,
) -> None:
    """Measure the service on this machine: every stage and its tails, throughput, memory, start, heat.

    The emulated belt runs through the same code as a camera's frames. Times are in ms a frame. Write a report with
    --json, and compare a later run with it by --compare: it separates faster, slower and noise.

    \b
    Examples:
      pitcore-bench
      pitcore-bench --load 60@max --seconds 20 --json before.json
      pitcore-bench --load 60@max --seconds 20 --compare before.json
      pitcore-bench --frames 20000 --load 24@max
      pitcore-bench --sweep
      pitcore-bench --overload 3
      pitcore-bench --swaps 100
      pitcore-bench --rejects
    """
    if rejects is not None:
        tell_rejects(rejects)
        return
    keep_large_blocks_apart()  # as the service does
    config, load = read_config(config_path, bundle), parse_load(load_text, seconds, frames)
    old = None if compare is None else _read(compare)
    if swaps is not None:
        _swap(config, load, swaps)
        return
    if sweep:
        _sweep(config, seconds)
        return
    if overload is not None:
        with progress("measure", 100) as bar:
            click.echo(overload_text(config, load, overload, bar))
        return
    content, total_ms = _measured(config, load, workers, quick=quick)
    if json_path is not None:
        _write(json_path, content)
    if str(json_path) != "-":
        click.echo(report.text(content, total_ms))
    if old is not None:
        said, slower = report.comparison(old, content)
        click.echo(f"\n{said}")
        if slower and fail_if_slower:
            sys.exit(SLOWER)


def _sweep(config: Config, seconds: float) -> None:
    """Report each point on standard error. Print the tables at the end, or at Ctrl-C what was measured by then."""
    sweep = Sweep(config, seconds)
    try:
        sweep.run(lambda line: click.echo(line, err=True))
    except KeyboardInterrupt:
        click.echo(sweep.text())
        raise
    click.echo(sweep.text())


def _swap(config: Config, load: Load, swaps: int) -> None:
    """Change the model under load; exit code MISSED if a check fails."""
    with progress("swap", 100) as bar:
        trial = swap_trial(config, load, swaps, _moves(bar))
    click.echo(swaps_text(trial, load))
    if trial.failures:
        sys.exit(MISSED)


def _moves(bar: Any) -> Callable[[float], None]:  # noqa: ANN401  click's progress bar
    """Return a function that moves a bar of 100 to a share."""
    done = 0

    def tick(share: float) -> None:
        nonlocal done
        bar.update(round(share * 100) - done)
        done = round(share * 100)

    return tick


def _measured(
    config: Config, load: Load, workers: int | None, *, quick: bool
) -> tuple[dict[str, Any], np.ndarray[Any, np.dtype[np.float64]]]:
    """Run everything, and return the report and each frame's total."""
    label, before = open_bundle(config).label, machine.state()
    once: dict[str, float] = {}
    with progress("measure", 100) as bar:
        sample = measure(config, load, workers, _moves(bar))
    if not quick:
        traced = allocations(config, load)
        once = {
            "allocation_peak_kb": traced.peak_kb,
            "allocation_kept_bytes": traced.kept_bytes,
            "cold_start_ms": cold_start_ms(config),
            "swap_ms": swap_ms(config),
        }
    content = {
        "schema": report.SCHEMA,
        "model": label,
        "workers": workers or config.runtime.workers,
        "load": str(load),
        "machine": machine.facts(),
        "before": before,
        "after": machine.state(),
        "run": report.facts_of(sample),
        "once": once,
    }
    return content, sample.stage_ms["total"]


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}; write it with pitcore-bench --json") from error
    except ValueError as error:
        raise ConfigError(f"{path}: not JSON: {error}; write it with pitcore-bench --json") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: not a report; write it with pitcore-bench --json")
    return content


def _write(path: Path, content: dict[str, Any]) -> None:
    raw = json.dumps(content, indent=1)
    if str(path) == "-":
        click.echo(raw)
        return
    try:
        replace_file(path, lambda file: file.write(f"{raw}\n".encode()))
    except OSError as error:
        raise OutputError(cannot_be_written(path, error)) from error


def main() -> None:
    """Entry point. Exit codes as ``pitcore``."""
    run_command(bench)
