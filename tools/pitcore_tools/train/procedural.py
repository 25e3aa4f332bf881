"""Writes procedural cherries to disk in the layout of the real ones, for pre-training and for testing the renderer."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from pitcore.camera.crops import CLASS_FOLDERS
from pitcore.durable import replace_file
from pitcore.emulator.single import render_crop
from pitcore.errors import DataError


def draw(folder: Path, seed: int, count: int) -> Iterator[int]:
    """Render ``count`` crops of a seed, half of them with a pit; existing crops of the seed are kept.

    Yields:
        The number of crops so far, after each one.

    Raises:
        DataError: the folder contains crops of another seed, or cannot be written.
    """
    try:
        for name in CLASS_FOLDERS:
            (folder / name).mkdir(parents=True, exist_ok=True)
        for path in folder.glob("*/*.png"):
            if not path.name.startswith(f"procedural-{seed}-"):
                raise DataError(f"{folder}: holds {path.name}, which seed {seed} did not draw; name another folder")
        for index in range(count):
            path = folder / CLASS_FOLDERS[index % 2] / f"procedural-{seed}-{index:06}.png"
            if not path.exists():
                pixels, label = render_crop(seed, index)
                assert path.parent.name == CLASS_FOLDERS[label]  # noqa: S101  render_crop's own promise
                red, blue = pixels[..., 0], pixels[..., 1]
                picture = Image.fromarray(np.stack([red, np.zeros_like(red), blue], axis=2))
                replace_file(path, partial(picture.save, format="PNG"))
            yield index + 1
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {error.strerror}; name a folder with room") from error
