"""Plain text tables, right-aligned, for a terminal or a log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pitcore.metrics import STAGES, Metrics
from pitcore.verdict import VERDICTS

TRUTHS = ("clean", "pit", "touching", "cut by an edge", "foreign")  # see pitcore.emulator.scoring.kind_of


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out rows under a head; the first column to the left, the others to the right."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = []
    for row in (head, *rows):
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  " + "  ".join(cells).rstrip())
    lines.insert(1, "  " + "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def stage_table(metrics: Metrics) -> str:
    """Latency of each stage in milliseconds."""
    rows = [
        [name, *(f"{metrics.stages[name].percentile_ms(percent):.2f}" for percent in (50, 99, 100))] for name in STAGES
    ]
    return table(["ms a frame", "p50", "p99", "max"], rows)


def confusion_table(confusion: Mapping[tuple[str, str], int]) -> str:
    """Truth by row, verdict by column."""
    truths = [name for name in TRUTHS if any(key[0] == name for key in confusion)]
    rows = []
    for truth in truths:
        counts = [confusion.get((truth, verdict), 0) for verdict in VERDICTS]
        rows.append([truth, *map(str, counts), str(sum(counts))])
    return table(["truth \\ verdict", *VERDICTS, "all"], rows)


def event_lines(metrics: Metrics) -> list[str]:
    """One line for each kind of event that came up."""
    return [f"  {name}: {count}" for name, count in metrics.labels("events").items()]
