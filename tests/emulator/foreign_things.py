"""Measures how many foreign things are judged clean: ``python -m tests.emulator.foreign_things [--crops DIR]``.

Draws leaves, pieces of stem and stones, searches each in a frame of its own, and judges it by the rules of
``[decision]`` and the bundled model at every operating point. Then the same for stricter bounds of ``min_plane_mean``,
with the share of real crops that these bounds call foreign.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from pitcore.camera.crops import labelled_files, read_crop
from pitcore.config import Config, EmulatedSourceConfig, FrameConfig
from pitcore.decision import policy
from pitcore.emulator.foreign import KINDS, render_kind
from pitcore.inference.session import Session
from pitcore.loop.searched import shapes_of
from pitcore.model_card import DEFAULT_BUNDLE, load_bundle
from pitcore.preprocess.crop_writer import CropWriter
from pitcore.preprocess.prepare import CropSpec, Preparer
from pitcore.preprocess.search_rules import segment_spec, window_of

SIDE_PX = 240
BATCH = 32
SEED = 11
BOUNDS = ((40.0, 55.0), (50.0, 70.0), (55.0, 75.0), (60.0, 80.0), (65.0, 90.0))  # of top and bottom
CONFIG = Config(frame=FrameConfig(height_px=SIDE_PX, width_px=SIDE_PX), source=EmulatedSourceConfig(advance_px=120))


@dataclass
class Thing:
    """A thing; ``shape`` is None if the search does not find it, ``p_pit`` if the network did not judge it."""

    kind: str
    shape: policy.Shape | None = None
    p_pit: float | None = None

    def doubt(self, least=CONFIG.decision.min_plane_mean):
        """Why it is not one cherry, for these bounds of ``min_plane_mean``; None if it may be one."""
        return policy.shape_reason(self.shape, msgspec.structs.replace(CONFIG.decision, min_plane_mean=least))


def drawn(count: int) -> Iterator[tuple[str, np.ndarray]]:
    """Yield so many things of each kind."""
    rng = np.random.default_rng(SEED)
    for kind in KINDS:
        for _ in range(count):
            yield kind, render_kind(kind, rng)


def real(folder: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the crops of a data set, without their black rim."""
    for label, path in labelled_files(folder):
        pixels = read_crop(path)
        rows, columns = (np.flatnonzero(pixels.any(axis=(2, axis))) for axis in (1, 0))
        yield ("clean", "pit")[label], pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def looked_at(patches: Iterable[tuple[str, np.ndarray]], session: Session | None) -> list[Thing]:
    """Search every patch, and ask the network about those that may be one cherry."""
    card = load_bundle(DEFAULT_BUNDLE).card
    window = window_of(CONFIG)
    preparer = Preparer(*window.shape, segment_spec(CONFIG, window), CropSpec(card.crop_size_px, card.resize, 2))
    writer = CropWriter(preparer, card, BATCH)
    rng = np.random.default_rng(SEED)
    found: list[Thing] = []
    asked: list[Thing] = []

    def ask() -> None:
        logits = session.run(len(asked)).tolist() if asked else []
        for thing, row in zip(asked, logits, strict=True):
            thing.p_pit = policy.pit_probability(row, card.labels, card.calibration)
        asked.clear()

    for kind, patch in patches:
        planes = np.clip(np.rint(rng.normal(6.0, 1.5, (2, SIDE_PX, SIDE_PX))), 0, 255).astype(np.uint8)
        y, x = ((SIDE_PX - side) // 2 for side in patch.shape[:2])
        there = planes[:, y : y + patch.shape[0], x : x + patch.shape[1]]
        np.maximum(there, np.moveaxis(patch, 2, 0), out=there)
        things = preparer.segment(tuple(planes))
        found.append(Thing(kind))
        if not len(things):
            continue
        largest = int(things["area"].argmax())
        found[-1].shape = shapes_of(things, 2, [largest])[0]
        if session is not None and found[-1].doubt() is None:
            writer.write(tuple(planes), np.array([largest], np.int32), session.batch[len(asked) : len(asked) + 1])
            asked.append(found[-1])
            if len(asked) == BATCH:
                ask()
    ask()
    return found


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="things of each kind (default 1000)")
    parser.add_argument("--crops", type=Path, help="real crops: a folder with cherry_clean/ and cherry_pit/")
    options = parser.parse_args()
    bundle = load_bundle(DEFAULT_BUNDLE)
    things = looked_at(drawn(options.count), Session(bundle, capacity=BATCH))
    crops = [] if options.crops is None else looked_at(real(options.crops), None)
    for kind in KINDS:
        mine = [thing for thing in things if thing.kind == kind]
        doubts = Counter("not seen" if one.shape is None else str(one.doubt()) for one in mine)
        sys.stdout.write(f"{kind}: {dict(doubts)}\n")
    for least in BOUNDS:
        cells = []
        for name, point in bundle.card.points.items():
            clean = [t for t in things if t.p_pit is not None and t.p_pit < point.thresholds.accept]
            passed = Counter(thing.kind for thing in clean if thing.doubt(least) is None)
            cells.append(f"{name} " + ", ".join(f"{kind} {passed[kind] / options.count:.1%}" for kind in KINDS))
        for label in ("clean", "pit") if crops else ():
            mine = [crop for crop in crops if crop.kind == label and crop.shape is not None]
            cells.append(f"real {label} {sum(one.doubt(least) == 'foreign' for one in mine) / len(mine):.2%} foreign")
        sys.stdout.write(f"min_plane_mean {least}: {'; '.join(cells)}\n")


if __name__ == "__main__":
    main()
