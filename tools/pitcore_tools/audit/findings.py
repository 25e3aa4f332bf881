"""Runs every check of an audit, and suggests labels. Does no IO."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pitcore.camera.crops import LabelledCrop
from pitcore_tools.audit import duplicates, features
from pitcore_tools.audit.duplicates import NearPair
from pitcore_tools.audit.features import Drift, Outlier
from pitcore_tools.audit.opinions import Opinions, gather
from pitcore_tools.evaluate.logits import HeldOut


@dataclass(frozen=True, slots=True)
class Findings:
    """The findings of an audit.

    Attributes:
        crops: all crops of the folder, in order.
        exact: groups of crops with equal pixels.
        near: pairs of different pictures that probably show one cherry.
        outliers: outliers in brightness and size; their index is into ``crops``.
        opinions: the nets' probabilities; None if no logits were given.
        confidence: every net must be more confident than this for a label to be suspect.
        suspects: (N,) indices into ``opinions`` of suspect labels, most confident first.
        drift: one entry for each feature; empty without another set.
        shared: number of pictures that are in both sets.
    """

    crops: Sequence[LabelledCrop]
    exact: list[list[LabelledCrop]]
    near: list[NearPair]
    outliers: list[Outlier]
    opinions: Opinions | None
    confidence: float
    suspects: NDArray[np.int64]
    drift: list[Drift]
    shared: int

    @property
    def conflicts(self) -> list[list[LabelledCrop]]:
        """Groups of equal pictures with both labels."""
        return [group for group in self.exact if duplicates.in_conflict(group)]

    @property
    def by_hash(self) -> dict[str, LabelledCrop]:
        """The first crop of each picture."""
        return {crop.hash: crop for crop in reversed(self.crops)}


class Suggestion(NamedTuple):
    """A row of the relabel file. ``hash`` and ``label`` are for training, the others for people.

    Attributes:
        label: index of the new label, or None to leave the crop out.
        was: index of the present label; None for a picture with both labels.
        p_pit: mean probability over the nets; None if there is none.
        reason: reason in words.
    """

    hash: str
    label: int | None
    was: int | None
    p_pit: float | None
    reason: str


def find(
    crops: Sequence[LabelledCrop],
    tables: Mapping[str, HeldOut],
    confidence: float,
    against: Sequence[LabelledCrop],
) -> Findings:
    """Audit crops.

    Args:
        crops: crops of the folder.
        tables: held-out margins by the name of the net; may be empty.
        confidence: every net must be more confident than this for a label to be suspect.
        against: crops of another folder to compare with; may be empty.

    Raises:
        DataError: the margins cannot be used, see ``opinions.gather``.
    """
    exact = duplicates.exact_groups(crops)
    undecided = {group[0].hash for group in exact if duplicates.in_conflict(group)}
    label_of = {crop.hash: crop.label for crop in crops if crop.hash not in undecided}
    opinions = gather(tables, label_of) if tables else None
    values = features.measure(crops)
    return Findings(
        crops=crops,
        exact=exact,
        near=duplicates.near_pairs(crops),
        outliers=features.outliers(values),
        opinions=opinions,
        confidence=confidence,
        suspects=np.empty(0, np.int64) if opinions is None else opinions.suspects(confidence),
        drift=features.drift(values, features.measure(against)) if against else [],
        shared=len({crop.hash for crop in against} & {crop.hash for crop in crops}),
    )


def suggestions(found: Findings) -> list[Suggestion]:
    """Return suggested labels: suspects in the order of the sheets, then conflicts.

    If several nets agree, the suggestion is the other label. A single net may be wrong, so the suggestion is to leave
    the crop out, which costs a crop but adds no wrong label.
    """
    rows = []
    if found.opinions is not None:
        nets, mean = len(found.opinions.names), found.opinions.mean
        reason = "the net says" if nets == 1 else f"all {nets} nets say"
        for index in found.suspects.tolist():
            was = int(found.opinions.labels[index])
            new = None if nets == 1 else 1 - was
            rows.append(
                Suggestion(found.opinions.hashes[index], new, was, float(mean[index]), f"{reason} the other label")
            )
    rows += [Suggestion(group[0].hash, None, None, None, "has both labels") for group in found.conflicts]
    return rows
