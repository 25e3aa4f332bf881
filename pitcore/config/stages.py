"""Defines the sections of the stages of a frame. Each stage documents its values."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from pitcore.config.section import MAX_SIDE_PX, MIN_PX_PER_TICK, GreyMean, Level, Section
from pitcore.model_card import PointName, Probability
from pitcore.verdict import Action


class FrameConfig(Section, frozen=True):
    """The form of a frame. Default: the production geometry.

    Attributes:
        planes: names of the pictures that make up a frame, in the order of the model's card.
        height_px, width_px: of each plane; the belt moves along the height.
    """

    planes: Annotated[tuple[str, ...], Meta(min_length=1, max_length=4)] = ("top", "bottom")
    height_px: Annotated[int, Meta(ge=16, le=MAX_SIDE_PX)] = 500
    width_px: Annotated[int, Meta(ge=16, le=MAX_SIDE_PX)] = 2464


class BeltConfig(Section, frozen=True):
    """The movement of the belt through the frame, along its rows.

    Attributes:
        px_per_tick: travel for one encoder tick, positive towards larger rows.
        tolerance_px: largest distance of a cherry from the place that the encoder gives, between two frames. At most
            40: within a larger one lies the next cherry, which then counts as this one and gets no verdict.
        cherries_per_s: highest load of the belt; `pitcore doctor` compares it with the speed of the board. None is the
            reference load: 24 cherries in view of a belt of 500 x 2464 px, fewer in a smaller frame.
    """

    px_per_tick: Annotated[float, Meta(ge=-1000.0, le=1000.0)] = 0.5
    tolerance_px: Annotated[float, Meta(ge=0.0, le=40.0)] = 8.0
    cherries_per_s: Annotated[float, Meta(gt=0.0, le=100_000.0)] | None = None

    def __post_init__(self) -> None:
        if abs(self.px_per_tick) < MIN_PX_PER_TICK:
            raise ValueError("px_per_tick must not be 0: without it frames cannot be matched")


class SegmentationConfig(Section, frozen=True):
    """Rules that distinguish a cherry from the belt; one number for each plane.

    Attributes:
        background: grey level of the empty belt.
        threshold: least distance of a pixel from the background; at most 40, the lowest mean level of a cherry.
        polarity: whether cherries are brighter or darker than the belt.
        combine: a pixel is foreground if it stands out in any plane, or in all.
        min_area_px: smaller things are specks: they are counted and skipped. The smallest real cherry has 573.
        max_foreground_share: a frame with more foreground is unreadable: light failure or a flood.
    """

    background: tuple[Level, ...] = (6, 6)
    threshold: tuple[Annotated[int, Meta(ge=1, le=40)], ...] = (14, 14)
    polarity: tuple[Literal["bright", "dark"], ...] = ("bright", "bright")
    combine: Literal["any", "all"] = "any"
    min_area_px: Annotated[int, Meta(ge=1, le=570)] = 300
    max_foreground_share: Annotated[float, Meta(gt=0.0, le=1.0)] = 0.6


class DecisionConfig(Section, frozen=True):
    """Rules for things that are not single cherries, and thresholds stricter than the card's.

    Attributes:
        point: operating point of the card: "strict" (at most 1 % of pits pass), "balanced" (2 %) or "throughput"
            (5 %). Without it, strict.
        accept, reject: replace the point's thresholds, and must not be above them.
        min_area_px: a smaller thing is not a cherry; it may be a loose stone. The smallest real cherry has 573. What is
            smaller than ``[segmentation] min_area_px`` is a speck, which is not judged at all.
        max_area_px, max_elongation: above either, two cherries touch. Elongation is the ratio of the
            axes of the ellipse with the same second moments.
        min_ellipse_fill: below, two cherries touch: the waist between them leaves that ellipse empty. Of the
            real crops (some of which show two that touch) 2 % lie below the default, of touching ones on
            the emulated belt about 90 %.
        min_plane_mean, max_plane_mean: a thing whose mean grey level is outside, in any plane, is not a cherry. One
            number for each plane. By default 0.2 % of the 3,676 real crops are outside.
    """

    point: PointName | None = None
    accept: Probability | None = None
    reject: Probability | None = None
    min_area_px: Annotated[int, Meta(ge=1, le=12_000)] = 570
    max_area_px: Annotated[int, Meta(ge=1, le=12_000)] = 6000
    max_elongation: Annotated[float, Meta(ge=1.0, le=4.0)] = 2.0
    min_ellipse_fill: Annotated[float, Meta(ge=0.85, le=1.0)] = 0.94
    min_plane_mean: tuple[GreyMean, ...] = (40.0, 55.0)
    max_plane_mean: tuple[GreyMean, ...] = (160.0, 220.0)

    def __post_init__(self) -> None:
        if self.min_area_px > self.max_area_px:
            raise ValueError(
                f"min_area_px ({self.min_area_px}) must not be above max_area_px ({self.max_area_px}); give both, "
                "because a key that is left out has its default"
            )


class ActionsConfig(Section, frozen=True):
    """The action of the line for each verdict; an alarm whose ``[failsafe]`` is "reject" rejects all.

    Attributes:
        clean, maybe, pit, side: "pass", "review" or "reject"; a pit never passes.
    """

    clean: Action = "pass"
    maybe: Action = "review"
    pit: Action = "reject"
    side: Action = "review"

    def __post_init__(self) -> None:
        if self.pit == "pass":
            raise ValueError("pit must not be `pass`: a pit would reach a plate")
        if self.maybe == "pass":
            raise ValueError("maybe must not be `pass`: a fail-safe gives the verdict maybe; use review or reject")


class ModelConfig(Section, frozen=True):
    """The model to run; without either key, the one that came with pitcore.

    Attributes:
        bundle: directory of one bundle.
        store: directory of the models of `pitcore update`; the last committed one runs.
    """

    bundle: str | None = None
    store: str | None = None

    def __post_init__(self) -> None:
        if self.bundle is not None and self.store is not None:
            raise ValueError("give bundle or store, not both: one fixed model, or those of `pitcore update`")


class RuntimeConfig(Section, frozen=True):
    """Use of the board's cores and memory.

    Attributes:
        workers: number of cores that share the cherries of a frame. Leave one core for cameras and valves.
        threads: ONNX Runtime's threads in one network call. They split every layer, which is faster for large networks
            only.
        queue_frames: frames that may wait between capture and prepare; then the oldest is dropped.
        sub_batch: cherries in one network call; bounds memory.
        max_cherries: cherries judged in one frame; the rest are ``maybe`` with reason ``overload``.
        capture_timeout_s: a live source that is silent for longer has failed.
        stop_timeout_s: after a stop signal the service ends within this time, whatever hangs. Keep it below
            TimeoutStopSec of the systemd unit.
    """

    workers: Annotated[int, Meta(ge=1, le=64)] = 1
    threads: Annotated[int, Meta(ge=1, le=64)] = 1
    queue_frames: Annotated[int, Meta(ge=1, le=64)] = 2
    sub_batch: Annotated[int, Meta(ge=1, le=256)] = 16
    max_cherries: Annotated[int, Meta(ge=1, le=1024)] = 128
    capture_timeout_s: Annotated[float, Meta(gt=0.0, le=60.0)] = 1.0
    stop_timeout_s: Annotated[float, Meta(ge=1.0, le=600.0)] = 4.0


class SinkConfig(Section, frozen=True):
    """The file of verdicts, one JSON object a line.

    Attributes:
        path: the file; relative to the working directory.
        rotate_bytes: largest size; then it is renamed to ``path.1``, and so on.
        keep: number of rotated files to keep.
    """

    path: str = "out/run/verdicts.jsonl"
    rotate_bytes: Annotated[int, Meta(ge=4096)] = 64 * 1024 * 1024
    keep: Annotated[int, Meta(ge=1, le=1000)] = 8
