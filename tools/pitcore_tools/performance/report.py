"""Formats the roofline and the predictions as tables."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np

from pitcore import machine
from pitcore.bench import report as bench
from pitcore.config import Config, EmulatedSourceConfig
from pitcore.errors import DataError
from pitcore.model_card import Bundle
from pitcore_tools.documents import markdown
from pitcore_tools.performance.boards import (
    BOARDS,
    CORES,
    Board,
    Prediction,
    busiest,
    kernel_ms,
    predict,
    predict_network,
)
from pitcore_tools.performance.roofline import SIDE, Layer, Reached
from pitcore_tools.reference import BATCH


def roofline(reached: Reached, layers: Sequence[Layer]) -> str:
    """Return the limits of this machine, and the shares of them that are reached."""
    facts, can = machine.facts(), reached.machine
    macs = sum(layer.macs for layer in layers) * BATCH
    read_ms, multiply_ms = reached.frame_bytes / can.bytes_per_s * 1e3, macs / can.macs_per_s * 1e3
    rows = [
        [f"find and cut out {reached.things:.0f} things", f"{reached.frame_bytes / 1e6:.2f} MB to read",
         f"{read_ms:.3f}", f"{reached.search_ms:.3f}", f"{read_ms / reached.search_ms:.0%}"],
        [f"judge {BATCH} crops", f"{macs / 1e9:.2f} GMAC",
         f"{multiply_ms:.2f}", f"{reached.network_ms:.2f}", f"{multiply_ms / reached.network_ms:.0%}"],
    ]  # fmt: skip
    said = (
        f"{facts['processor']}, pitcore's kernel {facts['kernel']}, onnxruntime {facts['onnxruntime']}; load average "
        f"{os.getloadavg()[0]:.1f} at the end. One core copies {can.bytes_per_s / 1e9:.1f} GB/s, read and written, "
        f"from a ring larger than the caches, and does {can.macs_per_s / 1e9:.0f} GMAC/s in int8 (two matrices "
        f"of {SIDE} x {SIDE})."
    )
    head = ["on one core", "needs", "ms at the roof", "ms taken", "of the roof"]
    return "\n\n".join([said, markdown(head, rows), _layer_table(layers, can.macs_per_s)])


def boards(counts: Mapping[str, Any], bundle: Bundle, layers: Sequence[Layer], config: Config, folder: Path) -> str:
    """Return the predictions, beside the reports of real boards in ``folder``.

    Raises:
        DataError: the instructions were counted with another model, or a board's report cannot be read.
    """
    if counts["model"] != bundle.label:
        raise DataError(
            f"the instructions were counted with {counts['model']}, not with this {bundle.label}; "
            "run `make test-arm`, then tests/arm/count_instructions.py --write"
        )
    macs = sum(layer.macs for layer in layers)
    net = macs, sum(layer.weights for layer in layers)  # one byte for each weight
    return "\n\n".join(
        f"{_board_text(board, counts, macs, config, measured(folder / board.file))}\n\n"
        f"{_workers_text(board, counts, net)}"
        for board in BOARDS
    )


def measured(path: Path) -> dict[str, Any] | None:
    """Return a board's report of ``pitcore-bench --json``; None if there is none. Raises DataError."""
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not a report of a board: {error}; write it with pitcore-bench --json") from error
    if not isinstance(content, dict) or content.get("schema") != bench.SCHEMA:
        raise DataError(f"{path}: not a report of schema {bench.SCHEMA}; write it with pitcore-bench --json")
    return dict(content["run"])


def stages(counts: Mapping[str, float], things: int, load: tuple[float, float]) -> dict[str, float]:
    """Return the instructions of each stage of a frame.

    Args:
        counts: instructions of one core by piece; all but search and network are for ``things`` things.
        things: number of things in the counted frame.
        load: cherries in view, and crops for the network.
    """
    in_view, judged = load
    return {
        "search": counts["search"],
        "track": counts["track"] / things * in_view,
        "extract": counts["extract"] / things * judged,
        "infer": counts["infer-8"] / 8 * judged,
        "decide": counts["decide"] / things * judged,
    }


def _board_text(
    board: Board, counts: Mapping[str, Any], macs: int, config: Config, run: Mapping[str, Any] | None
) -> str:
    in_view, judged = load = _load(run)
    frame_bytes = len(config.frame.planes) * config.frame.height_px * config.frame.width_px
    multiplied, read = {"infer": macs * judged}, {"search": frame_bytes}
    instructions = stages(counts[board.core], counts["things_per_frame"], load)
    predictions = {
        name: predict(board, count, multiplied.get(name, 0.0), read.get(name, 0.0))
        for name, count in instructions.items()
    }
    whole = Prediction(*np.sum([astuple(one) for one in predictions.values()], axis=0))
    took = {name: run["stages_ms"][name]["percentiles"][0] for name in predictions} if run is not None else {}
    rows = [
        [name, f"{instructions[name] / 1e6:.2f}", str(prediction), f"{took[name]:.2f}" if took else ""]
        for name, prediction in predictions.items()
    ]
    sums = [f"{sum(instructions.values()) / 1e6:.2f}", str(whole), f"{sum(took.values()):.2f}" if took else ""]
    head = ["stage", "million instructions", "ms predicted (best to worst)", "ms measured"]
    return "\n\n".join([
        f"**{board.name}**, one core, a frame with {in_view:.0f} cherries in view, {judged:.1f} of them judged",
        markdown(head, [*rows, ["together", *sums]]),
        (
            f"A verdict costs {whole.expected / judged:.2f} ms of one core, {1e3 * judged / whole.expected:.0f} a "
            "second. By multiplications alone, at the share of the peak that ncnn's kernels reach on a Pi 5, the "
            f"network would take {kernel_ms(board, macs * judged):.1f} ms."
        ),
    ])  # fmt: skip


def _workers_text(board: Board, counts: Mapping[str, Any], net: tuple[int, int]) -> str:
    """Predict a frame of the reference load on 1 to 4 workers; everything except the network runs on one core."""
    load, frames_per_s = _load(None), EmulatedSourceConfig().frames_per_s
    judged, mine = load[1], counts[board.core]
    instructions = stages(mine, counts["things_per_frame"], load)
    others = [predict(board, count) for name, count in instructions.items() if name != "infer"]
    rows, budget_ms = [], 0.0
    for workers in range(1, CORES + 1):
        network = predict_network(board, mine, net, judged, workers)
        whole = Prediction(*np.sum([astuple(one) for one in (*others, network)], axis=0))
        crops = busiest(judged, workers).crops
        rows.append([
            str(workers), f"{crops:.1f}", str(whole), f"{1e3 * judged / whole.expected:.0f}",
            f"{whole.expected * frames_per_s / 1e3:.0%}",
        ])  # fmt: skip
        if workers == CORES - 1:
            budget_ms = (1e3 / frames_per_s - sum(one.expected for one in others)) / crops
    head = ["workers", "cherries of the busiest", "ms a frame predicted (best to worst)", "verdicts a second"]
    return "\n\n".join([
        f"The same frame on several cores of a {board.name}, all but the network on one of them:",
        markdown([*head, f"of the frame time at {frames_per_s:g} frames/s"], rows),
        (
            f"On {CORES - 1} workers the reference load is kept by a network that takes at most {budget_ms:.1f} ms a "
            "cherry."
        ),
    ])  # fmt: skip


def _load(run: Mapping[str, Any] | None) -> tuple[float, float]:
    """Return cherries in view and crops for the network in a frame: of the report, or of the reference load."""
    if run is not None:
        return run["load"]["cherries_in_view"], run["crops_per_frame"]
    belt, frame = EmulatedSourceConfig(), Config().frame
    return belt.cherries_per_frame, belt.cherries_per_frame * belt.advance_px / frame.height_px


def _layer_table(layers: Sequence[Layer], macs_per_s: float) -> str:
    """Return the table of layers, summed by stage of the network."""
    groups: dict[str, list[Layer]] = {}
    for layer in layers:
        groups.setdefault(_group(layer), []).append(layer)
    whole_ms = sum(layer.ms for layer in layers)
    rows = []
    for name, members in groups.items():
        macs, ms = sum(layer.macs for layer in members), sum(layer.ms for layer in members)
        reach = macs * BATCH / (ms / 1e3)
        rows.append([
            name, f"{macs / 1e6:.1f}", f"{sum(layer.weights for layer in members) / 1e3:.0f}", f"{ms:.2f}",
            f"{ms / whole_ms:.0%}", f"{reach / 1e9:.0f}" if macs else "", f"{reach / macs_per_s:.0%}" if macs else "",
        ])  # fmt: skip
    head = [
        "part of the network",
        "MMAC a crop",
        "kB of weights",
        f"ms for {BATCH} crops",
        "of the time",
        "GMAC/s",
        "of the roof",
    ]
    return markdown(head, rows)


def _group(layer: Layer) -> str:
    return layer.name.split("/")[0].split(".")[0] if layer.macs else "sums, pooling, the rest"
