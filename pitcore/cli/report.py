"""Prints the report of ``demo`` and ``replay``, and opens their verdict file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import click

from pitcore.cli.picture import Snapshot
from pitcore.durable import replace_file
from pitcore.emulator.scoring import Score
from pitcore.errors import OutputError
from pitcore.frame import Frame
from pitcore.metrics import Metrics
from pitcore.output_path import VERDICT_FILE, cannot_be_written, try_file
from pitcore.sinks.jsonl import JsonlSink
from pitcore.text_table import confusion_table, event_lines, stage_table, table
from pitcore.verdict import VERDICTS

NO_ROTATION = 1 << 40  # one run, one file


@dataclass(slots=True)
class Watcher:
    """Observes every searched frame: records its tick, moves the progress bar, and copies one for a picture.

    Attributes:
        tell: called for each frame.
        keep_at: number of the frame to copy; -1 copies none.
        ticks: of all frames seen.
        kept: the copy.
    """

    tell: Callable[[], None]
    keep_at: int = -1
    ticks: list[int] = field(default_factory=list)
    kept: Snapshot | None = None

    def see(self, frame: Frame) -> None:
        """Look at a frame while it is lent."""
        if self.keep_at >= 0 and (self.kept is None or len(self.ticks) == self.keep_at):
            # a copy, since the frame goes back to its source long before the picture is drawn
            self.kept = Snapshot(frame.seq, frame.tick, tuple(plane.copy() for plane in frame.planes))
        self.ticks.append(frame.tick)
        self.tell()


def fresh_file(path: Path, metrics: Metrics) -> JsonlSink:
    """Open an empty verdict file for one run. Raises OutputError, SinkError."""
    try_file(path, VERDICT_FILE, makes_folders=True)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, lambda _file: None)  # empty
    except OSError as error:
        raise OutputError(cannot_be_written(path, error)) from error
    return JsonlSink(path, rotate_bytes=NO_ROTATION, keep=1, metrics=metrics)


def print_score(found: Score, metrics: Metrics) -> None:
    """Print frames, and the verdicts against the truth."""
    click.echo(f"{_frames_line(metrics)}; {found.due} cherries must have one verdict each")
    click.echo(f"missed {len(found.misses)}, judged twice {len(found.doubles)}, nothing there {len(found.stray)}\n")
    click.echo(f"{sum(found.confusion.values())} things have one verdict each:\n")
    click.echo(confusion_table(found.confusion))


def print_counts(metrics: Metrics) -> None:
    """Print frames and verdicts, if the truth is not known."""
    click.echo(f"{_frames_line(metrics)}\n")
    counts = metrics.labels("verdicts")
    click.echo(table(["verdict", "count"], [[name, str(counts.get(name, 0))] for name in VERDICTS]))


def print_run(metrics: Metrics) -> None:
    """Print reasons, events and the latency of each stage."""
    for line in event_lines(metrics):
        click.echo(line)
    click.echo("\n" + stage_table(metrics))
    click.echo("  capture is the time to draw or read a frame; total excludes it")


def _frames_line(metrics: Metrics) -> str:
    return f"{metrics.value('frames')} frames, {metrics.value('events', 'frames_dropped')} dropped"
