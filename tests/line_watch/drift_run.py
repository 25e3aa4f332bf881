"""Shows what the watch of drift does on a drawn belt: so many unchanged cherries, then both lamps at 80 %.

    python -m tests.line_watch.drift_run --seed 1 --cherries 20000

The exit code is 1 if it warned of nothing, or not within 500 cherries of the change.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import click

from pitcore.config import RuntimeConfig
from pitcore.model_card import DEFAULT_BUNDLE
from tests.conftest import write_tiny_bundle
from tests.line_belt import line_config, line_source, run_line, wrong

CHERRIES_PER_FRAME = 2.6  # single and new ones, a little less than the belt brings
WITHIN = 500
ALARMS = {"drift", "unlike_card"}  # the second only with a card that holds a reference: --bundled


def run(seed, cherries, bundle):
    """Return single cherries before the change, false alarms, and single cherries from the change to the alarm."""
    change = int(cherries / CHERRIES_PER_FRAME)
    lamps = wrong(light=(0.8, 0.8), first=change)
    frames = change + int(1.5 * WITHIN / CHERRIES_PER_FRAME)
    memory, _, _ = run_line(
        line_config(bundle, runtime=RuntimeConfig(capture_timeout_s=60.0)),
        line_source(frames, disturbance=lamps, seed=seed),
    )
    seen = [line.frame.seq for line in memory.verdicts if line.is_one_cherry]
    alarms = [event for event in memory.events if event.event in ALARMS]
    false = [event for event in alarms if event.seq < change]
    after = [event for event in alarms if event.seq >= change]
    warned = sum(change <= seq <= after[0].seq for seq in seen) if after else None
    return sum(seq < change for seq in seen), false, warned, after


def main():
    """Print one line for a seed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cherries", type=int, default=20_000)
    parser.add_argument("--bundled", action="store_true", help="the model that comes with pitcore, not a tiny one")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        bundle = DEFAULT_BUNDLE if chosen.bundled else write_tiny_bundle(Path(place) / "tiny")
        unchanged, false, warned, after = run(chosen.seed, chosen.cherries, bundle)
    click.echo(
        f"seed {chosen.seed}: {len(false)} alarms in {unchanged} unchanged cherries; lamps at 80 %: "
        + (f"warned after {warned} cherries: {after[0].detail}" if after else "no warning")
    )
    for event in false:
        click.echo(f"  false, frame {event.seq}: {event.detail}")
    sys.exit(bool(false) or warned is None or warned > WITHIN)


if __name__ == "__main__":
    main()
