"""Counts the instructions of each kernel on an emulated Cortex-A72, after `make test-arm`.

    python tests/arm/count_instructions.py

Emulated time says nothing about a board, but the number of instructions is exact: the same row of 2464 pixels is run
once and eleven times, one instruction a step, and the difference divided by ten.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from lane import NATIVE, ROOT_FS, SITE, build_native_tests
from machines import arm_core

WIDTH_PX = 2464
PROGRAM = NATIVE / "tests" / "native" / "pitcore_kernel_loop"


def main() -> None:
    """Print instructions a row for each kernel and loop."""
    build_native_tests()
    print(f"instructions for a row of {WIDTH_PX} pixels, Cortex-A72")
    for loop in ("mask", "sum"):
        counts = {
            kernel: (executed(kernel, loop, 11) - executed(kernel, loop, 1)) / 10 for kernel in ("scalar", "neon")
        }
        ratio = counts["scalar"] / counts["neon"]
        print(f"  {loop:5} scalar {counts['scalar']:8.0f}  neon {counts['neon']:7.0f}  ratio {ratio:.1f}")


def executed(kernel: str, loop: str, repeats: int) -> int:
    """Return how many instructions a run executes."""
    core = arm_core("cortex-a72", ROOT_FS, SITE)
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        trace = ["-singlestep", "-d", "nochain,exec", "-D", str(log)]
        command = [core.native[0], *trace, *core.native[1:], str(PROGRAM), kernel, loop, str(repeats)]
        subprocess.run(command, check=True)
        with log.open("rb") as lines:
            return sum(1 for _ in lines)


if __name__ == "__main__":
    main()
