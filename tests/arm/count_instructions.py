"""Counts the instructions of each stage of a frame on the emulated Arm cores, after `make test-arm`.

    python tests/arm/count_instructions.py --write docs/performance/instructions.json

Emulated time says nothing about a board, but the number of instructions is exact. Each piece is run a few times, then
a few times more; the difference is divided, so that set-up does not count. `pitcore-tools performance` makes
predictions from it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from lane import BUILD, NATIVE, ROOT_FS, SITE, build_native_tests
from machines import ARM_CORES, Machine, arm_core

from pitcore.config import Config
from pitcore.emulator.emulated import Delivery, EmulatedSource
from pitcore.loop.sources import belt_spec
from pitcore.model_card import DEFAULT_BUNDLE, load_bundle
from pitcore.preprocess.prepare import CropSpec, Preparer, SegmentSpec

HERE = Path(__file__).parent
WIDTH_PX = 2464
PLUGIN, FRAMES = BUILD / "count_plugin.so", BUILD / "frames.npy"
# Repeats of the two runs, more where a piece is short.
PIECES = {
    "search": (2, 10),
    "search-scalar": (1, 3),
    "extract": (4, 40),
    "track": (10, 110),
    "decide": (10, 110),
    "infer-1": (1, 4),
    "infer-8": (1, 3),
    "session": (0, 1),
}


def main() -> None:
    """Print, and write where asked, the instructions of every piece on every core."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--write", type=Path, help="also write them here (JSON)")
    asked.add_argument("--cores", default=",".join(ARM_CORES), help="which ones")
    options = asked.parse_args()
    build_native_tests()
    build_plugin()
    things = draw_frames()
    bundle = load_bundle(DEFAULT_BUNDLE)
    found: dict[str, object] = {"model": bundle.label, "things_per_frame": things}
    for name in options.cores.split(","):
        core = counting(arm_core(name, ROOT_FS, SITE))
        counts = {piece: per_repeat(core, [*core.python, str(HERE / "workload.py"), str(FRAMES), piece], repeats)
                  for piece, repeats in PIECES.items()}  # fmt: skip
        loop = str(NATIVE / "tests" / "native" / "pitcore_kernel_loop")
        for kind in ("mask", "sum"):
            for kernel in ("scalar", "neon"):
                counts[f"{kind} row, {kernel}"] = per_repeat(core, [*core.native, loop, kernel, kind], (1, 101))
        found[name] = counts
        print(f"{name}, {WIDTH_PX} px a row, {things} things a frame")
        for piece, count in counts.items():
            print(f"  {piece:18} {count:14,.0f}")
    if options.write is not None:
        options.write.parent.mkdir(parents=True, exist_ok=True)
        options.write.write_text(json.dumps(found, indent=1) + "\n")


def build_plugin() -> None:
    """Compile the counter for the emulator."""
    command = ["gcc", "-std=c11", "-O2", "-Wall", "-Wextra", "-shared", "-fPIC", "-o", str(PLUGIN)]
    subprocess.run([*command, str(HERE / "count_plugin.c")], check=True)


def draw_frames() -> int:
    """Draw two frames of the reference load for the emulated cores to read; return the things in the first."""
    belt = belt_spec(Config(), frames=2, ring=0)
    source = EmulatedSource(belt, Delivery())
    source.start()
    frames = []
    while (frame := source.read(1.0)) is not None:
        with frame:
            frames.append(np.stack(frame.planes))
    source.close()
    np.save(FRAMES, np.stack(frames))
    rule, (height, width) = Config().segmentation, frames[0].shape[1:]
    segment = SegmentSpec(rule.background, rule.threshold, rule.polarity, rule.combine, rule.min_area_px)
    return len(Preparer(height, width, segment, CropSpec(80, "centre", 2)).segment(tuple(frames[0])))


def counting(core: Machine) -> Machine:
    """The same core with the counter loaded."""
    emulator = [core.native[0], "-plugin", str(PLUGIN), *core.native[1:]]
    return replace(core, python=[*emulator, core.python[-1]], native=emulator)


def per_repeat(core: Machine, command: list[str], repeats: tuple[int, int]) -> float:
    """Return the instructions of one repeat."""
    few, many = (executed(core, [*command, str(number)]) for number in repeats)
    return (many - few) / (repeats[1] - repeats[0])


def executed(core: Machine, command: list[str]) -> int:
    """Return how many instructions a run executes."""
    environment = os.environ | core.environment | {"PYTHONHASHSEED": "0"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    last = (done.stderr.strip().splitlines() or ["nothing"])[-1]
    if done.returncode or not last.startswith("executed "):
        sys.exit(f"count: {' '.join(command)} failed: {done.stderr.strip()[-400:]}")
    return int(last.split()[1])


if __name__ == "__main__":
    main()
