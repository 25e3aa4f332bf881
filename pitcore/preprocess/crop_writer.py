"""Writes the chosen things of a frame as the batch a model wants, whatever its card says."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pitcore.model_card import ModelCard
from pitcore.preprocess.prepare import Preparer, aligned_batch, to_float


class CropWriter:
    """Goes from a searched frame to the input of the network.

    Args:
        preparer: holds the things found by the last ``segment``.
        card: layout, dtype, scale and offset of the model.
        capacity: crops at most; a float model needs a uint8 batch of this size between.
    """

    def __init__(self, preparer: Preparer, card: ModelCard, capacity: int) -> None:
        self._preparer, self._card = preparer, card
        side, planes = card.crop_size_px, len(card.planes)
        self._staging = None if card.dtype == "uint8" else aligned_batch(capacity, (side, side, planes), np.uint8)

    def write(self, planes: tuple[NDArray[np.uint8], ...], chosen: NDArray[np.int32], out: NDArray[Any]) -> None:
        """Write crop ``i`` of the chosen things to ``out[i]``.

        Args:
            planes: the frame that was searched last.
            chosen: (n,) indices into its things.
            out: (capacity, ...) batch in the model's layout and dtype.
        """
        count = len(chosen)
        if self._staging is None:
            self._preparer.extract(planes, chosen, out[:count])
            return
        self._preparer.extract(planes, chosen, self._staging[:count])
        to_float(self._staging[:count], self._card.layout, self._card.scale, self._card.offset, out[:count])

    def written(self, out: NDArray[Any], count: int) -> NDArray[np.uint8]:
        """Return the (count, S, S, P) uint8 crops that ``write`` made last, before any conversion; a view.

        Args:
            out: the batch that ``write`` filled.
            count: of the things that were chosen.
        """
        return (out if self._staging is None else self._staging)[:count]
