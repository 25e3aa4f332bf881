"""Reads processor, clock, temperature, throttling and load of the machine. Unknown values are None."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from pitcore import __version__
from pitcore.preprocess import _core

CPU = Path("/sys/devices/system/cpu/cpu0/cpufreq")
THERMAL = Path("/sys/class/thermal/thermal_zone0/temp")
# Raspberry Pi firmware. Source: raspberrypi.com, documentation of `vcgencmd get_throttled`.
THROTTLED = Path("/sys/devices/platform/soc/soc:firmware/get_throttled")
THROTTLE_BITS = {
    0: "under-voltage now",
    1: "clock capped now",
    2: "throttled now",
    3: "soft heat limit now",
    16: "under-voltage has been",
    17: "clock has been capped",
    18: "throttling has been",
    19: "soft heat limit has been",
}


def thread_cpu_s(native_id: int) -> float:
    """Return the processor time that a thread of this process used so far, in s; 0 if it ended.

    Source: Documentation/scheduler/sched-stats.rst; proc(5), in steps of 10 ms, where the kernel keeps no such account.
    """
    task = Path(f"/proc/self/task/{native_id}")
    try:
        return int((task / "schedstat").read_bytes().split()[0]) / 1e9
    except FileNotFoundError:
        pass
    try:
        fields = (task / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def facts() -> dict[str, Any]:
    """Return what does not change while a benchmark runs."""
    return {
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "system": platform.platform(),
        "python": platform.python_version(),
        "pitcore": __version__,
        "numpy": np.__version__,
        "onnxruntime": ort.__version__,
        "kernel": _core.active_kernel(),
    }


def state() -> dict[str, Any]:
    """Return what may change: asked before and after."""
    heat, bits = _number(THERMAL), _throttled()
    clock = _number(CPU / "scaling_cur_freq")
    return {
        "clock_mhz": None if clock is None else clock / 1000,
        "governor": _text(CPU / "scaling_governor"),
        "temperature_c": None if heat is None else heat / 1000,
        "throttled": None if bits is None else [text for bit, text in THROTTLE_BITS.items() if bits >> bit & 1],
        "load_average_1min": os.getloadavg()[0],
        "steal_s": _steal_s(),
    }


def memory_mb() -> tuple[float, float]:
    """Return resident memory of this process now, and at its highest, in MB."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines())
    now, peak = (int(lines[key].split()[0]) / 1000 * 1.024 for key in ("VmRSS", "VmHWM"))
    return now, peak


def _processor() -> str:
    """Name of the processor, or of the board where Linux knows that only."""
    for line in (_text(Path("/proc/cpuinfo")) or "").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return (_text(Path("/proc/device-tree/model")) or platform.machine()).strip("\0")


def _throttled() -> int | None:
    text = _text(THROTTLED)
    return None if text is None else int(text, 16)


def _steal_s() -> float | None:
    """Time that a hypervisor gave to others, all cores together."""
    first = (_text(Path("/proc/stat")) or "").split("\n", 1)[0].split()
    return int(first[8]) / os.sysconf("SC_CLK_TCK") if len(first) > 8 else None


def _number(path: Path) -> int | None:
    text = _text(path)
    return None if text is None else int(text)


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))
