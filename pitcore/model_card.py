"""The model card, and the bundle it describes.

A bundle is a directory: ``model.onnx``, ``card.json``, ``calibration.json``, ``metrics.json``,
``config.yaml``, ``golden.npz``. The card states everything that preprocessing and decision need; it has
no defaults, and a missing or unknown key is an error. This module reads and checks; it never loads the
network (``pitcore.inference`` does) and never writes (``pitcore_tools`` does).
"""

from __future__ import annotations

import errno
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from pitcore.errors import BundleError, CardError, UnreadableBundleError, first_line
from pitcore.plain_text import check_json, decode_text

SCHEMA = "pitcore.card/2"  # that is written
SCHEMAS = ("pitcore.card/1", SCHEMA)  # that are read
BUNDLE_FILES = ("model.onnx", "calibration.json", "metrics.json", "config.yaml", "golden.npz")
DEFAULT_BUNDLE = Path(__file__).parent / "models" / "default"

# Errors that the file names of a bundle can cause; every other error of a read comes from the disk or the machine.
_FAULTS_OF_A_NAME = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL}

Probability = Annotated[float, Meta(ge=0.0, le=1.0)]
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Name = Annotated[str, Meta(pattern="^[a-z0-9][a-z0-9._-]{0,63}$")]
Version = Annotated[str, Meta(pattern=r"^\d+\.\d+\.\d+([.-][0-9a-z.]+)?$")]


def check_identity(name: str, version: str) -> None:
    """Check a model's name and version by the card's rules, before hours are spent on what no card can hold.

    Raises:
        ValueError: the card would refuse one of them.
    """
    for what, value, kind, rule in (
        ("name", name, Name, "small letters, digits, `.`, `_` and `-`, at most 64, the first a letter or a digit"),
        ("version", version, Version, "three numbers, such as 1.4.0 or 1.4.0-rc1"),
    ):
        try:
            msgspec.convert(value, kind)
        except msgspec.ValidationError:
            raise ValueError(f"{what} {value!r} fits no model card: give {rule}") from None


class ProbabilityCalibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Platt scaling of the pit margin: p = 1 / (1 + exp(-(slope * margin + intercept))).

    The margin is the pit logit minus the log-sum-exp of the others. Source: J. Platt, "Probabilistic
    outputs for support vector machines", 1999; slope 1 and intercept 0 give softmax.
    """

    method: Literal["platt"]
    slope: Annotated[float, Meta(gt=0.0, le=100.0)]
    intercept: Annotated[float, Meta(ge=-100.0, le=100.0)]


PointName = Literal["strict", "balanced", "throughput"]
# The share of pits that a point may promise to let pass, at most. A card must not call a looser promise by such a name.
PROMISES: dict[PointName, float] = {"strict": 0.01, "balanced": 0.02, "throughput": 0.05}
CONFIDENCE = 0.95  # of every promise, at least
# No card may be looser: the line's production rule accepts below one half, and a net that never rejects judges nothing.
MAX_ACCEPT, MAX_REJECT = 0.5, 0.99


class Thresholds(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Calibrated pit probability: clean below ``accept``, pit from ``reject`` on, maybe between."""

    accept: Probability
    reject: Probability

    def __post_init__(self) -> None:
        if self.accept > self.reject:
            raise ValueError(f"accept ({self.accept}) must not be above reject ({self.reject})")
        for key, bound in (("accept", MAX_ACCEPT), ("reject", MAX_REJECT)):
            if getattr(self, key) > bound:
                raise ValueError(f"{key} ({getattr(self, key)}) must not be above {bound}: nothing would be stopped")


class Evidence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The evidence for a point's thresholds, and their results on crops that the net was not trained on.

    Attributes:
        method: how the accept threshold was chosen, in words.
        max_miss, confidence: the promise: with this confidence at most this share of pits passes.
        pits, pits_passed, pits_rejected: counts of held-out pits; the rest is ``maybe``.
        clean, clean_passed, clean_rejected: the same of clean cherries.
    """

    method: Annotated[str, Meta(min_length=1, max_length=500)]
    max_miss: Annotated[float, Meta(gt=0.0, lt=1.0)]
    confidence: Annotated[float, Meta(gt=0.0, lt=1.0)]
    pits: Annotated[int, Meta(ge=1)]
    pits_passed: Annotated[int, Meta(ge=0)]
    pits_rejected: Annotated[int, Meta(ge=0)]
    clean: Annotated[int, Meta(ge=1)]
    clean_passed: Annotated[int, Meta(ge=0)]
    clean_rejected: Annotated[int, Meta(ge=0)]

    def __post_init__(self) -> None:
        for kind in ("pits", "clean"):
            if getattr(self, f"{kind}_passed") + getattr(self, f"{kind}_rejected") > getattr(self, kind):
                raise ValueError(f"more {kind} passed and rejected than there are")

    def per_thousand(self, pit_share: float) -> tuple[float, float, float]:
        """Return pits passed, clean ones rejected, and cherries reviewed, of 1,000 cherries.

        Args:
            pit_share: of the cherries that have a pit.
        """
        pits, clean = 1000.0 * pit_share / self.pits, 1000.0 * (1.0 - pit_share) / self.clean
        doubtful_pits = self.pits - self.pits_passed - self.pits_rejected
        doubtful_clean = self.clean - self.clean_passed - self.clean_rejected
        return pits * self.pits_passed, clean * self.clean_rejected, pits * doubtful_pits + clean * doubtful_clean


class Point(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An operating point: thresholds, and the evidence for what they promise.

    Attributes:
        thresholds: clean below ``accept``, pit from ``reject`` on.
        evidence: null where the held-out crops were too few for the promise.
    """

    thresholds: Thresholds
    evidence: Evidence | None

    @property
    def promise(self) -> str:
        """Return the promise of the point, in words."""
        found = self.evidence
        if found is None:
            return "the card makes no promise for it"
        return (
            f"at most {found.max_miss:.3g} of pits pass, with {found.confidence:.0%} confidence "
            f"({found.pits_passed} of {found.pits} held-out pits do)"
        ).replace(f"{found.max_miss:.3g} of", f"{100 * found.max_miss:.3g} % of")


class FigureCounts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The distribution of one figure over held-out crops.

    Attributes:
        edges: rising; bins lie below the first, between two, and from the last on.
        clean, pit: crops of each label in each bin.
    """

    edges: Annotated[list[float], Meta(min_length=1, max_length=200)]
    clean: list[Annotated[int, Meta(ge=0)]]
    pit: list[Annotated[int, Meta(ge=0)]]

    def __post_init__(self) -> None:
        if sorted(set(self.edges)) != self.edges:
            raise ValueError("edges must rise")
        if not len(self.clean) == len(self.pit) == len(self.edges) + 1:
            raise ValueError(f"{len(self.edges)} edges need {len(self.edges) + 1} counts of each label")
        if not sum(self.clean) or not sum(self.pit):
            raise ValueError("counts must hold a crop of each label")


class Reference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The distributions of the cherries that the model was tested on, for the drift check on the board.

    Attributes:
        how: which crops, in words.
        figures: ``pit_probability``, ``area_px`` and ``mean_PLANE``; the first must be there.
    """

    how: Annotated[str, Meta(min_length=1, max_length=500)]
    figures: dict[str, FigureCounts]

    def __post_init__(self) -> None:
        if "pit_probability" not in self.figures:
            raise ValueError("figures must hold pit_probability")


class Runtime(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Requirements of the model on the runtime."""

    onnxruntime_min: Annotated[str, Meta(pattern=r"^\d+\.\d+(\.\d+)?$")]
    opset: Annotated[int, Meta(ge=13, le=30)]


class _Card(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The fields of cards of every schema. No field has a default.

    Attributes:
        planes: names of the planes in channel order.
        crop_size_px: side of the square crop, S.
        resize: what happens to a cherry larger than the crop: ``centre`` cuts, ``shrink`` averages
            the larger ones down by area, ``fit`` scales every crop (antialiased bilinear).
        layout, dtype: of the network's input: NHWC or NCHW, uint8 or float32.
        scale, offset: one for each plane; float input is ``pixel * scale + offset``. For uint8 input
            scale is 1 and offset 0: the graph contains the rest.
        labels: order of the logits; contains ``clean`` and ``pit``, may contain ``maybe``.
        files: SHA-256 of every other file of the bundle.
    """

    name: Name
    version: Version
    planes: Annotated[list[Name], Meta(min_length=1, max_length=4)]
    crop_size_px: Annotated[int, Meta(ge=16, le=256)]
    resize: Literal["centre", "shrink", "fit"]
    layout: Literal["NHWC", "NCHW"]
    dtype: Literal["uint8", "float32"]
    scale: list[float]
    offset: list[float]
    labels: Annotated[list[Literal["clean", "maybe", "pit"]], Meta(min_length=2, max_length=3)]
    calibration: ProbabilityCalibration
    files: dict[str, Sha256]
    runtime: Runtime

    def __post_init__(self) -> None:
        if len(set(self.planes)) != len(self.planes):
            raise ValueError(f"planes must differ, got {self.planes}")
        for key in ("scale", "offset"):
            if len(getattr(self, key)) != len(self.planes):
                raise ValueError(f"{key} must have one number for each of the {len(self.planes)} planes")
        if self.dtype == "uint8" and (set(self.scale) != {1.0} or set(self.offset) != {0.0}):
            raise ValueError("uint8 input needs scale 1 and offset 0; the graph contains the rest")
        if len(set(self.labels)) != len(self.labels) or not {"clean", "pit"} <= set(self.labels):
            raise ValueError(f"labels must differ and hold clean and pit, got {self.labels}")
        if set(self.files) != set(BUNDLE_FILES):
            raise ValueError(f"files must name exactly {', '.join(BUNDLE_FILES)}")

    @property
    def batch_shape(self) -> tuple[int, int, int]:
        """Shape of one crop in the network's input, without the batch."""
        s, p = self.crop_size_px, len(self.planes)
        return (s, s, p) if self.layout == "NHWC" else (p, s, s)


class _CardOne(_Card, frozen=True, forbid_unknown_fields=True):
    """A card of the first schema: one pair of thresholds."""

    schema: Literal["pitcore.card/1"]
    thresholds: Thresholds


class ModelCard(_Card, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Everything the board needs to know of a model. No field by which it judges has a default.

    Attributes:
        points: by name. ``strict`` is always there; the others are no stricter, each than the one before.
        reference: of held-out crops; cards from before have none, and the board then watches less.
    """

    schema: Literal["pitcore.card/2"]
    points: dict[PointName, Point]
    reference: Reference | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if "strict" not in self.points:
            raise ValueError("points must hold strict")
        before = 0.0
        for name, share in PROMISES.items():
            point = self.points.get(name)
            if point is None:
                continue
            found = point.evidence
            if found is not None and (found.max_miss > share or found.confidence < CONFIDENCE):
                raise ValueError(
                    f"points.{name} promises {found.max_miss:g} with confidence {found.confidence:g}; "
                    f"a point of this name promises at most {share:g} with at least {CONFIDENCE:g}"
                )
            if point.thresholds.accept < before:
                raise ValueError(f"points.{name} accepts less than a stricter point")
            before = point.thresholds.accept

    @property
    def thresholds(self) -> Thresholds:
        """Those of the strict point."""
        return self.points["strict"].thresholds

    def point(self, wanted: PointName) -> tuple[PointName, Point]:
        """Return the wanted point, or the loosest one that is stricter, where the card lacks it."""
        allowed = [name for name in PROMISES if PROMISES[name] <= PROMISES[wanted] and name in self.points]
        return allowed[-1], self.points[allowed[-1]]


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose every file has the hash its card states.

    Attributes:
        directory: where it lies.
        card: its card.
        sha256: hash of ``card.json``; since the card holds the hashes of the rest, it names the
            whole bundle.
    """

    directory: Path
    card: ModelCard
    sha256: str

    @property
    def label(self) -> str:
        """Short name for people: ``name@version``."""
        return f"{self.card.name}@{self.card.version}"

    @property
    def model_path(self) -> Path:
        """The network."""
        return self.directory / "model.onnx"

    @property
    def golden_path(self) -> Path:
        """Inputs and expected outputs for the self-test."""
        return self.directory / "golden.npz"


class _Schema(msgspec.Struct):
    """Of a card, only the name of its schema."""

    schema: str


def decode_card(raw: bytes, where: str) -> ModelCard:
    """Decode and check a card. A card of the first schema has the one point ``strict``.

    Args:
        raw: the file.
        where: names it in errors.

    Raises:
        CardError: it is not valid, or of a schema that this version does not know.
    """
    try:
        text = decode_text(raw)
        check_json(text)
        schema = msgspec.json.decode(text, type=_Schema).schema
        if schema == "pitcore.card/1":
            old = msgspec.structs.asdict(msgspec.json.decode(text, type=_CardOne))
            strict = Point(old.pop("thresholds"), None)
            return ModelCard(**{**old, "schema": SCHEMA, "points": {"strict": strict}})
        if schema not in SCHEMAS:
            raise CardError(
                f"{where}: a card of schema {schema}, but this pitcore reads {' and '.join(SCHEMAS)}; "
                "update pitcore on this board first, or use a model made for it"
            )
        return msgspec.json.decode(text, type=ModelCard)
    except (json.JSONDecodeError, UnicodeError) as error:
        what = "it is empty" if not raw.strip() else f"it is no JSON: {error}"
        raise CardError(f"{where}: {what}; the file is damaged, copy the bundle again") from error
    except (msgspec.DecodeError, ValueError) as error:  # ValidationError is a DecodeError
        raise CardError(f"{where}: {error}; a card has no defaults, write it with `pitcore-tools quantise`") from error


def unread(path: Path, error: OSError, fix: str) -> BundleError:
    """Return the error of a bundle's file that cannot be read: its own fault, or the machine's.

    Args:
        path: of the file.
        error: why.
        fix: what to do where the bundle is at fault.
    """
    why = error.strerror or first_line(error)
    if error.errno in _FAULTS_OF_A_NAME:
        return BundleError(f"{path}: {why}; {fix}")
    if error.errno in {errno.EACCES, errno.EPERM}:
        return UnreadableBundleError(f"{path}: {why}; let this user read the model's folder and files")
    return UnreadableBundleError(f"{path}: {why}; `dmesg` says why; replace a failing card")


def load_bundle(directory: Path) -> Bundle:
    """Read the card of a bundle and check the hash of every file it names.

    Raises:
        BundleError: the directory or a file is missing or altered.
        UnreadableBundleError: they may be whole, but cannot be read now.
        CardError: the card is not valid.
    """
    card_path = directory / "card.json"
    try:
        raw = card_path.read_bytes()
    except OSError as error:
        if error.errno not in _FAULTS_OF_A_NAME:
            raise unread(card_path, error, "") from error
        raise BundleError(
            f"{directory}: no model bundle here ({error.strerror}: {card_path.name}); "
            "give a directory with card.json and model.onnx"
        ) from error
    card = decode_card(raw, str(card_path))
    for name, expected in card.files.items():
        try:
            actual = hashlib.sha256((directory / name).read_bytes()).hexdigest()
        except OSError as error:
            raise unread(directory / name, error, "the bundle is incomplete, copy it again") from error
        if actual != expected:
            raise BundleError(
                f"{directory / name}: hash {actual[:12]} is not the card's {expected[:12]}; "
                "the file was altered or cut short, copy the bundle again"
            )
    return Bundle(directory=directory, card=card, sha256=hashlib.sha256(raw).hexdigest())
