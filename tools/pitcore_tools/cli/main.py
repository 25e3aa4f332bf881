"""``pitcore-tools``: the group of commands, and the one place where an error becomes a line and an exit code."""

from __future__ import annotations

import click

from pitcore.cli.errors import run_command
from pitcore.cli.lazy import LazyGroup, Member

COMMANDS = {
    "audit": Member(
        "pitcore_tools.cli.audit:audit",
        "Look for what is odd in DATA: pictures twice, suspect labels, strange light or size, drift.",
    ),
    "audit-line": Member(
        "pitcore_tools.cli.audit_line:audit_line",
        "Say how often the line is right, from the random sample of SOURCE and what people said of it.",
    ),
    "denormals": Member(
        "pitcore_tools.cli.inspect:denormals",
        "Show what subnormal weights cost on this machine, and what the guard saves.",
    ),
    "distil": Member(
        "pitcore_tools.cli.distil:distil",
        "Fine-tune teachers with ImageNet's weights, and teach small nets what they say.",
    ),
    "draw": Member(
        "pitcore_tools.cli.draw:draw", "Draw procedural crops into cherry_clean/ and cherry_pit/, as many of each."
    ),
    "evaluate": Member(
        "pitcore_tools.cli.evaluate:evaluate",
        "Print what a model is worth on crops it never saw: float and int8, with 95 % intervals.",
    ),
    "experiments": Member(
        "pitcore_tools.cli.experiments:experiments", "Run the experiments of docs/experiments.md, and make its tables."
    ),
    "export": Member(
        "pitcore_tools.cli.quantise:export", "Export the network of a training RUN as a float ONNX graph."
    ),
    "import": Member(
        "pitcore_tools.cli.import_checkpoint:import_",
        "Take a CHECKPOINT that was trained elsewhere: a resnet18 or resnet50 state dict under torchvision's names.",
    ),
    "inspect": Member(
        "pitcore_tools.cli.inspect:inspect",
        "Print what MODEL is made of, and which of its weights are so small that they only cost time.",
    ),
    "label": Member(
        "pitcore_tools.cli.label:label",
        "Serve a page on which people label the crops of SOURCE by keyboard, until Ctrl-C.",
    ),
    "label-folder": Member(
        "pitcore_tools.cli.label:label_folder",
        "Write the labelled crops of SOURCE as a training set: cherry_clean/ and cherry_pit/ in --out.",
    ),
    "package": Member("pitcore_tools.cli.package:package", "Publish models: sign, make deltas, phase in."),
    "peers": Member(
        "pitcore_tools.cli.peers:peers",
        "Measure pitcore beside what one would otherwise write, on the same frames, in turns.",
    ),
    "performance": Member(
        "pitcore_tools.cli.performance:performance",
        "Show where the time goes: what this machine can do and what of it is reached, and what boards will do.",
    ),
    "pull": Member("pitcore_tools.cli.pull:pull", "Bring the crops that a board kept from SOURCE into ARCHIVE."),
    "quantise": Member(
        "pitcore_tools.cli.quantise:quantise",
        "Turn a training RUN into a model bundle: int8 graph, card, calibration, golden vectors.",
    ),
    "reference": Member(
        "pitcore_tools.cli.reference:reference", "Put into BUNDLE's card, under VERSION, what labelled crops are like."
    ),
    "rescore": Member(
        "pitcore_tools.cli.rescore:rescore",
        "Judge ARCHIVE with a candidate and say what would change against the verdicts of the boards.",
    ),
    "score": Member(
        "pitcore_tools.cli.score:score",
        "Score MODEL, a bundle or a training run, on crops of another line, another season, or drawn ones.",
    ),
    "thresholds": Member(
        "pitcore_tools.cli.thresholds:thresholds",
        "Choose thresholds from held-out logits: what may pass with a guarantee, what is rejected, what is reviewed.",
    ),
    "train": Member(
        "pitcore_tools.cli.train:train", "Train a float model by RECIPE (YAML; default: the bundled model's own)."
    ),
}


@click.group(
    cls=LazyGroup, members=COMMANDS, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
def pitcore_tools() -> None:
    """Train, export, quantise and judge models for pitcore.

    The order: audit the data, train, quantise (which exports), evaluate.
    """


def main() -> None:
    """Entry point. Exit codes as ``pitcore``."""
    run_command(pitcore_tools)
