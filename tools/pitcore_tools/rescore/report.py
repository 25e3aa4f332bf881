"""What a candidate would change: verdicts that flip, by board, day and probability. Also the gate before a release."""

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
from pitcore_tools.rescore.judge import Judged

SCHEMA = "pitcore.rescore/1"
NAMED = 20  # bad records in the report
# A stored verdict with another reason was decided by shape, belt or an alarm, and no model would change it.
BY_MODEL = {None, "uncertain"}


class Part(msgspec.Struct):
    """Crops that were compared, and how many of them flip."""

    compared: int = 0
    flipped: int = 0


class Report(msgspec.Struct, kw_only=True):
    """A whole run.

    Attributes:
        bundle, label: hash and name of the candidate; ``point`` its operating point by which verdicts are compared.
        crops: judged ones, each once; ``duplicates`` came again and were left out.
        bad: could not be judged; ``bad_records`` names the first.
        compared: of the crops, those of which the archive has a verdict of a model; ``flipped`` of them change.
        newly_clean: of the flipped, those that a board stopped and the candidate lets pass.
        flips: by "before > after".
        by_board, by_day, by_probability: of what was compared; probabilities are the stored ones, in tenths.
        nodes: crops by the machine that judged them.
        verdicts_sha256: of the file of verdicts.
    """

    schema: Literal["pitcore.rescore/1"] = "pitcore.rescore/1"
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
    newly_clean: int = 0
    flips: dict[str, int] = {}
    by_board: dict[str, Part] = {}
    by_day: dict[str, Part] = {}
    by_probability: dict[str, Part] = {}
    nodes: dict[str, int] = {}
    verdicts_sha256: str = ""
    crops_per_s: float | None = None


class Gate(msgspec.Struct, frozen=True):
    """What a release may change at most, as shares: of what was compared, and bad ones of all."""

    flips: float
    newly_clean: float
    bad: float


class Reporter:
    """Takes crops in the order of the archive and counts.

    Args:
        bundle: the candidate.
        point: name and thresholds by which verdicts are compared.
        archive: its name.
    """

    def __init__(self, bundle: Bundle, point: tuple[str, Thresholds], archive: str) -> None:
        self.report = Report(bundle=bundle.sha256, label=bundle.label, point=point[0], archive=archive)
        self._thresholds = point[1]
        self._seen: set[str] = set()
        self._flips: Counter[str] = Counter()
        self._digest = hashlib.sha256()

    def lines(self, crops: list[Judged], node: str) -> Iterator[bytes]:
        """Count crops and yield the verdict line of each that was not there before."""
        report = self.report
        for crop in crops:
            if crop.sha256 is not None:
                if crop.sha256 in self._seen:
                    report.duplicates += 1
                    continue
                self._seen.add(crop.sha256)
            report.nodes[node] = report.nodes.get(node, 0) + 1
            line = f"{crop.line}\n".encode()
            self._digest.update(line)
            if crop.bad is not None or crop.p_pit is None:
                report.bad += 1
                if len(report.bad_records) < NAMED:
                    report.bad_records.append(str(crop.bad))
            else:
                report.crops += 1
                self._compare(crop, crop.p_pit)
            yield line

    def _compare(self, crop: Judged, p_pit: float) -> None:
        if crop.verdict not in {"clean", "maybe", "pit"} or crop.reason not in BY_MODEL:
            return
        after, _ = judge_probability(p_pit, self._thresholds)
        flipped = after != crop.verdict
        report = self.report
        report.compared += 1
        report.flipped += flipped
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
    """Return a report for people."""
    changed = f"{report.flipped} would change ({_share(report.flipped, report.compared)})"
    lines = [
        f"{report.label} ({report.bundle[:12]}) over {report.archive}, point {report.point}",
        f"  {report.crops} crops judged, {report.bad} bad, {report.duplicates} came again and were left out",
        f"  {len(report.bad_shards)} shards could not be read",
        f"  {report.compared} compared with the verdict of the board: {changed}, {report.newly_clean} newly clean",
        *(f"    {name}: {count}" for name, count in report.flips.items()),
    ]
    tables = {"board": report.by_board, "day": report.by_day, "probability from": report.by_probability}
    for title, parts in tables.items():
        lines += [
            f"  {title} {key}: {part.flipped} of {part.compared} ({_share(part.flipped, part.compared)})"
            for key, part in sorted(parts.items())
        ]
    lines += [f"  bad: {said}" for said in (report.bad_shards + report.bad_records)]
    lines += [f"  judged by {node}: {count} crops" for node, count in sorted(report.nodes.items())]
    if report.crops_per_s is not None:
        lines.append(f"  {report.crops_per_s:.0f} crops a second in this run")
    return "\n".join(lines)


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.2%}" if whole else "none"


def check_gate(path: Path, bundle: Bundle, gate: Gate) -> Report:
    """Refuse a release whose report exceeds the limits.

    Raises:
        DataError: the file is no report.
        PublishError: it is of another bundle, compares nothing, or exceeds a limit.
    """
    try:
        report = msgspec.json.decode(path.read_bytes(), type=Report)
    except (OSError, msgspec.DecodeError) as error:
        raise DataError(f"{path}: no report: {error}; write it with `pitcore-tools rescore`") from error
    if report.bundle != bundle.sha256:
        raise PublishError(f"{path}: is of {report.label} ({report.bundle[:12]}), not of {bundle.label}; rescore again")
    if not report.compared:
        raise PublishError(f"{path}: no crop of the archive has a verdict to compare with; rescore what boards kept")
    if report.bad_shards:
        raise PublishError(f"{path}: {len(report.bad_shards)} shards could not be read; repair them and rescore again")
    whole = report.crops + report.bad
    for what, found, of, limit in (
        ("verdicts would change", report.flipped, report.compared, gate.flips),
        ("stopped cherries would pass", report.newly_clean, report.compared, gate.newly_clean),
        ("crops are bad", report.bad, whole, gate.bad),
    ):
        if found > limit * of:
            raise PublishError(
                f"{path}: {found} of {of} {what} ({found / of:.2%}), at most {limit:.2%} may; look at the report, then "
                "raise the limit or keep the model back"
            )
    return report
