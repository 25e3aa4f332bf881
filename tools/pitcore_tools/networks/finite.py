"""Refuses NaN and infinity in weights and logits that are read or written, because all results would be wrong."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pitcore.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor  # arrays alone need no import of torch

_NAMED = 3  # tensors listed in one message


def refuse_not_finite(
    where: Path | str, values: Iterable[tuple[str, NDArray[Any] | Tensor]], fix: str = "train it again"
) -> None:
    """Raise DataError if a value is NaN, infinite, or infinite in float32. The message names the tensors.

    Args:
        where: file or other place of the values, for the message.
        values: (name, values) pairs; integers are always finite.
        fix: what to do, for the message.
    """
    bad_tensors = []
    for name, given in values:
        array = given if isinstance(given, np.ndarray) else given.detach().cpu().double().numpy()
        numbers = array.astype(np.float64)
        with np.errstate(over="ignore"):
            bad = int((~np.isfinite(numbers.astype(np.float32))).sum())
        if bad:
            bad_tensors.append(f"{name} ({bad} of {numbers.size})")
    if bad_tensors:
        more = f" and {len(bad_tensors) - _NAMED} more tensors" if len(bad_tensors) > _NAMED else ""
        raise DataError(f"{where}: NaN or infinity in {', '.join(bad_tensors[:_NAMED])}{more}; {fix}")
