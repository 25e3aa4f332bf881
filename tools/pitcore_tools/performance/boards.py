"""Predicts the times of a board from instructions counted under emulation, multiply-accumulates and bytes."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from pitcore.config import RuntimeConfig
from pitcore.errors import DataError
from pitcore.inference.crew import piece_size
from pitcore.inference.session import SHARED_PIECE

# ncnn's int8 ResNet18, 224 px, three planes, on one core of a Raspberry Pi 5; at the processor's peak it would take
# 23.7 ms. Source: ncnn, benchmark/README.md.
NCNN_MACS, NCNN_MS = 1.82e9, 36.4


@dataclass(frozen=True, slots=True)
class Board:
    """The limits of a board.

    Attributes:
        name: name for people.
        file: file of its measured report, ``docs/performance/FILE``.
        core: name of its core in the counted instructions.
        clock_ghz: clock of a core.
        macs_per_cycle: peak int8 multiply-accumulates per cycle. Source: Arm, software optimisation guides of the cores
            (with or without dot products).
        ipc: instructions per cycle: the most that the core decodes, the expected number, and a pessimistic number.
        bytes_per_s: peak bandwidth of the memory.
    """

    name: str
    file: str
    core: str
    clock_ghz: float
    macs_per_cycle: int
    ipc: tuple[float, float, float]
    bytes_per_s: float


BOARDS = (
    Board("Raspberry Pi 5", "pi5.json", "cortex-a76", 2.4, 32, (4.0, 2.0, 1.0), 17.1e9),
    Board("Raspberry Pi 4", "pi4.json", "cortex-a72", 1.8, 8, (3.0, 1.3, 0.7), 12.8e9),
)
CORES = 4  # of both boards
MEMORY_SHARE = (1.0, 0.5, 0.25)  # share of the memory's peak for one core: best, expected, pessimistic
KERNEL_SHARE = NCNN_MACS / (2.4e9 * 32) * 1e3 / NCNN_MS  # share of the peak that good int8 kernels reach


@dataclass(frozen=True, slots=True)
class Prediction:
    """Predicted milliseconds: best, expected, and pessimistic."""

    best: float
    expected: float
    worst: float

    def __str__(self) -> str:
        return f"{self.expected:.2f} ({self.best:.2f} to {self.worst:.2f})"


def predict(board: Board, instructions: float, macs: float = 0.0, read_bytes: float = 0.0) -> Prediction:
    """Predict the time of a piece of work on one core: the slowest of decoding, multiplying and reading.

    Source: S. Williams, A. Waterman, D. Patterson, "Roofline", 2009, with a third roof for instructions.

    Args:
        board: the board.
        instructions: counted number of instructions.
        macs: int8 multiply-accumulates.
        read_bytes: bytes read from memory, not from a cache.
    """
    multiply_ms = kernel_ms(board, macs)
    multiplied = (multiply_ms * KERNEL_SHARE, multiply_ms, multiply_ms)
    return Prediction(
        *(
            max(
                instructions / (ipc * board.clock_ghz * 1e6),
                multiplying,
                read_bytes / (board.bytes_per_s * share) * 1e3,
            )
            for ipc, multiplying, share in zip(board.ipc, multiplied, MEMORY_SHARE, strict=True)
        )
    )


@dataclass(frozen=True, slots=True)
class Part:
    """The work of the busiest of several workers for a frame; the numbers are means over frames.

    Attributes:
        pieces: number of calls of the network.
        crops: number of crops in these calls.
        all_pieces: number of calls of all workers.
    """

    pieces: float
    crops: float
    all_pieces: float


def busiest(judged: float, workers: int) -> Part:
    """Return the work of the worker that ends last, if all cores are equally fast.

    Args:
        judged: average number of crops in a frame; interpolated between the two nearest integers.
        workers: number of workers, which share the crops as in ``pitcore.inference.session``.
    """
    below = math.floor(judged)
    parts = [_busiest(count, workers) for count in (below, below + 1)]
    above = judged - below
    return Part(*((1 - above) * low + above * high for low, high in zip(*map(astuple, parts), strict=True)))


def _busiest(count: int, workers: int) -> Part:
    size = RuntimeConfig().sub_batch if workers == 1 else piece_size(count, workers, SHARED_PIECE)
    pieces = [min(size, count - start) for start in range(0, count, size)]
    taken: list[list[int]] = [[] for _ in range(workers)]
    for piece in pieces:
        min(taken, key=sum).append(piece)  # the first free worker takes the next piece
    most = max(taken, key=sum)
    return Part(len(most), sum(most), len(pieces))


def predict_network(
    board: Board, counts: Mapping[str, float], net: tuple[int, int], judged: float, workers: int
) -> Prediction:
    """Predict the network's time for a frame from the busiest worker's core and the shared memory.

    The counts are of calls with 1 and with 8 crops, which give the instructions of a call and of a crop.

    Args:
        board: the board.
        counts: instructions by piece, for the board's core.
        net: multiply-accumulates of a crop, and bytes of weights. Every piece reads all weights from memory, because
            they do not fit into the caches of these boards.
        judged: number of crops in a frame.
        workers: number of workers.
    """
    macs, weight_bytes = net
    part = busiest(judged, workers)
    crop = (counts["infer-8"] - counts["infer-1"]) / 7
    call = counts["infer-1"] - crop
    return predict(board, part.pieces * call + part.crops * crop, macs * part.crops, weight_bytes * part.all_pieces)


def kernel_ms(board: Board, macs: float) -> float:
    """Return the time of the multiplications if a kernel reaches the same share of the peak as ncnn's on a Pi 5."""
    return macs / (board.clock_ghz * 1e6 * board.macs_per_cycle * KERNEL_SHARE)


def read_counts(path: Path) -> dict[str, Any]:
    """Read the counts that ``tests/arm/count_instructions.py --write`` wrote. Raises DataError."""
    try:
        counts = json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read: {error.strerror}; run `make test-arm`, then "
            f"`python tests/arm/count_instructions.py --write {path}`"
        ) from error
    except ValueError as error:
        raise DataError(f"{path}: not JSON: {error}; write it with tests/arm/count_instructions.py") from error
    missing = [board.core for board in BOARDS if board.core not in counts]
    if missing:
        raise DataError(f"{path}: has no counts of {', '.join(missing)}; write it with tests/arm/count_instructions.py")
    return dict(counts)
