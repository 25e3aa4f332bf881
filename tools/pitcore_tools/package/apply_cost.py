"""Applies a patch and prints the memory and time; arguments: METHOD BASE PATCH MADE LENGTH.

It runs as a separate process, so that its peak memory (``VmHWM`` of Linux, reset first) is only that of the patch.
"""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path

from pitcore.ota import delta


def _memory_bytes(field: str) -> int:
    found = re.search(rf"^{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def main() -> None:
    """Apply, and print JSON."""
    method, base, patch, made, length = sys.argv[1:]
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before, started = _memory_bytes("VmRSS"), time.perf_counter()
    with Path(made).open("wb") as out:
        delta.apply(method, Path(base), Path(patch), out, int(length))
    seconds, peak = time.perf_counter() - started, _memory_bytes("VmHWM")
    json.dump({"peak_bytes": peak - before, "seconds": seconds}, sys.stdout)


if __name__ == "__main__":
    main()
