"""A board's configuration: TOML, typed and bounded.

Unlike the model card, every key has a default, so that a short file suffices; an unknown key is refused.
This module reads and checks values. What they do stands with the stage they configure.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from pitcore.errors import ConfigError
from pitcore.model_card import Probability, Thresholds
from pitcore.verdict import Action

Level = Annotated[int, Meta(ge=0, le=255)]
GreyMean = Annotated[float, Meta(ge=0.0, le=255.0)]
Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Count = Annotated[int, Meta(ge=0)]
MAX_SIDE_PX = 8192  # four times the widest camera we know of; the core's coordinates are 32-bit


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of every section: immutable, unknown keys refused."""


class FrameConfig(_Section, frozen=True):
    """What each frame looks like. Default: the production geometry."""

    planes: Annotated[tuple[str, ...], Meta(min_length=1, max_length=4)] = ("top", "bottom")
    height_px: Annotated[int, Meta(ge=16, le=MAX_SIDE_PX)] = 500
    width_px: Annotated[int, Meta(ge=16, le=MAX_SIDE_PX)] = 2464


class BeltConfig(_Section, frozen=True):
    """How the belt moves through the frame, along its rows.

    Attributes:
        px_per_tick: travel for one encoder tick, positive towards larger rows.
        tolerance_px: how far a cherry may be from where the encoder says, between two frames.
    """

    px_per_tick: Annotated[float, Meta(ge=-1000.0, le=1000.0)] = 0.5
    tolerance_px: Annotated[float, Meta(ge=0.0, le=500.0)] = 8.0

    def __post_init__(self) -> None:
        if abs(self.px_per_tick) < 1e-6:
            raise ValueError("px_per_tick must not be 0: without it frames cannot be matched")


class EmulatedSourceConfig(_Section, frozen=True, tag_field="kind", tag="emulated"):
    """The procedural belt."""

    seed: Count = 1
    cherries_per_frame: Annotated[float, Meta(ge=0.0, le=200.0)] = 24.0
    pit_share: Share = 0.3
    advance_px: Annotated[int, Meta(ge=1, le=MAX_SIDE_PX)] = 340
    frames_per_s: Annotated[float, Meta(gt=0.0, le=1000.0)] = 20.0
    ring_frames: Annotated[int, Meta(ge=0, le=1000)] = 24


class ReplaySourceConfig(_Section, frozen=True, tag_field="kind", tag="replay"):
    """A recording made by ``pitcore record``."""

    path: str
    paced: bool = True


class SegmentationConfig(_Section, frozen=True):
    """How a cherry is told from the belt; one number for each plane.

    Attributes:
        background: grey level of the empty belt.
        threshold: how far from the background a pixel must be.
        polarity: whether cherries are brighter or darker than the belt.
        combine: a pixel is foreground if it stands out in any plane, or in all.
        min_area_px: smaller things are specks, counted and passed over.
        max_foreground_share: a frame with more foreground is unreadable: light failure or a flood.
    """

    background: tuple[Level, ...] = (6, 6)
    threshold: tuple[Annotated[int, Meta(ge=1, le=255)], ...] = (14, 14)
    polarity: tuple[Literal["bright", "dark"], ...] = ("bright", "bright")
    combine: Literal["any", "all"] = "any"
    min_area_px: Annotated[int, Meta(ge=1, le=1_000_000)] = 300
    max_foreground_share: Annotated[float, Meta(gt=0.0, le=1.0)] = 0.6


class DecisionConfig(_Section, frozen=True):
    """When a thing is no single cherry, and stricter thresholds than the card's.

    Attributes:
        accept, reject: replace the card's thresholds, and must not be above them.
        max_area_px, max_elongation: beyond either, two cherries touch. Elongation is the ratio of the
            axes of the ellipse with the same second moments.
        min_ellipse_fill: below, two cherries touch: the waist between them leaves that ellipse empty. Of the
            real crops (some of which show two that touch) 2 % lie below the default, of touching ones on
            the emulated belt about 90 %.
        min_plane_mean, max_plane_mean: a thing whose mean grey level is outside, in any plane, is no
            cherry. One number for each plane. By default 0.2 % of the 3,676 real crops are outside.
    """

    accept: Probability | None = None
    reject: Probability | None = None
    max_area_px: Annotated[int, Meta(ge=1)] = 6000
    max_elongation: Annotated[float, Meta(ge=1.0, le=100.0)] = 2.0
    min_ellipse_fill: Share = 0.94
    min_plane_mean: tuple[GreyMean, ...] = (40.0, 55.0)
    max_plane_mean: tuple[GreyMean, ...] = (160.0, 220.0)


class ActionsConfig(_Section, frozen=True):
    """What the line does with each verdict."""

    clean: Action = "pass"
    maybe: Action = "review"
    pit: Action = "reject"
    side: Action = "review"

    def __post_init__(self) -> None:
        if self.pit == "pass":
            raise ValueError("pit must not be `pass`: a pit would reach a plate")


class ModelConfig(_Section, frozen=True):
    """Which bundle to run; none means the bundled default."""

    bundle: str | None = None


class RuntimeConfig(_Section, frozen=True):
    """How the board's cores and memory are used.

    Attributes:
        threads: ONNX Runtime's threads in one network call.
        queue_frames: frames that may wait between capture and prepare; then the oldest is dropped.
        sub_batch: cherries in one network call; bounds memory.
        max_cherries: cherries judged in one frame; the rest are ``maybe`` with reason ``overload``.
        capture_timeout_s: a live source silent for longer is broken.
    """

    threads: Annotated[int, Meta(ge=1, le=64)] = 1
    queue_frames: Annotated[int, Meta(ge=1, le=64)] = 2
    sub_batch: Annotated[int, Meta(ge=1, le=256)] = 16
    max_cherries: Annotated[int, Meta(ge=1, le=1024)] = 128
    capture_timeout_s: Annotated[float, Meta(gt=0.0, le=60.0)] = 1.0


class SinkConfig(_Section, frozen=True):
    """Where verdicts are written, one JSON object a line.

    Attributes:
        path: the file; relative to the working directory.
        rotate_bytes: when it would grow beyond, it becomes ``path.1`` and so on.
        keep: how many rotated files stay.
    """

    path: str = "out/run/verdicts.jsonl"
    rotate_bytes: Annotated[int, Meta(ge=4096)] = 64 * 1024 * 1024
    keep: Annotated[int, Meta(ge=1, le=1000)] = 8


class Config(_Section, frozen=True):
    """The whole of it. See the sections."""

    schema: Literal["pitcore.config/1"] = "pitcore.config/1"
    frame: FrameConfig = msgspec.field(default_factory=FrameConfig)
    belt: BeltConfig = msgspec.field(default_factory=BeltConfig)
    source: EmulatedSourceConfig | ReplaySourceConfig = msgspec.field(default_factory=EmulatedSourceConfig)
    segmentation: SegmentationConfig = msgspec.field(default_factory=SegmentationConfig)
    decision: DecisionConfig = msgspec.field(default_factory=DecisionConfig)
    actions: ActionsConfig = msgspec.field(default_factory=ActionsConfig)
    model: ModelConfig = msgspec.field(default_factory=ModelConfig)
    runtime: RuntimeConfig = msgspec.field(default_factory=RuntimeConfig)
    sink: SinkConfig = msgspec.field(default_factory=SinkConfig)

    def __post_init__(self) -> None:
        if isinstance(self.source, EmulatedSourceConfig) and self.source.advance_px > self.frame.height_px:
            raise ValueError(
                f"source.advance_px = {self.source.advance_px} is more than frame.height_px = {self.frame.height_px}: "
                "belt would pass unseen between two frames"
            )
        planes = len(self.frame.planes)
        lists: dict[str, tuple[Any, ...]] = {
            "segmentation.background": self.segmentation.background,
            "segmentation.threshold": self.segmentation.threshold,
            "segmentation.polarity": self.segmentation.polarity,
            "decision.min_plane_mean": self.decision.min_plane_mean,
            "decision.max_plane_mean": self.decision.max_plane_mean,
        }
        for key, values in lists.items():
            if len(values) != planes:
                raise ValueError(f"{key} has {len(values)} values, but frame.planes names {planes} planes")

    @property
    def sha256(self) -> str:
        """Hash of every value, defaults included: equal configurations have equal hashes."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()


def decode_config(text: str, where: str) -> Config:
    """Parse and check TOML. ``where`` names it in errors. Raises ConfigError."""
    try:
        return msgspec.convert(tomllib.loads(text), type=Config)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where}: not valid TOML: {error}") from error
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: {_place_first(str(error))}") from error


def load_config(path: Path | None) -> Config:
    """Read a configuration file; None gives the defaults. Raises ConfigError."""
    if path is None:
        return Config()
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}; give --config an existing TOML file") from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: not UTF-8 text at byte {error.start}; a configuration is a TOML text file"
        ) from error
    return decode_config(text, str(path))


def effective_thresholds(card: Thresholds, board: DecisionConfig) -> Thresholds:
    """Return the card's thresholds, made stricter where the board says so.

    Stricter means lower: fewer cherries accepted, more rejected. Raises ConfigError for a looser one.
    """
    for key in ("accept", "reject"):
        wish, bound = getattr(board, key), getattr(card, key)
        if wish is not None and wish > bound:
            raise ConfigError(
                f"[decision] {key} = {wish} is looser than the model card's {bound}; "
                f"a board may only be stricter: use at most {bound}, or leave the key out"
            )
    accept = card.accept if board.accept is None else board.accept
    reject = card.reject if board.reject is None else board.reject
    if accept > reject:
        raise ConfigError(f"[decision] accept = {accept} is above reject = {reject}; lower accept to at most {reject}")
    return Thresholds(accept=accept, reject=reject)


def _place_first(message: str) -> str:
    """Turn msgspec's ``reason - at `$.section.key[0]``` into ``[section] key[0]: reason``."""
    found = re.fullmatch(r"(?s)(.*?)(?: - at `(?:key in )?\$\.?([^`]*)`)?", message)
    if not found:
        return message
    section, _, key = (found[2] or "").partition(".")
    unknown = re.fullmatch(r"Object contains unknown field `(.*)`", found[1])
    reason = f"unknown key `{unknown[1]}`{_known_keys(section)}" if unknown else found[1] + _choices(section, key)
    place = f"[{section}]" if section and section != "schema" else section
    return ": ".join(part for part in (f"{place} {key}".strip(), reason) if part)


def _choices(section: str, key: str) -> str:
    """Name the values a key may have where they can be listed, as the mend for another one."""
    if (section, key) == ("source", "kind"):
        return "; choose one of: emulated, replay"
    hint = get_type_hints(type(getattr(Config(), section, None))).get(key.partition("[")[0])
    words = [word for part in (hint, *get_args(hint)) if get_origin(part) is Literal for word in get_args(part)]
    return f"; choose one of: {', '.join(words)}" if words else ""


def _known_keys(section: str) -> str:
    """Name the keys of a section (of the file where it is empty), as the mend for an unknown one."""
    holder = getattr(Config(), section, None) if section else Config()
    if section == "source" or not isinstance(holder, msgspec.Struct):
        return ""
    return f"; known: {', '.join(holder.__struct_fields__)}"
