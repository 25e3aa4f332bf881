"""Formats the results of the peer benchmark as tables."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pitcore import machine
from pitcore_tools.documents import markdown
from pitcore_tools.peers.run import COPY, OPENVINO, OURS, PRODUCTION, Question
from pitcore_tools.timing import ratio

MIN_SEARCH, MAX_COPIES, MIN_PRODUCTION, MIN_OPENVINO = 4.0, 8.0, 40.0, 3.0


def text(questions: Sequence[Question], versions: Mapping[str, str]) -> str:
    """Return every table and the bars, as Markdown."""
    facts, load = machine.facts(), os.getloadavg()[0]
    said = ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
    parts = [
        (
            f"{facts['processor']}, {facts['cores']} cores; pitcore's kernel {facts['kernel']}; {said}; "
            f"load average {load:.1f} at the end. Medians; ratios are medians over rounds with their 95 % interval."
        )
    ]
    for question in questions:
        parts += [f"**{question.heading}**", _table(question)]
        parts += [
            *([question.note] if question.note else []),
            *(f"{name}: {why}" for name, why in question.absent.items()),
        ]
    return "\n\n".join([*parts, bars(questions)])


def bars(questions: Sequence[Question]) -> str:
    """Return the required and the measured ratios with one thread, for the measured questions."""
    rows = []
    for question in questions:
        ours = question.times[question.base].wall_ms
        searches = {name: timed.wall_ms for name, timed in question.times.items() if name.startswith("OpenCV ")}
        if COPY in question.times:
            fastest = min(searches, key=lambda name: float(np.median(searches[name])))
            default = next(name for name in searches if "default, 32" in name)
            rows += [
                [
                    f"search: times {fastest}, the fastest",
                    f">= {MIN_SEARCH:g}",
                    str(ratio(searches[fastest], ours)),
                ],
                [f"search: times {default}", "", str(ratio(searches[default], ours))],
                ["search: times a plain copy", f"<= {MAX_COPIES:g}", str(ratio(ours, question.times[COPY].wall_ms))],
            ]
        for name, bar in ((PRODUCTION, MIN_PRODUCTION), (OPENVINO, MIN_OPENVINO)):
            if name in question.times and question.base == OURS:
                wanted = f">= {bar:g}" if question.threads == 1 else ""
                rows.append(
                    [f"{question.heading}: times {name}", wanted, str(ratio(question.times[name].wall_ms, ours))]
                )
    return markdown(["bar", "wanted", "came"], rows)


def facts_of(questions: Sequence[Question], versions: Mapping[str, str]) -> dict[str, Any]:
    """Return the times of every round for programs."""
    return {
        "schema": "pitcore.peers/1",
        "machine": machine.facts(),
        "versions": dict(versions),
        "questions": [
            {
                "title": question.title,
                "threads": question.threads,
                "base": question.base,
                "unit": question.unit,
                "absent": question.absent,
                "wall_ms": {name: timed.wall_ms.tolist() for name, timed in question.times.items()},
                "cpu_ms": {name: timed.cpu_ms.tolist() for name, timed in question.times.items()},
            }
            for question in questions
        ],
    }


def _table(question: Question) -> str:
    base = question.times[question.base]
    rows = [
        [name, f"{np.median(timed.wall_ms):.3f}", f"{np.median(timed.cpu_ms):.3f}",
         "" if name == question.base else str(ratio(timed.wall_ms, base.wall_ms))]
        for name, timed in question.times.items()
    ]  # fmt: skip
    head = ["", f"ms a {question.unit}", "of the processor, ms", f"times {question.base.split(':')[0]} [95 %]"]
    return markdown(head, rows)
