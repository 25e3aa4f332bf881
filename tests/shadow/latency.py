"""Measures whether a candidate in shadow disturbs the belt: latency from frame to verdict, with and without one.

    python -m tests.shadow.latency --seconds 60 --turns 5     # about 17 minutes; nothing else should run

The loop judges the emulated belt at the reference load. In each turn it runs once without a candidate and once with
each share of the frames, so that whatever else the machine does falls on all; the order changes with the turn. The
candidate is a copy of the bundled model with another version.
"""

import json
import shutil
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from pitcore import machine
from pitcore.model_card import DEFAULT_BUNDLE
from pitcore.text_table import table
from tests.outputs.running import RunningService, until

WITHOUT = "no candidate"
ARMS = {WITHOUT: None, "share 1.0": 1.0, "share 0.1": 0.1}  # share of the frames that the candidate judges
WARM_UP_FRAMES = 40
BELT = """
[source]
kind = "emulated"
cherries_per_frame = 24.0
frames_per_s = 20.0
ring_frames = 24
"""
SHADOW = """
[shadow]
enabled = true
bundle = "{candidate}"
share = {share}
"""
HEAD = ("turn, arm", "frames", "median ms", "p99 ms", "p99.9 ms", "dropped", "candidate judged")


@dataclass
class Run:
    """One run of the loop, or several together.

    Attributes:
        latencies_ms: (frames,) from exposure to the end of the frame's work, its verdicts sent.
        dropped: frames that were dropped or lost.
        judged: frames that the candidate judged.
    """

    latencies_ms: np.ndarray
    dropped: int
    judged: int

    def ms(self, percent):
        return float(np.percentile(self.latencies_ms, percent))


def together(runs):
    return Run(
        np.concatenate([run.latencies_ms for run in runs]),
        sum(run.dropped for run in runs),
        sum(run.judged for run in runs),
    )


def copy_of_bundled(folder):
    """Copy the bundled model with another version, and return the copy."""
    candidate = shutil.copytree(DEFAULT_BUNDLE, folder / "candidate")
    card = json.loads((candidate / "card.json").read_text())
    (candidate / "card.json").write_text(json.dumps(card | {"version": "99.0.0"}))
    return candidate


def measure(folder, text, seconds):
    """Run the loop, and measure it once it is warm and the candidate, if ``text`` has one, judges frames.

    Args:
        folder: for files of the run.
        text: TOML of the board after the belt.
        seconds: to measure; longer until there is a frame, and one that the candidate judged.
    """
    with RunningService(folder, None, text, belt=BELT) as service:
        metrics, total, with_candidate = service.metrics, service.metrics.stages["total"], "[shadow]" in text

        def judged(since=None):
            return metrics.labels("shadow_frames", since).get("judged", 0)

        def works():
            told = service.sink("shadow")
            assert told["state"] != "failing", told["reason"]
            return judged()

        if with_candidate:
            until(works, "frame that the candidate judged: it needs a free core, and pauses while the loop is busy")
        warm = total.count + WARM_UP_FRAMES
        until(lambda: total.count >= warm, "frames")
        mark = metrics.mark()
        time.sleep(seconds)
        until(lambda: total.count > mark.stages["total"] and (judged(mark) or not with_candidate), "judged frame")
        events = metrics.labels("events", mark)
        dropped = events.get("frames_dropped", 0) + events.get("frames_lost", 0)
        return Run(total.in_order_ms()[mark.stages["total"] :], dropped, judged(mark))


def row(name, run):
    times = (f"{run.ms(percent):.2f}" for percent in (50, 99, 99.9))
    return [name, str(len(run.latencies_ms)), *times, str(run.dropped), str(run.judged)]


def ratios(runs):
    """Return lines that compare each arm with that without a candidate: over all frames, and by turn.

    Args:
        runs: by arm, a run for each turn.
    """
    lines = []
    for arm in [arm for arm in runs if arm != WITHOUT]:
        for name, percent in (("median", 50), ("p99", 99)):
            by_turn = [own.ms(percent) / other.ms(percent) for own, other in zip(runs[arm], runs[WITHOUT], strict=True)]
            all_frames = together(runs[arm]).ms(percent) / together(runs[WITHOUT]).ms(percent)
            spread = f"{min(by_turn):.3f} to {max(by_turn):.3f}, middle {statistics.median(by_turn):.3f}"
            lines.append(f"{arm}: {name} {all_frames:.3f} times that without a candidate; in a turn {spread}")
    return lines


def condition():
    """Return what may disturb the measurement, in words; what the machine does not tell is left out."""
    known = {name: value for name, value in machine.state().items() if value is not None}
    return ", ".join(f"{name} {value}" for name, value in known.items())


@click.command(help=__doc__.partition("\n")[0])
@click.option("--seconds", type=click.FloatRange(min=0.1, max=3000.0), default=60.0, help="Of each run.")
@click.option("--turns", type=click.IntRange(min=1), default=5, help="Runs of each arm.")
@click.option("--workers", type=click.IntRange(min=1), default=1, help="[runtime] workers; on a board as in its file.")
def main(seconds, turns, workers):
    """Print every run as it ends."""
    runs = {arm: [] for arm in ARMS}
    before = condition()
    with tempfile.TemporaryDirectory() as name:
        candidate = copy_of_bundled(Path(name))
        for turn in range(turns):
            first = turn % len(ARMS)
            for arm in [*ARMS, *ARMS][first : first + len(ARMS)]:
                shadow = "" if ARMS[arm] is None else SHADOW.format(candidate=candidate, share=ARMS[arm])
                folder = Path(tempfile.mkdtemp(dir=name))
                runs[arm].append(measure(folder, f"[runtime]\nworkers = {workers}\n{shadow}", seconds))
                shutil.rmtree(folder)
                click.echo("  ".join(row(f"{turn + 1}, {arm}", runs[arm][-1])))
    click.echo(table(HEAD, [row(f"all, {arm}", together(of)) for arm, of in runs.items()]))
    facts = machine.facts()
    click.echo("\n".join(ratios(runs)))
    click.echo(f"{facts['processor']}, {facts['cores']} cores, {workers} of them judge, turns of {seconds:g} s")
    click.echo(f"before: {before}\nafter: {condition()}")


if __name__ == "__main__":
    main()
