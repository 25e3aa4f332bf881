"""``pitcore-tools``: the group of commands, and the one place where an error becomes a line and an exit code."""

from __future__ import annotations

import click

from pitcore.cli.errors import run_command
from pitcore_tools.cli.audit import audit
from pitcore_tools.cli.audit_line import audit_line
from pitcore_tools.cli.distil import distil
from pitcore_tools.cli.draw import draw
from pitcore_tools.cli.evaluate import evaluate
from pitcore_tools.cli.experiments import experiments
from pitcore_tools.cli.import_checkpoint import import_
from pitcore_tools.cli.inspect import denormals, inspect
from pitcore_tools.cli.label import label, label_folder
from pitcore_tools.cli.package import package
from pitcore_tools.cli.peers import peers
from pitcore_tools.cli.performance import performance
from pitcore_tools.cli.pull import pull
from pitcore_tools.cli.quantise import export, quantise
from pitcore_tools.cli.reference import reference
from pitcore_tools.cli.rescore import rescore
from pitcore_tools.cli.score import score
from pitcore_tools.cli.thresholds import thresholds
from pitcore_tools.cli.train import train


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def pitcore_tools() -> None:
    """Train, export, quantise and judge models for pitcore.

    The order: audit the data, train, quantise (which exports), evaluate.
    """


for command in (
    audit,
    train,
    import_,
    export,
    quantise,
    evaluate,
    score,
    rescore,
    thresholds,
    reference,
    inspect,
    denormals,
    distil,
    experiments,
    draw,
    package,
    peers,
    performance,
    pull,
    label,
    label_folder,
    audit_line,
):
    pitcore_tools.add_command(command)


def main() -> None:
    """Entry point. Exit codes as ``pitcore``."""
    run_command(pitcore_tools)
