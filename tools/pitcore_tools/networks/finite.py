"""Refuses NaN and infinity wherever weights or logits are read or written: every figure made of them would be wrong."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pitcore.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor  # whoever has only arrays does not wait for torch

_NAMED = 3  # tensors in one line


def refuse_not_finite(
    where: Path | str, values: Iterable[tuple[str, NDArray[Any] | Tensor]], fix: str = "train it again"
) -> None:
    """Raise DataError if a value is NaN, infinite, or infinite in float32, by the names of the tensors that hold it.

    Args:
        where: file, or what else holds the values.
        values: name and values; integers pass.
        fix: what to do.
    """
    found = []
    for name, given in values:
        array = given if isinstance(given, np.ndarray) else given.detach().cpu().double().numpy()
        numbers = array.astype(np.float64)
        with np.errstate(over="ignore"):
            bad = int((~np.isfinite(numbers.astype(np.float32))).sum())
        if bad:
            found.append(f"{name} ({bad} of {numbers.size})")
    if found:
        more = f" and {len(found) - _NAMED} more tensors" if len(found) > _NAMED else ""
        raise DataError(f"{where}: NaN or infinity in {', '.join(found[:_NAMED])}{more}; {fix}")
