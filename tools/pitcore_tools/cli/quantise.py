"""``pitcore-tools export`` and ``pitcore-tools quantise``."""

from __future__ import annotations

from pathlib import Path

import click

from pitcore.cli.parameters import InputPath, OutputFile, OutputFolder
from pitcore.durable import replace_file
from pitcore_tools.cli.kinds import GRAPH, LOGITS_FILE
from pitcore_tools.evaluate import report
from pitcore_tools.evaluate.logits import read_logits, write_logits
from pitcore_tools.export.graph import float_graph
from pitcore_tools.quantise.bundle import check_replaceable, write_bundle
from pitcore_tools.quantise.graph import float_run, held_out_logits, load_run, quantise_run
from pitcore_tools.thresholds.provenance import evidence_folds
from pitcore_tools.train.loop import SEEN, load_network

RUN_ARGUMENT = click.argument("run_folder", metavar="RUN", type=InputPath())


@click.command()
@RUN_ARGUMENT
@click.option("--out", required=True, type=OutputFile(GRAPH), help="The ONNX file to write.")
def export(run_folder: Path, out: Path) -> None:
    """Export the network of a training RUN as a float ONNX graph.

    Batch norm and 1/255 are folded in: the input ``crops`` is (n, planes, S, S) float in 0..255. Boards run the
    int8 form, see ``quantise``.

    \b
    Example:
      pitcore-tools export out/run --out out/float.onnx
    """
    recipe, network = load_network(run_folder)
    model, zeroed = float_graph(network, recipe.crop_size_px, normalised=bool(recipe.normalise))
    replace_file(out, lambda file: file.write(model.SerializeToString()))
    click.echo(f"{out}: {len(model.graph.node)} nodes, {zeroed} subnormal weights zeroed")


@click.command()
@RUN_ARGUMENT
@click.option("--data", required=True, type=InputPath(), help="The folder the run was trained on.")
@click.option("--out", "bundle", required=True, type=OutputFolder(), help="The bundle to write.")
@click.option("--logits", type=OutputFile(LOGITS_FILE), help="Also write the held-out logits (CSV) here.")
@click.option(
    "--evidence",
    type=InputPath(),
    help="Out-of-fold logits (CSV) of all folds of this recipe, for thresholds that use all their pits.",
)
@click.option(
    "--float", "as_float", is_flag=True, help="Write a float bundle: slower, for nets that have no int8 form."
)
def quantise(
    run_folder: Path, data: Path, bundle: Path, logits: Path | None, evidence: Path | None, as_float: bool
) -> None:
    """Convert a training RUN to a model bundle: int8 graph, card, calibration, golden vectors.

    A net that needs crops normalised by ImageNet's mean has no int8 form: use --float.

    \b
    Example:
      pitcore-tools quantise out/run --data ../shared/cherries/train --out out/bundle --logits out/logits.csv
    """
    check_replaceable(bundle)
    pooled = None if evidence is None else read_logits(evidence)
    if pooled is not None:
        evidence_folds(pooled)  # before the minutes of work
    trained = load_run(run_folder, data)
    if not (run_folder / SEEN).exists():
        click.echo(
            f"{run_folder}: the data that this net was trained on is unknown. Its calibration and thresholds "
            "hold only if it "
            f"never saw fold {trained.recipe.held_out_fold} of {data}"
        )
    graph = float_run(trained, click.echo) if as_float else quantise_run(trained, click.echo)
    held_out = held_out_logits(trained, graph)
    write_bundle(bundle, trained, graph, held_out, pooled)
    if logits is not None:
        write_logits(logits, held_out)
    click.echo(report.text(held_out))
    size = sum(path.stat().st_size for path in bundle.iterdir())
    click.echo(f"{bundle}: {size / 1e6:.1f} MB")
