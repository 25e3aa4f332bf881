"""Runs the pieces through Ray Data, or in a plain loop, and stores each result at once.

Only this process writes. A result is written atomically under the id of its piece. So a killed run continues where it
was, a piece that Ray judged twice counts once, and results may arrive in any order.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from pitcore.durable import replace_file
from pitcore.errors import DataError
from pitcore.machine import usable_cores
from pitcore_tools.rescore.judge import Judge, Result
from pitcore_tools.rescore.pieces import Piece

FOLDER = "pieces"
PLAIN_NODE = "plain loop"


def path_of(output: Path, piece: Piece) -> Path:
    """Return the path of the result of a piece."""
    return output / FOLDER / f"{piece.id}.msgpack"


def missing(output: Path, pieces: Sequence[Piece]) -> list[Piece]:
    """Return the pieces without a result."""
    have = {path.name for path in (output / FOLDER).glob("*.msgpack")}
    return [piece for piece in pieces if path_of(output, piece).name not in have]


def keep(output: Path, results: Iterator[Result], done: Callable[[Result], None]) -> None:
    """Write each result. Raises OSError."""
    (output / FOLDER).mkdir(parents=True, exist_ok=True)
    for result in results:
        if result.bad is None:  # the next run tries a piece that could not be read again
            replace_file(output / FOLDER / f"{result.id}.msgpack", partial(_write, msgspec.msgpack.encode(result)))
        done(result)


def _write(raw: bytes, file: BinaryIO) -> None:
    file.write(raw)


def load(output: Path, piece: Piece) -> Result | None:
    """Return the result of a piece; None if there is none."""
    try:
        return msgspec.msgpack.decode(path_of(output, piece).read_bytes(), type=Result)
    except FileNotFoundError:
        return None


def run_plain(pieces: Sequence[Piece], content: dict[str, bytes]) -> Iterator[Result]:
    """Judge the pieces one after the other in this process."""
    judge = Judge(content)
    for piece in pieces:
        yield judge.judge(piece, PLAIN_NODE)


class _RayJudge:
    """The actor of Ray Data: a ``Judge``, and the name of its machine."""

    def __init__(self, content: dict[str, bytes]) -> None:
        import ray  # noqa: PLC0415  optional

        self._judge, self._node = Judge(content), str(ray.get_runtime_context().get_node_id())[:8]

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[bytes]]:
        results = [self._judge.judge(msgspec.json.decode(raw, type=Piece), self._node) for raw in batch["piece"]]
        return {"result": [msgspec.msgpack.encode(result) for result in results]}


def run_ray(
    pieces: Sequence[Piece], content: dict[str, bytes], address: str | None, workers: int | None
) -> Iterator[Result]:
    """Judge the pieces through Ray Data, and yield the results as they arrive.

    Args:
        pieces: at least one piece.
        content: files of the bundle, by name.
        address: address of a running cluster; None starts one on this machine for this run.
        workers: number of judges with one core each; None takes all cores of the cluster.

    Raises:
        DataError: Ray is not installed, or the cluster does not answer.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # otherwise Ray sends usage data to its makers
    try:
        import ray  # noqa: PLC0415  optional
        import ray.data  # noqa: PLC0415
    except ImportError as error:
        raise DataError("Ray is not installed: pip install 'pitcore-tools[rescore]', or give --plain") from error
    try:
        if address is None:
            ray.init(num_cpus=workers or usable_cores(), include_dashboard=False, log_to_driver=False)
        else:
            ray.init(address=address, log_to_driver=False)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise DataError(f"{address or 'Ray'}: no cluster answers: {error}; give the address of `ray start`") from error
    try:
        ray.data.DataContext.get_current().enable_progress_bars = False
        cores = workers or int(ray.cluster_resources().get("CPU", 1))
        rows = [{"piece": msgspec.json.encode(piece)} for piece in pieces]
        judged = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            _RayJudge,
            fn_constructor_args=(content,),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=max(1, min(cores, len(rows)))),
            scheduling_strategy="SPREAD",
            num_cpus=1,
        )
        for row in judged.iter_rows():
            yield msgspec.msgpack.decode(row["result"], type=Result)
    finally:
        ray.shutdown()
