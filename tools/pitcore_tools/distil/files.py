"""Writes arrays atomically."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pitcore.durable import replace_file


def write_arrays(path: Path, **arrays: NDArray[Any]) -> None:
    """Write a compressed .npz atomically; its folder is made if need be. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, lambda file: np.savez_compressed(file, allow_pickle=False, **arrays))
