"""Train a small network on a folder with cherry_clean/ and cherry_pit/. Needs pitcore-tools (`make tools`).

    pitcore-tools draw --out out/procedural --count 400
    python examples/train_on_folder.py out/procedural out/tiny [EPOCHS]

It is too small to be useful; docs/model.md goes from crops to a model that runs on a board.
"""

import sys
from pathlib import Path

from pitcore_tools.train.loop import train
from pitcore_tools.train.recipe import load_recipe

BASE = Path(__file__).parents[1] / "tools" / "pitcore_tools" / "train" / "configs" / "base.yaml"
RECIPE = f"""\
base: {BASE}
name: tiny
crop_size_px: 48
widths: [8, 8, 16, 16]
batch: 16
warmup_epochs: 0
"""


def main(data, out, epochs="4"):
    recipe = Path(out).with_suffix(".yaml")
    recipe.parent.mkdir(parents=True, exist_ok=True)
    recipe.write_text(f"{RECIPE}epochs: {epochs}\n")
    metrics = train(load_recipe(recipe), Path(data), Path(out), lambda figures: print(f"epoch {figures['epoch']:.0f}"))
    print(f"held-out accuracy {metrics['held_out_accuracy']:.2f} on {metrics['held_out_crops']} crops")


if __name__ == "__main__":
    main(*sys.argv[1:])
