"""Reads and writes files of teachers' answers, each with a digest of the crops to whose views it answers.

Answers are stored by position, so for other crops nearly every answer would be that of another crop. ``python -m
pitcore_tools.distil.answer_files`` adds the digest to files from before it was stored.
"""

from __future__ import annotations

import argparse
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pitcore.errors import DataError, PitcoreError, first_line
from pitcore_tools.distil.crops import FOLDS, Crops
from pitcore_tools.distil.pool import draw_pool, from_bytes, to_bytes

LEAST_AGREEMENT = 0.8  # of answers and labels; one half if the answers are those of other crops


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
    except (OSError, EOFError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path}: not a file of answers: {first_line(error)}; remove it and run `pitcore-tools distil answer` again"
        ) from error
    if "answers" not in found:
        raise DataError(f"{path}: has no answers in it; remove it and run `pitcore-tools distil answer` again")
    return found


def add_digest(path: Path, crops: Crops, fold: int) -> float:
    """Add the digest of crops to a file of answers from before it was stored; the answers stay.

    Returns:
        Share of views without a blend for which answer and label agree.

    Raises:
        DataError: the answers cannot be those to these crops, or the file has the digest of others.
    """
    arrays = _arrays(path)
    if "crops" in arrays:
        _check(path, arrays, crops, fold)
    packed, count = arrays["answers"], len(crops.without(fold))
    if not len(packed) or len(packed) % count:
        raise DataError(f"{path}: {len(packed)} answers for {count} crops; give the crops of which it was made")
    pool = draw_pool(crops, fold, len(packed) // count)
    alone = (pool.share == 1).cpu()
    said, truth = from_bytes(packed) > 0.5, crops.labels[pool.crop].cpu() == 1
    agreement = float((said == truth)[alone].float().mean())
    if agreement < LEAST_AGREEMENT:
        raise DataError(
            f"{path}: only {agreement:.0%} of the answers agree with the labels, so they are answers to other crops; "
            "give the crops of which it was made"
        )
    write_arrays(path, **{**arrays, "crops": np.array(crops.digest_without(fold))})
    return agreement


def write_arrays(path: Path, **arrays: NDArray[Any]) -> None:
    """Write a compressed .npz atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace(path, lambda file: np.savez_compressed(file, allow_pickle=False, **arrays))


def replace(path: Path, write: Callable[[Any], object]) -> None:
    """Write a file atomically, without ``pitcore.durable``, which a machine without pitcore does not have."""
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    with part.open("xb") as file:  # follows no link
        write(file)
    part.replace(path)


def main() -> None:
    """Add the digest of the crops to files of answers that have none."""
    from pitcore_tools.distil.packing import load_crops  # noqa: PLC0415  a machine with a GPU has no pitcore

    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the crops of which the answers were made")
    parser.add_argument("--fold", type=int, required=True, help="the fold that the files are named after")
    parser.add_argument("--folds", type=int, default=FOLDS, help="number of folds; default 5")
    parser.add_argument("files", type=Path, nargs="+")
    args = parser.parse_args()
    try:
        crops = load_crops(args.data, torch.device("cpu"), args.folds)
        for path in args.files:
            if not path.stem.endswith(f"-{crops.name(args.fold)}"):
                raise DataError(f"{path}: is not named after {crops.name(args.fold)}; give its own --fold and --folds")
            agreement = add_digest(path, crops, args.fold)
            print(f"{path}: digest added; {agreement:.1%} of the answers agree with the labels")  # noqa: T201  its output
    except (PitcoreError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201  its output
        sys.exit(2)


if __name__ == "__main__":
    main()
