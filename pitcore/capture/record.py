"""Defines the file of a kept cherry: its crop as a PNG, with its data in a text chunk of the same file.

One file has both, so that pixels and data cannot be separated and no index is needed.
"""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from pitcore.camera.crops import crop_texts, decode_crop, encode_crop
from pitcore.errors import ImageError
from pitcore.model_card import Thresholds
from pitcore.verdict import ModelRef, Verdict, VerdictName

KEYWORD = "pitcore.capture"  # keyword of the PNG's text chunk
Why = Literal["random", "near_threshold", "outlier", "uncertain", "touching", "foreign", "cut", "not_finite", "shadow"]


class CandidateVerdict(msgspec.Struct, frozen=True):
    """A candidate's verdict on a cherry that differs from that of the board's model; see docs/shadow.md.

    Attributes:
        model: the candidate.
        verdict, p_pit: its verdict and its probability of a pit.
        accept, reject: its thresholds.
    """

    model: ModelRef
    verdict: VerdictName
    p_pit: float | None
    accept: float
    reject: float


class CaptureRecord(msgspec.Struct, frozen=True):
    """The data of a kept cherry: schema ``pitcore.capture/1``.

    Attributes:
        board: host name of the board.
        run: identifies the run of the service; frame numbers count within a run.
        at: time of the verdict by the board's clock, UTC, RFC 3339.
        why: all reasons for keeping it. ``random`` is first, for every cherry of the random sample.
        random_share: share of judged cherries in the random sample at that time.
        verdict: the line of the verdict file, without latencies.
        accept, reject: thresholds in force.
        area_px, elongation, ellipse_fill, plane_means: its shape, as the decision used it.
        whole: False if it is larger than the crop, so that its borders are missing.
        candidate: verdict of the candidate of [shadow], if that is the reason for keeping it; else None.
    """

    board: str
    run: str
    at: str
    why: tuple[Why, ...]
    random_share: float
    verdict: Verdict
    accept: float
    reject: float
    area_px: int
    elongation: float
    ellipse_fill: float
    plane_means: tuple[float, ...]
    whole: bool
    candidate: CandidateVerdict | None = None
    schema: Literal["pitcore.capture/1"] = "pitcore.capture/1"

    @property
    def thresholds(self) -> Thresholds:
        """The thresholds in force when it was judged."""
        return Thresholds(accept=self.accept, reject=self.reject)


def encode_record(record: CaptureRecord, pixels: NDArray[np.uint8]) -> bytes:
    """Return the PNG of a kept cherry.

    Args:
        record: its data.
        pixels: (H, W, 2) uint8, zero outside its mask.
    """
    return encode_crop(pixels, {KEYWORD: msgspec.json.encode(record).decode()})


def decode_record(content: bytes, name: str) -> tuple[CaptureRecord, NDArray[np.uint8]]:
    """Read a kept cherry.

    Args:
        content: bytes of the PNG file.
        name: name of the file, for messages.

    Returns:
        Its data, and (H, W, 2) uint8 pixels.

    Raises:
        ImageError: the file is damaged, or was not written by a board.
    """
    pixels = decode_crop(content, name)
    text = crop_texts(content, name).get(KEYWORD)
    if text is None:
        raise ImageError(f"{name}: no board kept this crop; give the files of a [capture] folder")
    try:
        return msgspec.json.decode(text, type=CaptureRecord), pixels
    except msgspec.DecodeError as error:
        raise ImageError(f"{name}: the data beside the pixels cannot be read: {error}; copy the file again") from error
