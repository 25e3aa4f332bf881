"""Formats the report of a shift as CSV for a spreadsheet, and as an HTML page for printing. Does no IO."""

from __future__ import annotations

import csv
import datetime as dt
import io
from collections.abc import Mapping, Sequence
from html import escape

from pitcore.page.shifts import Record
from pitcore.page.tally import Count, zero
from pitcore.page.words import ALARMS, EVENTS
from pitcore.verdict import VERDICTS, is_fault


def to_csv(record: Record) -> str:
    """Return the report as CSV, one line for each hour and lane."""
    file = io.StringIO()
    lines = csv.writer(file)
    lines.writerow(["shift", "start", "hour", "lane", *VERDICTS, "total"])
    for hour, count in sorted(record.hours.items()):
        for lane, row in zip(record.lanes, count, strict=True):
            lines.writerow([record.name, record.start, hour, lane, *row, sum(row)])
    return file.getvalue()


def to_html(record: Record, shift_id: str, board: str) -> str:
    """Return the report as an HTML page for printing."""
    start, end = (dt.datetime.fromisoformat(text) for text in (record.start, record.end))
    title = f"Shift {record.name}, {start:%A %d %B %Y}, {start:%H:%M} to {end:%H:%M}"
    total = record.total
    sums = [sum(column) for column in zip(*total, strict=True)]
    pits = _share(sums[VERDICTS.index("pit")], sum(sums))
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title><link rel="icon" href="data:,"><link rel="stylesheet" href="/page.css"></head>
<body><main class="report"><nav><a href="/">Live page</a> · <a href="/shifts/{shift_id}.csv">CSV</a></nav>
<h1>{escape(title)}</h1>
<p class="sums"><b>{sum(sums):,}</b> cherries, <b>{pits}</b> pits. Board {escape(board)}.</p>
<h2>Verdicts</h2>
{_table(["verdict", "cherries", "share"], [[name, f"{n:,}", _share(n, sum(sums))] for name, n in _named(sums)])}
<h2>By hour</h2>
{_bars(record.hours)}
{_table(["hour", *VERDICTS, "all", "pit share"], [_row(_clock(hour), count) for hour, count in _hours(record.hours)])}
<h2>By lane</h2>
{_table(["lane", *VERDICTS, "all", "pit share"], [_row(name, [row]) for name, row in _lanes(record.lanes, total)])}
<h2>Faults</h2>
{_faults(record.events)}
</main></body></html>
"""


def _named(sums: Sequence[int]) -> list[tuple[str, int]]:
    return list(zip(VERDICTS, sums, strict=True))


def _lanes(names: Sequence[str], total: Count) -> list[tuple[str, list[int]]]:
    return list(zip(names, total, strict=True))


def _hours(hours: Mapping[str, Count]) -> list[tuple[str, Count]]:
    return sorted(hours.items())


def _clock(hour: str) -> str:
    return f"{dt.datetime.fromisoformat(hour):%H:%M}"


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"


def _row(name: str, count: Count) -> list[str]:
    sums = [sum(column) for column in zip(*(count or zero(1)), strict=True)]
    pits = sums[VERDICTS.index("pit")]
    return [name, *(f"{number:,}" for number in sums), f"{sum(sums):,}", _share(pits, sum(sums))]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return "<p>Nothing was counted.</p>"
    titles = "".join(f'<th scope="col">{escape(text)}</th>' for text in head)
    lines = [
        f'<tr><th scope="row">{escape(row[0])}</th>{"".join(f"<td>{escape(text)}</td>" for text in row[1:])}</tr>'
        for row in rows
    ]
    return f"<table><thead><tr>{titles}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _bars(hours: Mapping[str, Count]) -> str:
    """Draw the number of cherries in each hour as SVG bars; the pits are dark."""
    rows = [
        (_clock(hour), sum(map(sum, count)), sum(row[VERDICTS.index("pit")] for row in count))
        for hour, count in _hours(hours)
    ]
    if not rows:
        return ""
    most, width = max(number for _, number, _ in rows) or 1, 60
    parts = []
    for place, (clock, number, pits) in enumerate(rows):
        left, tall, dark = place * width + 6, 130 * number / most, 130 * pits / most
        parts.append(
            f'<rect class="bar" x="{left}" y="{140 - tall:.1f}" width="48" height="{tall:.1f}"/>'
            f'<rect class="dark" x="{left}" y="{140 - dark:.1f}" width="48" height="{dark:.1f}"/>'
            f'<text x="{left + 24}" y="156" text-anchor="middle" font-size="14">{clock}</text>'
        )
    label = "Cherries of each hour, as in the table below; pits are dark"
    box = f'viewBox="0 0 {max(len(rows), 8) * width} 160" preserveAspectRatio="xMinYMid"'
    return f'<svg class="bars" {box} role="img" aria-label="{label}">{"".join(parts)}</svg><p>{label}.</p>'


def _faults(events: Mapping[str, int]) -> str:
    faults = sorted((name, number) for name, number in events.items() if is_fault(name) and number > 0)
    if not faults:
        return "<p>None.</p>"
    wrong = dict(EVENTS) | {name: alarm.wrong for name, alarm in ALARMS.items()}
    rows = [[name, f"{number:,}", _sentence(wrong.get(name, ""))] for name, number in faults]
    return f'<div class="faults">{_table(["event", "how often", "what it means"], rows)}</div>'


def _sentence(text: str) -> str:
    return text and text[0].upper() + text[1:].removesuffix(".") + "."
