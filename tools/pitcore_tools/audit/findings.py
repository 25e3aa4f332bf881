"""Everything an audit finds, in one place, and the labels it suggests. Reads and writes nothing."""

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
    """What an audit found.

    Attributes:
        crops: all of the folder, in its order.
        exact: groups of crops that are one picture.
        near: pairs of different pictures that seem to show one cherry.
        outliers: index into ``crops``.
        opinions: of the nets; None where no logits were given.
        confidence: every net must exceed it for a label to be suspect.
        suspects: index into ``opinions``, most confident first.
        drift: one entry a feature; empty where there is nothing to compare with.
        shared: pictures of the other set that lie in this one too.
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
        """Pictures that lie under both labels."""
        return [group for group in self.exact if duplicates.in_conflict(group)]

    @property
    def by_hash(self) -> dict[str, LabelledCrop]:
        """The first crop of each picture."""
        return {crop.hash: crop for crop in reversed(self.crops)}


class Suggestion(NamedTuple):
    """A row of the relabel file. ``hash`` and ``label`` are for training, the others for people.

    Attributes:
        label: index of the new label, or None to leave the crop out.
        was: index of the label; None for a picture under both.
        p_pit: mean over the nets; None where they were not asked.
        reason: in words.
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
        crops: of the folder.
        tables: held-out margins by the name of the net; may be empty.
        confidence: every net must exceed it for a label to be suspect.
        against: of another folder to compare with; may be empty.

    Raises:
        DataError: what nets say cannot be used; see ``opinions.gather``.
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
    """Return what a person might do about labels: suspects in the order of the sheets, then conflicts.

    Two nets that agree suggest the other label. One alone may be wrong by itself, so its suspects are left out: that
    costs a crop, and teaches nothing false.
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
    rows += [Suggestion(group[0].hash, None, None, None, "lies under both labels") for group in found.conflicts]
    return rows
