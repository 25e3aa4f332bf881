"""Counts the verdicts that a candidate would change, by board, day and probability. Checks the limits for a release."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from pitcore.decision.policy import judge_probability
from pitcore.errors import DataError, PublishError
from pitcore.model_card import Bundle, Thresholds
from pitcore.verdict import CODES, VerdictName
from pitcore_tools.rescore.judge import Judged

NAMED = 20  # bad crops listed in the report
# A verdict with another reason was decided by shape, belt or an alarm, so a model would not change it.
BY_MODEL = {None, "uncertain"}


class Part(msgspec.Struct):
    """Number of compared crops, and number of crops whose verdict changes."""

    compared: int = 0
    flipped: int = 0


class Report(msgspec.Struct, kw_only=True):
    """The result of a run.

    Attributes:
        bundle, label: hash and name of the candidate.
        point: its operating point, by which verdicts are compared.
        archive: name of the archive.
        crops: number of judged crops, each counted once.
        duplicates: number of crops that were in the archive again and were left out.
        bad: number of crops that could not be judged; ``bad_records`` has the reasons of the first.
        bad_shards: a message for each shard that could not be read.
        compared: number of crops with a stored verdict of a model.
        flipped: number of compared crops whose verdict changes.
        stopped: number of compared crops that a board stopped: maybe or pit.
        newly_clean: number of these that the candidate lets pass.
        flips: numbers of flips, by "before > after".
        by_board, by_day, by_probability: compared and flipped crops; probabilities are the stored ones, in tenths.
        nodes: number of crops by the machine that judged them.
        verdicts_sha256: hash of the file of verdicts.
        crops_per_s: crops judged per second in this run; None if none was.
    """

    schema: Literal["pitcore.rescore/2"] = "pitcore.rescore/2"
    bundle: str
    label: str
    point: str
    archive: str
    crops: int = 0
    duplicates: int = 0
    bad: int = 0
    bad_records: list[str] = []
    bad_shards: list[str] = []
    compared: int = 0
    flipped: int = 0
    stopped: int
    newly_clean: int = 0
    flips: dict[str, int] = {}
    by_board: dict[str, Part] = {}
    by_day: dict[str, Part] = {}
    by_probability: dict[str, Part] = {}
    nodes: dict[str, int] = {}
    verdicts_sha256: str = ""
    crops_per_s: float | None = None


class Gate(msgspec.Struct, frozen=True):
    """The limits for a release.

    Attributes:
        flips: share of compared crops whose verdict may change.
        newly_clean: share of the crops that a board stopped which may pass.
        bad: share of all crops that may be bad.
    """

    flips: float
    newly_clean: float
    bad: float


class Reporter:
    """Takes results in the order of the archive and counts them.

    Args:
        bundle: the candidate.
        point: name and thresholds of the operating point.
        archive: name of the archive.
    """

    def __init__(self, bundle: Bundle, point: tuple[str, Thresholds], archive: str) -> None:
        self.report = Report(bundle=bundle.sha256, label=bundle.label, point=point[0], archive=archive, stopped=0)
        self._thresholds = point[1]
        self._seen: set[str] = set()
        self._flips: Counter[str] = Counter()
        self._digest = hashlib.sha256()

    def lines(self, crops: list[Judged], node: str) -> Iterator[bytes]:
        """Count crops, and yield the verdict line, at the operating point, of each crop that is not a duplicate."""
        report = self.report
        for crop in crops:
            if crop.sha256 is not None:
                if crop.sha256 in self._seen:
                    report.duplicates += 1
                    continue
                self._seen.add(crop.sha256)
            report.nodes[node] = report.nodes.get(node, 0) + 1
            line = f"{crop.line}\n".encode()
            if crop.bad is not None or crop.p_pit is None:
                report.bad += 1
                if len(report.bad_records) < NAMED:
                    report.bad_records.append(str(crop.bad))
            else:
                report.crops += 1
                after, _ = judge_probability(crop.p_pit, self._thresholds)
                found = msgspec.json.decode(crop.line) | {"verdict": after, "code": CODES[after]}
                line = msgspec.json.encode(found) + b"\n"
                self._compare(crop, after)
            self._digest.update(line)
            yield line

    def _compare(self, crop: Judged, after: VerdictName) -> None:
        if crop.verdict not in {"clean", "maybe", "pit"} or crop.reason not in BY_MODEL:
            return
        flipped = after != crop.verdict
        report = self.report
        report.compared += 1
        report.flipped += flipped
        report.stopped += crop.verdict != "clean"
        report.newly_clean += flipped and after == "clean"
        if flipped:
            self._flips[f"{crop.verdict} > {after}"] += 1
        before = "none" if crop.before is None else f"{min(9, int(crop.before * 10)) / 10:.1f}"
        for parts, key in (
            (report.by_board, crop.board or "unknown"),
            (report.by_day, (crop.at or "unknown")[:10]),
            (report.by_probability, before),
        ):
            part = parts.setdefault(key, Part())
            part.compared += 1
            part.flipped += flipped

    def finish(self) -> Report:
        """Return the report."""
        report = self.report
        report.flips = dict(self._flips.most_common())
        report.verdicts_sha256 = self._digest.hexdigest()
        return report


def text(report: Report) -> str:
    """Return a report as text for people."""
    changed = f"{report.flipped} would change ({_share(report.flipped, report.compared)})"
    passing = f"{report.newly_clean} would pass ({_share(report.newly_clean, report.stopped)})"
    lines = [
        f"{report.label} ({report.bundle[:12]}) over {report.archive}, point {report.point}",
        f"  {report.crops} crops judged, {report.bad} bad, {report.duplicates} duplicates left out",
        f"  {len(report.bad_shards)} shards could not be read",
        f"  {report.compared} compared with the verdict of the board: {changed}",
        f"  {report.stopped} of them stopped by the board: {passing}",
        *(f"    {name}: {count}" for name, count in report.flips.items()),
    ]
    tables = {"board": report.by_board, "day": report.by_day, "probability from": report.by_probability}
    for title, parts in tables.items():
        lines += [
            f"  {title} {key}: {part.flipped} of {part.compared} ({_share(part.flipped, part.compared)})"
            for key, part in sorted(parts.items())
        ]
    lines += [f"  bad: {reason}" for reason in (report.bad_shards + report.bad_records)]
    lines += [f"  judged by {node}: {count} crops" for node, count in sorted(report.nodes.items())]
    if report.crops_per_s is not None:
        lines.append(f"  {report.crops_per_s:.0f} crops a second in this run")
    return "\n".join(lines)


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.2%}" if whole else "none"


def check_gate(path: Path, bundle: Bundle, gate: Gate) -> Report:
    """Check the report of a release against the limits.

    Raises:
        DataError: the file is not a report.
        PublishError: the report is of another bundle, compares no crop, has no crop that a board stopped, or exceeds a
            limit.
    """
    try:
        report = msgspec.json.decode(path.read_bytes(), type=Report)
    except (OSError, msgspec.DecodeError) as error:
        raise DataError(f"{path}: not a report of this version: {error}; run `pitcore-tools rescore` again") from error
    if report.bundle != bundle.sha256:
        raise PublishError(f"{path}: is of {report.label} ({report.bundle[:12]}), not of {bundle.label}; rescore again")
    if not report.compared:
        raise PublishError(f"{path}: no crop of the archive has a verdict to compare with; rescore what boards kept")
    if not report.stopped:
        raise PublishError(
            f"{path}: no crop of the archive was stopped by a board, so it does not show whether {bundle.label} lets "
            "pits pass; rescore an archive with maybe and pit"
        )
    if report.bad_shards:
        raise PublishError(f"{path}: {len(report.bad_shards)} shards could not be read; repair them and rescore again")
    whole = report.crops + report.bad
    for what, number, of, limit in (
        ("verdicts would change", report.flipped, report.compared, gate.flips),
        ("stopped cherries would pass", report.newly_clean, report.stopped, gate.newly_clean),
        ("crops are bad", report.bad, whole, gate.bad),
    ):
        if number > limit * of:
            raise PublishError(
                f"{path}: at point {report.point} {number} of {of} {what} ({number / of:.2%}), the limit is "
                f"{limit:.2%}; read the report, then raise the limit or do not publish the model"
            )
    return report
