"""Writes files atomically, without ``pitcore.durable``, which a machine without pitcore does not have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def write_arrays(path: Path, **arrays: NDArray[Any]) -> None:
    """Write a compressed .npz atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace(path, lambda file: np.savez_compressed(file, allow_pickle=False, **arrays))


def replace(path: Path, write: Callable[[Any], object]) -> None:
    """Write a file beside its place, then rename it."""
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    with part.open("xb") as file:  # follows no link
        write(file)
    part.replace(path)
