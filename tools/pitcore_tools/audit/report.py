"""Formats the findings of an audit: text for people, a dictionary for programs, and rows for spreadsheets."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

from pitcore.camera.crops import LABELS, LabelledCrop
from pitcore_tools.audit.duplicates import FOLDS, NearPair, in_conflict
from pitcore_tools.audit.features import FEATURES, TOUCHES_BORDER, Outlier
from pitcore_tools.audit.findings import Findings
from pitcore_tools.audit.opinions import agreement
from pitcore_tools.evaluate.figures import share_facts

COLUMNS = ("kind", "hash", "path", "label", "p_pit", "detail")
Row = tuple[str, str, str, str, str, str]


def text(found: Findings) -> str:
    """Return the table that ``pitcore-tools audit`` prints."""
    labels = Counter(crop.label for crop in found.crops)
    counts = _counts(found)
    lines = [
        f"{len(found.crops)} crops: {', '.join(f'{labels[i]} {name}' for i, name in enumerate(LABELS))}",
        "",
        f"  same picture twice       {counts['exact_groups']} pictures, {counts['exact_crops']} crops",
        f"  with both labels         {counts['conflicts']} of those pictures",
        (
            f"  same cherry twice        {counts['near_pairs']} pairs of pictures; {counts['near_across_folds']} in "
            f"different folds of {FOLDS}, {counts['near_labels_differ']} with different labels"
        ),
        f"  light and size           {counts['outlier_crops']} crops stand out",
    ]
    lines += [f"    {FEATURES[name]:43} {count}" for name, count in counts["outliers"].items() if count]
    lines += ["", *_opinion_lines(found)]
    if found.drift:
        lines += ["", f"  against the other set    {found.shared} pictures lie in both"]
        lines += [f"    {drift}" for drift in found.drift]
    return "\n".join(lines)


def _opinion_lines(found: Findings) -> list[str]:
    if found.opinions is None:
        return ["  suspect labels           not checked; give --logits to find them"]
    judged = agreement(found.opinions, found.suspects)
    nets = len(found.opinions.names)
    who = "the net says" if nets == 1 else f"all {nets} nets say"
    lines = [
        f"  crops that nets judged   {len(found.opinions.hashes)} pictures, by {nets} net{'s' * (nets > 1)}",
        (
            f"  suspect labels           {len(found.suspects)}, of which {who} the other label with p above "
            f"{found.confidence:g}"
        ),
    ]
    if nets > 1:
        lines.append(
            f"  errors in common         {judged.in_common.hits} of {judged.in_common.of} that some net has wrong "
            f"are wrong by all; chance would give {judged.errors_by_all_if_independent:.1f}"
        )
    lines += [
        f"  accuracy                 {share.value:.2%}, {fixed.value:.2%} if every suspect label were wrong  ({name})"
        for name, share, fixed in zip(found.opinions.names, judged.accuracy, judged.accuracy_corrected, strict=True)
    ]
    ceiling = f"{judged.ceiling.value:.2%}, if every suspect label were wrong and not corrected"
    return [*lines, f"  ceiling of any net       {ceiling}"]


def _counts(found: Findings) -> dict[str, Any]:
    outliers = Counter(outlier.feature for outlier in found.outliers)
    return {
        "crops": len(found.crops),
        "exact_groups": len(found.exact),
        "exact_crops": sum(map(len, found.exact)),
        "conflicts": len(found.conflicts),
        "near_pairs": len(found.near),
        "near_across_folds": sum(pair.across_folds for pair in found.near),
        "near_labels_differ": sum(pair.labels_differ for pair in found.near),
        "outlier_crops": len({outlier.index for outlier in found.outliers}),
        "outliers": {name: outliers[name] for name in FEATURES},
        "suspects": len(found.suspects),
    }


def summary(found: Findings) -> dict[str, Any]:
    """Return the counts for programs; ``nets`` is None without logits, ``drift`` without another set."""
    nets, drift = None, None
    if found.opinions is not None:
        judged = agreement(found.opinions, found.suspects)
        nets = {
            "names": found.opinions.names,
            "crops": len(found.opinions.hashes),
            "confidence": found.confidence,
            "accuracy": [share_facts(share) for share in judged.accuracy],
            "accuracy_if_suspects_are_wrong": [share_facts(share) for share in judged.accuracy_corrected],
            "ceiling": share_facts(judged.ceiling),
            "errors_by_any": judged.errors_by_any,
            "errors_by_all": judged.errors_by_all,
            "errors_by_all_if_independent": judged.errors_by_all_if_independent,
        }
    if found.drift:
        drift = {
            "shared": found.shared,
            "features": [
                {
                    "feature": each.feature,
                    "here": each.before,
                    "there": each.after,
                    "distance": each.effect,
                    "p_holm": each.p,
                    "found": each.found,
                }
                for each in found.drift
            ],
        }
    return {**_counts(found), "nets": nets, "drift": drift}


def rows(found: Findings, folder: Path) -> list[Row]:
    """Return one row for each finding, in the order of ``COLUMNS``; paths are relative to the folder."""
    probabilities: dict[str, str] = {}
    if found.opinions is not None:
        columns = found.opinions.probabilities.T.tolist()
        probabilities = {
            name: " ".join(f"{p:.4f}" for p in column)
            for name, column in zip(found.opinions.hashes, columns, strict=True)
        }

    def row(kind: str, crop: LabelledCrop, detail: str) -> Row:
        path = crop.path.relative_to(folder).as_posix()
        return kind, crop.hash, path, LABELS[crop.label], probabilities.get(crop.hash, ""), detail

    def place(crop: LabelledCrop) -> str:
        return crop.path.relative_to(folder).as_posix()

    table = []
    for group in found.exact:
        kind = "conflict" if in_conflict(group) else "same picture"
        table.append(row(kind, group[0], ", ".join(map(place, group[1:]))))
    table += [row("same cherry", pair.first, f"{place(pair.second)}; {_pair_words(pair)}") for pair in found.near]
    if found.opinions is not None:
        hashes = [found.opinions.hashes[index] for index in found.suspects.tolist()]
        table += [row("suspect label", found.by_hash[name], f"number {i}") for i, name in enumerate(hashes, start=1)]
    table += [row("light and size", found.crops[each.index], _outlier_words(each)) for each in found.outliers]
    table += [("drift", "", "", "", "", str(each)) for each in found.drift if each.found]
    return table


def _pair_words(pair: NearPair) -> str:
    folds = "different folds" if pair.across_folds else "one fold"
    labels = "different labels" if pair.labels_differ else "one label"
    return f"{pair.likeness:.2f} alike, {folds}, {labels}"


def _outlier_words(outlier: Outlier) -> str:
    if outlier.feature == TOUCHES_BORDER or math.isnan(outlier.deviations):
        return FEATURES[outlier.feature]
    return f"{FEATURES[outlier.feature]} {outlier.value:.4g}, {outlier.deviations:+z.1f} deviations"
