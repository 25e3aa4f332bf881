"""Reads and writes files of teachers' answers, each with a digest of the crops to whose views it answers.

Answers are stored by position, so for other crops nearly every answer would be that of another crop.
"""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pitcore.errors import DataError, first_line
from pitcore_tools.distil.crops import Crops
from pitcore_tools.distil.files import write_arrays
from pitcore_tools.distil.pool import from_bytes, to_bytes

DAMAGED = (  # what numpy raises for a file that is cut off or has other bytes
    OSError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    SyntaxError,
    RuntimeError,  # also NotImplementedError
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


def write_answers(path: Path, said: Tensor, crops: Crops, fold: int) -> None:
    """Write answers atomically.

    Args:
        path: file to write.
        said: (M,) probabilities of a pit, for each entry of the fold's pool.
        crops: all crops.
        fold: the fold without which the pool was drawn.
    """
    write_arrays(path, answers=to_bytes(said), crops=np.array(crops.digest_without(fold)))


def check_answers(path: Path, crops: Crops, fold: int) -> None:
    """Raise DataError if a file cannot be read, or has no answers to the crops outside a fold."""
    _check(path, _arrays(path), crops, fold)


def _check(path: Path, arrays: dict[str, NDArray[Any]], crops: Crops, fold: int) -> None:
    stored = str(arrays["crops"]) if "crops" in arrays else None
    if stored != crops.digest_without(fold):
        what = "does not say to which crops it answers" if stored is None else "has the answers to other crops"
        raise DataError(
            f"{path}: {what}; give the crops of which it was made, or remove it and run `pitcore-tools distil answer` "
            "again"
        )


def read_answers(path: Path, crops: Crops, fold: int) -> Tensor:
    """Return (M,) float32 probabilities of a pit. Raises DataError as ``check_answers``."""
    arrays = _arrays(path)
    _check(path, arrays, crops, fold)
    return from_bytes(arrays["answers"])


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Return all arrays of a file of answers. Raises DataError."""
    try:
        with path.open("rb") as file, np.load(file) as content:
            found = {name: content[name] for name in content.files}
    except DAMAGED as error:
        raise DataError(
            f"{path}: not a file of answers: {first_line(error)}; remove it and run `pitcore-tools distil answer` again"
        ) from error
    if "answers" not in found:
        raise DataError(f"{path}: has no answers in it; remove it and run `pitcore-tools distil answer` again")
    return found
