"""Formats a benchmark as a dictionary for programs and as text for people."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pitcore.bench.noise import blocks, compare
from pitcore.bench.run import DEADLINE_MS, MEMORY_EVERY_FRAMES, Sample
from pitcore.errors import ConfigError
from pitcore.metrics import PARTS, STAGES
from pitcore.output_path import Kind
from pitcore.text_table import table

SCHEMA = "pitcore.bench/1"
KIND = Kind("a report of pitcore-bench", (b'{\n "schema": "pitcore.bench/',))
PERCENTILES = (50.0, 90.0, 99.0, 99.9, 100.0)
BAR, BINS = "#", 12


def facts_of(sample: Sample) -> dict[str, Any]:
    """Return all results of a run as values that JSON can encode."""
    total = sample.stage_ms["total"]
    stages = {name: _stage(sample.stage_ms[name]) for name in (*STAGES, *PARTS)}
    return {
        "load": {"cherries_in_view": sample.load.cherries, "frames_per_s": sample.load.frames_per_s},
        "frames": {
            "measured": sample.frames,
            "offered": sample.offered,
            "processed": sample.processed,
            "dropped": sample.dropped,
        },
        "crops_per_frame": sample.crops / max(1, sample.frames),
        "frames_per_s": sample.frames / sample.wall_s,
        "crops_per_s": sample.crops / sample.wall_s,
        "cpu_ms_per_frame": sample.cpu_s * 1e3 / max(1, sample.frames),
        "wall_ms_per_frame": sample.wall_s * 1e3 / max(1, sample.frames),
        "without_network_ms": _stage(sample.busy_ms - sample.stage_ms["infer"]),
        "within_deadline": float((total <= DEADLINE_MS).mean()),
        "deadline_ms": DEADLINE_MS,
        "rss_mb": {
            "start": sample.rss_mb[0],
            "end": sample.rss_mb[-1],
            "highest": max(sample.rss_mb),
            "per_1000_frames": _slope(sample.rss_mb),
            "emulator_ring": sample.ring_mb,
        },
        "stages_ms": stages,
    }


def text(content: dict[str, Any], total_ms: NDArray[np.float64]) -> str:
    """Return the report that ``pitcore-bench`` prints."""
    run, machine = content["run"], content["machine"]
    frames, memory = run["frames"], run["rss_mb"]
    stages = {**run["stages_ms"], "all but infer": run["without_network_ms"]}
    rows = [[_indented(name), *(f"{value:.3f}" for value in stages[name]["percentiles"])] for name in _ordered(stages)]
    lines = [
        (
            f"{machine['processor']}, {machine['cores']} cores, onnxruntime {machine['onnxruntime']}, "
            f"kernel {machine['kernel']}, model {content['model']}, {content['workers']} workers"
        ),
        (
            f"{content['load']}: {frames['measured']} frames, {run['crops_per_frame']:.1f} crops a frame for the "
            f"network; {frames['dropped']} dropped"
        ),
        "",
        table(["ms a frame", "p50", "p90", "p99", "p99.9", "max"], rows),
        "",
        histogram(total_ms),
        "",
        f"  throughput     {run['frames_per_s']:.1f} frames/s, {run['crops_per_s']:.0f} cherries/s",
        f"  processor      {run['cpu_ms_per_frame']:.2f} ms of all threads a frame",
        f"  deadline       {run['within_deadline']:.3%} of frames within {run['deadline_ms']:.0f} ms",
        (
            f"  memory         {memory['end']:.0f} MB resident, of them {memory['emulator_ring']:.0f} MB the "
            f"emulator's frames; {memory['per_1000_frames']:+z.2f} MB in 1000 frames"
        ),
    ]
    if content["once"]:
        once = content["once"]
        lines += [
            (
                f"  allocations    a frame holds {once['allocation_peak_kb']:.0f} kB at most, and leaves "
                f"{once['allocation_kept_bytes']:.0f} bytes"
            ),
            f"  cold start     {once['cold_start_ms']:.0f} ms from nothing to the first verdict",
            f"  new model      {once['swap_ms']:.0f} ms to load and prove",
        ]
    return "\n".join([*lines, *_quiet(content["before"], content["after"])])


def histogram(durations: NDArray[np.float64]) -> str:
    """Draw the histogram of (frames,) durations in ms up to p99.9; the last line counts longer ones."""
    top = float(np.percentile(durations, 99.9))
    counts, edges = np.histogram(durations[durations <= top], bins=BINS)
    widest = max(1, int(counts.max()))
    lines = [
        f"  {low:8.2f} ms  {BAR * round(40 * count / widest):40}  {count}"
        for count, low in zip(counts.tolist(), edges[:-1].tolist(), strict=True)
    ]
    longer = int((durations > top).sum())
    return "\n".join([*lines, f"  above {top:.2f} ms: {longer}"])


def comparison(old: dict[str, Any], new: dict[str, Any]) -> tuple[str, bool]:
    """Compare two reports, stage by stage.

    Returns:
        The text, and True if some stage is slower.

    Raises:
        ConfigError: ``old`` is not a report, or is of another load.
    """
    if old.get("schema") != SCHEMA:
        raise ConfigError(f"--compare: no report of schema {SCHEMA}; write one with pitcore-bench --json FILE")
    for key in ("load", "workers"):
        if old[key] != new[key]:
            raise ConfigError(f"--compare: the old report has {key} {old[key]}, this one {new[key]}; measure the same")
    rows, slower = [], False
    for name in _ordered(new["run"]["stages_ms"]):
        change = compare(old["run"]["stages_ms"][name]["blocks"], new["run"]["stages_ms"][name]["blocks"])
        slower |= change.verdict == "slower"
        low, high = change.interval
        rows.append([_indented(name), f"{change.ratio:.3f}", f"{low:.3f}-{high:.3f}", change.verdict])
    lines = [table(["new over old", "ratio", "95 %", "verdict"], rows)]
    different = [key for key, value in new["machine"].items() if old["machine"].get(key) != value]
    if different:
        lines.append("  measured differently: " + "; ".join(
            f"{key} {old['machine'].get(key)} then, {new['machine'][key]} now" for key in different
        ))  # fmt: skip
    return "\n".join(lines), slower


def _stage(durations: NDArray[np.float64]) -> dict[str, Any]:
    percentiles = np.percentile(durations, PERCENTILES).tolist() if len(durations) else [0.0] * len(PERCENTILES)
    return {"percentiles": percentiles, "blocks": blocks(durations)}


def _slope(rss_mb: list[float]) -> float:
    """Return the growth in MB per 1000 frames, by least squares over the second half, when all buffers exist."""
    late = np.array(rss_mb[len(rss_mb) // 2 :])
    if len(late) < 3:
        return 0.0
    return float(np.polyfit(np.arange(len(late)) * MEMORY_EVERY_FRAMES, late, 1)[0] * 1000)


def _ordered(stages: dict[str, Any]) -> list[str]:
    """Return the names of the stages in order; the parts of prepare come after it."""
    names = [name for name in stages if name not in PARTS]
    at = names.index("prepare") + 1
    return names[:at] + list(PARTS) + names[at:]


def _indented(name: str) -> str:
    return f"  {name}" if name in PARTS else name


def _quiet(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Return lines on load, clock, temperature and throttling of the machine during the run."""
    load = f"load average {before['load_average_1min']:.2f} before"
    if before["steal_s"] is not None:
        load += f", {after['steal_s'] - before['steal_s']:.1f} s stolen by other machines"
    lines = [f"  the machine    {load}"]
    for key, unit in (("clock_mhz", "MHz"), ("temperature_c", "degrees C"), ("governor", "")):
        if after[key] is not None:
            lines.append(f"  {key.split('_')[0]:14} {before[key]} before, {after[key]} after {unit}".rstrip())
    if after["throttled"] is not None:
        lines.append(f"  throttled      {', '.join(after['throttled']) or 'never'}")
    return lines
