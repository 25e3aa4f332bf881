"""Runs one stage of a frame repeatedly, on an emulated core, for count_instructions.py.

python workload.py FRAMES.npy PIECE REPEATS
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from pitcore.belt.track import BeltTracker
from pitcore.config import Config
from pitcore.decision import policy
from pitcore.inference.session import Session
from pitcore.loop.pipeline import BOX
from pitcore.loop.searched import shapes_of
from pitcore.model_card import DEFAULT_BUNDLE, load_bundle
from pitcore.preprocess import _core
from pitcore.preprocess.prepare import CropSpec, Preparer, SegmentSpec, aligned_batch


def main(frames: Path, piece: str, repeats: int) -> None:
    """Set everything up, then do one piece ``repeats`` times: what is counted is the difference of two runs."""
    config, bundle = Config(), load_bundle(DEFAULT_BUNDLE)
    card, rule = bundle.card, config.segmentation
    planes = [tuple(frame) for frame in np.load(frames)]
    height, width = planes[0][0].shape
    _core.force_kernel("scalar" if piece.endswith("-scalar") else "auto")
    segment = SegmentSpec(rule.background, rule.threshold, rule.polarity, rule.combine, rule.min_area_px)
    preparer = Preparer(height, width, segment, CropSpec(card.crop_size_px, card.resize, len(card.planes)))
    out = aligned_batch(64, (card.crop_size_px, card.crop_size_px, len(card.planes)), np.uint8)
    session = Session(bundle, capacity=8) if piece != "search" else None
    things = preparer.segment(planes[0]).copy()
    chosen = np.arange(len(things), dtype=np.int32)
    logits = [[0.3, -0.2]] * len(things)
    tracker = BeltTracker(height, 0.5, config.belt.tolerance_px)
    for number in range(repeats):
        match piece.removesuffix("-scalar"):
            case "search":
                preparer.segment(planes[number % len(planes)])
            case "extract":
                preparer.extract(planes[0], chosen, out[: len(chosen)])
            case "track":
                tracker.update(number * 1000, things[BOX].tolist(), things["border"].tolist())
            case "decide":
                for row, shape in zip(logits, shapes_of(things, len(card.planes), chosen.tolist()), strict=True):
                    doubt = policy.shape_reason(shape, config.decision)
                    policy.judge(policy.probabilities(row, card.labels, card.calibration), doubt, card.thresholds)
            case "infer-1":
                session.run(1)
            case "infer-8":
                session.run(8)
            case "session":
                Session(bundle, capacity=1)
            case _:
                sys.exit(f"workload: no piece is called {piece}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
