"""``pitcore-tools import``."""

from __future__ import annotations

from pathlib import Path

import click

from pitcore.cli.parameters import InputPath, OutputFolder, Text
from pitcore_tools.train.imported import Stated, import_checkpoint


@click.command("import")
@click.argument("checkpoint", type=InputPath())
@click.option("--out", "run", required=True, type=OutputFolder(), help="The run to write.")
@click.option(
    "--size",
    "size_px",
    default=128,
    show_default=True,
    type=click.IntRange(16, 1024),
    help="Side of the crops it was trained on, px.",
)
@click.option("--normalised", is_flag=True, help="The net was trained with ImageNet's mean and deviation.")
@click.option("--labels", type=Text(), help="Order of its logits. Default: clean,pit or clean,maybe,pit.")
@click.option("--stem", default="pooled", show_default=True, type=click.Choice(["pooled", "fine"]))
@click.option("--name", default="imported", show_default=True, type=Text(), help="Entry in the model's card.")
@click.option("--version", default="0.0.1", show_default=True, type=Text(), help="Entry in the model's card.")
def import_(
    checkpoint: Path, run: Path, size_px: int, normalised: bool, labels: str | None, stem: str, name: str, version: str
) -> None:
    """Import a CHECKPOINT that was trained elsewhere: a resnet18 or resnet50 state dict with torchvision's names.

    Of three planes, green is assumed to be zero, as in every crop. Pass the written run to
    ``quantise``, with crops that the checkpoint was not trained on: otherwise its thresholds are too optimistic.

    \b
    Examples:
      pitcore-tools import best.pt --out out/theirs
      pitcore-tools import best.pt --normalised --out out/theirs
      pitcore-tools quantise out/theirs --float --data validation/ --out out/bundle
    """
    order = [label for label in (labels or "").split(",") if label]
    recipe = import_checkpoint(checkpoint, Stated(name, version, size_px, normalised, order, stem), run)
    form = "float alone (quantise --float)" if recipe.normalise else "int8 or float"
    click.echo(
        f"{run}: {recipe.architecture}, widths {', '.join(map(str, recipe.widths))}, {recipe.crop_size_px} px, "
        f"labels {', '.join(recipe.labels)}; {form}"
    )
