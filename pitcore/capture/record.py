"""What is kept of one cherry: its crop as a PNG, and in the same file what is known of it.

One file holds both, so that no file is without the other and no index can disagree with the folder.
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

KEYWORD = "pitcore.capture"  # of the PNG's text
Why = Literal["random", "near_threshold", "outlier", "uncertain", "touching", "foreign", "cut", "not_finite", "shadow"]


class CandidateVerdict(msgspec.Struct, frozen=True):
    """What a candidate said of a cherry that the model of the board judged otherwise; see docs/shadow.md.

    Attributes:
        model: the candidate.
        verdict, p_pit: what it said.
        accept, reject: its thresholds.
    """

    model: ModelRef
    verdict: VerdictName
    p_pit: float | None
    accept: float
    reject: float


class CaptureRecord(msgspec.Struct, frozen=True):
    """What is known of a kept cherry: schema ``pitcore.capture/1``.

    Attributes:
        board: host name.
        run: names the run of the service; ``verdict.frame`` counts within it.
        at: when it was judged by the board's clock, UTC, RFC 3339.
        why: each reason for keeping it, ``random`` first. A cherry of the random sample has it, whatever else it has.
        random_share: share of all judged cherries that was kept at random then.
        verdict: as in the verdict file, without latencies.
        accept, reject: thresholds in force.
        area_px, elongation, ellipse_fill, plane_means: of its shape, as the decision knew them.
        whole: False if it is larger than the crop, so that its borders are missing.
        candidate: what [shadow] bundle said, where that is why it is kept.
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
        """Those in force when it was judged."""
        return Thresholds(accept=self.accept, reject=self.reject)


def encode_record(record: CaptureRecord, pixels: NDArray[np.uint8]) -> bytes:
    """Return the PNG of a kept cherry.

    Args:
        record: what is known of it.
        pixels: (H, W, 2) uint8, zero outside its mask.
    """
    return encode_crop(pixels, {KEYWORD: msgspec.json.encode(record).decode()})


def decode_record(content: bytes, name: str) -> tuple[CaptureRecord, NDArray[np.uint8]]:
    """Read a kept cherry.

    Args:
        content: of the PNG.
        name: for messages.

    Returns:
        What is known of it, and (H, W, 2) uint8 pixels.

    Raises:
        ImageError: it is damaged, or no crop that a board kept.
    """
    pixels = decode_crop(content, name)
    text = crop_texts(content, name).get(KEYWORD)
    if text is None:
        raise ImageError(f"{name}: no board kept this crop; give the files of a [capture] folder")
    try:
        return msgspec.json.decode(text, type=CaptureRecord), pixels
    except msgspec.DecodeError as error:
        raise ImageError(f"{name}: what the board kept beside the pixels cannot be read: {error}") from error
