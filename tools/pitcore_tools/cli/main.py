"""``pitcore-tools``: the group of commands. Errors become a message and an exit code only here."""

from __future__ import annotations

import click

from pitcore.cli.errors import run_command
from pitcore.cli.lazy import LazyGroup, Member

COMMANDS = {
    "audit": Member(
        "pitcore_tools.cli.audit:audit",
        "Find duplicate pictures, suspect labels, unusual light or size, and drift in DATA.",
    ),
    "audit-line": Member(
        "pitcore_tools.cli.audit_line:audit_line",
        "Estimate how often the line is right, from the random sample of SOURCE and people's labels.",
    ),
    "denormals": Member(
        "pitcore_tools.cli.inspect:denormals",
        "Measure the cost of subnormal weights on this machine, and how much of it the guard saves.",
    ),
    "distil": Member(
        "pitcore_tools.cli.distil:distil",
        "Fine-tune teachers with ImageNet's weights, and train small nets on their answers.",
    ),
    "draw": Member(
        "pitcore_tools.cli.draw:draw",
        "Draw procedural crops into cherry_clean/ and cherry_pit/, the same number in each.",
    ),
    "evaluate": Member(
        "pitcore_tools.cli.evaluate:evaluate",
        "Print the accuracy of a model on held-out crops: float and int8, with 95 % intervals.",
    ),
    "experiments": Member(
        "pitcore_tools.cli.experiments:experiments", "Run the experiments of docs/experiments.md, and make its tables."
    ),
    "export": Member(
        "pitcore_tools.cli.quantise:export", "Export the network of a training RUN as a float ONNX graph."
    ),
    "import": Member(
        "pitcore_tools.cli.import_checkpoint:import_",
        "Import a CHECKPOINT that was trained elsewhere: a resnet18 or resnet50 state dict with torchvision's names.",
    ),
    "inspect": Member(
        "pitcore_tools.cli.inspect:inspect",
        "Print the operators of MODEL, and its subnormal weights, which only cost time.",
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
        "Compare the speed of pitcore with common libraries, on the same frames, in turns.",
    ),
    "performance": Member(
        "pitcore_tools.cli.performance:performance",
        "Show the time of each part, the share of this machine's peak performance, and predictions for boards.",
    ),
    "pull": Member("pitcore_tools.cli.pull:pull", "Copy the crops that a board kept in SOURCE to ARCHIVE."),
    "quantise": Member(
        "pitcore_tools.cli.quantise:quantise",
        "Convert a training RUN to a model bundle: int8 graph, card, calibration, golden vectors.",
    ),
    "reference": Member(
        "pitcore_tools.cli.reference:reference",
        "Write statistics of labelled crops to BUNDLE's card, as version VERSION.",
    ),
    "rescore": Member(
        "pitcore_tools.cli.rescore:rescore",
        "Judge ARCHIVE with a candidate and report differences from the boards' verdicts.",
    ),
    "score": Member(
        "pitcore_tools.cli.score:score",
        "Score MODEL, a bundle or a training run, on crops of another line, another season, or procedural crops.",
    ),
    "thresholds": Member(
        "pitcore_tools.cli.thresholds:thresholds",
        "Choose thresholds from held-out logits, with a guaranteed limit of missed pits.",
    ),
    "train": Member(
        "pitcore_tools.cli.train:train", "Train a float model with RECIPE (YAML; default: that of the bundled model)."
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
