"""Classifies single crop pictures, without a belt."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pitcore.camera.crops import decode_crop, read_crop
from pitcore.decision import policy
from pitcore.errors import ImageError
from pitcore.inference.session import Session
from pitcore.model_card import Bundle, PointName
from pitcore.preprocess.prepare import CropSpec, aligned_batch, crop_from_image, to_float
from pitcore.verdict import CODES, VerdictName

_Read = NDArray[np.uint8] | ImageError


class Picture(NamedTuple):
    """One picture: its path, or its name and the bytes of its file."""

    name: str
    content: bytes | None = None


@dataclass(frozen=True, slots=True)
class CropVerdict:
    """The verdict on one picture, or the error why it could not be read."""

    path: str
    verdict: VerdictName | None
    p_pit: float | None
    error: str | None

    @property
    def code(self) -> int | None:
        """The line's older code."""
        return None if self.verdict is None else CODES[self.verdict]


class Classifier:
    """Judges crop pictures by the card's thresholds only. There is no belt edge, so a verdict is never ``side``.

    Reads the pictures of the next batch while the network runs over this one.

    Args:
        bundle: the verified model.
        point: operating point of the card; where the card lacks it, the next stricter one is used.
        workers: number of threads that read and of workers that run the network.
        batch: number of pictures in a batch.
    """

    def __init__(self, bundle: Bundle, *, point: PointName = "strict", workers: int = 1, batch: int = 64) -> None:
        self._session = Session(bundle, capacity=batch, workers=workers)
        self._card, self._capacity, self._workers = bundle.card, batch, workers
        card = bundle.card
        self._thresholds = card.point(point)[1].thresholds
        self._spec = CropSpec(card.crop_size_px, card.resize, len(card.planes))
        shape = (card.crop_size_px, card.crop_size_px, len(card.planes))
        self._crops = self._session.batch if card.dtype == "uint8" else aligned_batch(batch, shape, np.uint8)

    def classify(self, paths: Iterable[str]) -> Iterator[CropVerdict]:
        """Yield a verdict for each path, in order; for a picture that cannot be read, its error."""
        yield from self.classify_pictures(Picture(path) for path in paths)

    def classify_pictures(self, pictures: Iterable[Picture]) -> Iterator[CropVerdict]:
        """Yield a verdict for each picture, in order; for a picture that cannot be read, its error."""
        waiting = iter(pictures)
        readers = ThreadPoolExecutor(self._workers, "pitcore-read")
        try:
            following = self._start_reading(readers, waiting)
            while following:
                current, following = following, self._start_reading(readers, waiting)
                yield from self._judge([(path, reading.result()) for path, reading in current])
        finally:
            readers.shutdown(wait=True, cancel_futures=True)

    def pit_probabilities(self, images: Sequence[NDArray[np.uint8]]) -> list[float | None]:
        """Return the probability of a pit of each image, at most ``batch`` of them.

        Args:
            images: each (H, W, planes) uint8, zero outside the cherry.

        Returns:
            NaN where the network's answer is no number; None for an image whose every pixel is zero.
        """
        wanted = [place for place, image in enumerate(images) if image.any()]
        for row, place in enumerate(wanted):
            self._crops[row] = crop_from_image(images[place], self._spec)
        found = dict(zip(wanted, self._run(len(wanted)) if wanted else [], strict=True))
        return [found.get(place) for place in range(len(images))]

    def _start_reading(self, readers: Executor, pictures: Iterator[Picture]) -> list[tuple[str, Future[_Read]]]:
        return [(one.name, readers.submit(self._read, one)) for one in islice(pictures, self._capacity)]

    def _read(self, picture: Picture) -> _Read:
        """Read and prepare one picture. Return (S, S, planes) uint8, or the error."""
        try:
            name, content = picture
            pixels = read_crop(Path(name)) if content is None else decode_crop(content, name)
            return crop_from_image(pixels, self._spec)
        except ImageError as error:
            return error

    def _run(self, count: int) -> list[float]:
        """Run the network over the batch and return a probability for each crop."""
        card = self._card
        if card.dtype == "float32":
            to_float(self._crops[:count], card.layout, card.scale, card.offset, self._session.batch[:count])
        logits = self._session.run(count).tolist()
        return [policy.pit_probability(row, self._card.labels, self._card.calibration) for row in logits]

    def _judge(self, read: Sequence[tuple[str, _Read]]) -> Iterator[CropVerdict]:
        """Run the network over the pictures that could be read, and yield a verdict or an error for each."""
        crops = [result for _, result in read if not isinstance(result, ImageError)]
        for index, crop in enumerate(crops):
            self._crops[index] = crop  # copies: the network needs a contiguous batch
        probabilities = iter(self._run(len(crops)))
        for path, result in read:
            if isinstance(result, ImageError):
                yield CropVerdict(path, None, None, str(result))
                continue
            p_pit = next(probabilities)
            verdict, _ = policy.judge_probability(p_pit, self._thresholds)
            yield CropVerdict(path, verdict, p_pit, None)
