"""Single crop pictures to probabilities: the way of a frame without the belt."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pitcore.camera.crops import read_crop
from pitcore.decision import policy
from pitcore.errors import ImageError
from pitcore.inference.session import Session
from pitcore.model_card import Bundle
from pitcore.preprocess.prepare import CropSpec, aligned_batch, crop_from_image, to_float
from pitcore.verdict import CODES, VerdictName


@dataclass(frozen=True, slots=True)
class CropVerdict:
    """What is said of one picture; ``error`` excludes the rest."""

    path: str
    verdict: VerdictName | None
    p_pit: float | None
    error: str | None

    @property
    def code(self) -> int | None:
        """The line's older code."""
        return None if self.verdict is None else CODES[self.verdict]


class Classifier:
    """Judges crop pictures by the card's thresholds alone: a picture has no belt edge, so never ``side``.

    Args:
        bundle: verified.
        threads: ONNX Runtime's threads.
        batch: pictures in one call of the network.
    """

    def __init__(self, bundle: Bundle, *, threads: int = 1, batch: int = 32) -> None:
        self._session = Session(bundle, capacity=batch, threads=threads, sub_batch=batch)
        self._card, self._capacity = bundle.card, batch
        card = bundle.card
        self._spec = CropSpec(card.crop_size_px, card.resize, len(card.planes))
        shape = (card.crop_size_px, card.crop_size_px, len(card.planes))
        self._crops = self._session.batch if card.dtype == "uint8" else aligned_batch(batch, shape, np.uint8)

    def classify(self, paths: Iterable[str]) -> Iterator[CropVerdict]:
        """Yield a verdict for each path, in order. A picture that cannot be read yields its error."""
        waiting: list[CropVerdict | None] = []  # None stands for the next picture of the batch
        names: list[str] = []
        for path in paths:
            try:
                self._write(read_crop(Path(path)), len(names))
            except ImageError as error:
                waiting.append(CropVerdict(path, None, None, str(error)))
            else:
                waiting.append(None)
                names.append(path)
            if len(names) == self._capacity:
                yield from self._flush(waiting, names)
                waiting, names = [], []
        yield from self._flush(waiting, names)

    def _write(self, image: NDArray[np.uint8], index: int) -> None:
        """Prepare one picture into slot ``index`` of the batch. Raises ImageError."""
        self._crops[index] = crop_from_image(image, self._spec)

    def _run(self, count: int) -> list[float]:
        """Run the network over the batch and return a probability for each crop."""
        card = self._card
        if card.dtype == "float32":
            to_float(self._crops[:count], card.layout, card.scale, card.offset, self._session.batch[:count])
        logits = self._session.run(count).tolist()
        return [policy.pit_probability(row, self._card.labels, self._card.calibration) for row in logits]

    def _flush(self, waiting: list[CropVerdict | None], names: list[str]) -> Iterator[CropVerdict]:
        """Run the batch and yield what waits, each in its place."""
        judged = iter(zip(names, self._run(len(names)), strict=True))
        for entry in waiting:
            if entry is not None:
                yield entry
                continue
            name, p_pit = next(judged)
            verdict, _ = policy.judge_probability(p_pit, self._card.thresholds)
            yield CropVerdict(name, verdict, p_pit, None)
