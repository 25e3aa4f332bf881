"""Checks that every cherry gets a verdict, for all arrangements of cherries and advances of the belt between frames.

``python -m tests.belt.sweep`` runs all combinations and ends with exit code 1 if a cherry was missed; the test suite
runs ``REDUCED``. Drawn frames, the real search, the real tracker; no network. Each core that this process may use runs
belts of its own.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import count, product

import numpy as np

from tests.belt.clusters import ACROSS, ALONG, HEIGHT, Encoder, Layout, Outcome, lay, pass_by

SIZES = (1, 2, 3, 4, 6, 10)
ANGLES = {"along": ALONG, "across": ACROSS, "any way": None}
ADVANCES_PX = (2, 20, 100, 170, 250, 340, 400, 430, 450, 470, 480)
UNEVEN = 0  # in place of an advance: every advance from 2 to 480 px, at random
PER_FRAME = (6, 24, 48, 90)
GAPS_PX = (0.3, 2.0, 8.0)  # between clusters; noise bridges the first in some frames
ENCODERS = (Encoder(), Encoder(error_px=3), Encoder(-0.5))


@dataclass(frozen=True)
class Case:
    """One belt."""

    layout: Layout
    advance_px: int
    encoder: Encoder
    seed: int

    def run(self, frames: int) -> Outcome:
        """Run this number of frames, or more if the belt advances little."""
        chance = np.random.default_rng(self.seed)
        advances = chance.integers(2, 481, frames) if self.advance_px == UNEVEN else np.full(frames, self.advance_px)
        if advances.sum() < 2 * HEIGHT:
            advances = np.full(2 * HEIGHT // self.advance_px, self.advance_px)
        fronts = HEIGHT + np.concatenate([[0], np.cumsum(advances)])
        cherries = lay(self.layout, int(fronts[-1]), self.seed)
        return pass_by(cherries, fronts.tolist(), self.encoder, self.seed)


def cases(seeds: int) -> Iterator[Case]:
    """Yield every combination of cluster, advance and load; gaps and encoders take turns, and change with the seed."""
    advances, turns = (*ADVANCES_PX, UNEVEN), count()
    for seed, size, angle, advance, per_frame in product(range(seeds), SIZES, ANGLES.values(), advances, PER_FRAME):
        if size == 1 and angle is not None:
            continue
        turn = (next(turns) + seed) % len(GAPS_PX)
        yield Case(Layout(size, angle, per_frame, GAPS_PX[turn]), advance, ENCODERS[turn], seed)


REDUCED = tuple(
    Case(Layout(size, angle, per_frame, gap), advance, encoder, 1)
    for size, angle, advance, per_frame, gap, encoder in (
        (1, None, 340, 90, 0.3, Encoder()),
        (1, None, 480, 24, 2.0, Encoder(error_px=3)),
        (2, None, 430, 48, 2.0, Encoder(-0.5)),
        (2, None, 470, 90, 2.0, Encoder()),
        (3, None, UNEVEN, 90, 0.3, Encoder()),
        (4, ALONG, 340, 24, 2.0, Encoder()),
        (4, ALONG, 20, 24, 2.0, Encoder()),
        (6, ACROSS, 450, 90, 0.3, Encoder(error_px=3)),
        (10, ALONG, 340, 24, 2.0, Encoder()),
        (10, ALONG, 100, 90, 2.0, Encoder(-0.5)),
        (10, ALONG, UNEVEN, 48, 0.3, Encoder(error_px=3)),
        (10, None, 480, 90, 2.0, Encoder()),
    )
)


def main() -> int:
    """Run every case and print the missed cherries."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1, help="belts of each kind (default 1)")
    parser.add_argument("--frames", type=int, default=12, help="frames of each belt, at least (default 12)")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), help="processes (default: cores)")
    options = parser.parse_args()
    belts = due = missed = twice = most = 0
    every = list(cases(options.seeds))
    with ProcessPoolExecutor(options.workers) as pool:
        for case, outcome in zip(every, pool.map(partial(Case.run, frames=options.frames), every), strict=True):
            belts, due, missed = belts + 1, due + outcome.due, missed + len(outcome.missed)
            twice, most = twice + outcome.twice, max(most, outcome.most_spans)
            if outcome.missed:
                sys.stdout.write(f"missed {len(outcome.missed)} of {outcome.due}: {case}\n")
                sys.stdout.flush()
    sys.stdout.write(
        f"{belts} belts, {due} cherries: {missed} without a verdict, {twice} ({twice / max(1, due):.2%}) with two or "
        f"more; the tracker held at most {most} spans\n"
    )
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
