"""Measures the savings of deltas: emulates ways to make a new model, and compares each patch with the full archive.

Nothing is trained. A retrained tensor is emulated by a permutation of its int8 values (with the same entropy), a
fine-tuned one by steps of one quantum in a tenth of its values; scales change as well. The golden logits are computed
again, so the archive differs in the same files as a real one.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import zstandard
from numpy.typing import NDArray
from onnx import numpy_helper

from pitcore.errors import PublishError, first_line
from pitcore.inference.session import INPUT, OUTPUT, open_network, session_options
from pitcore.model_card import BUNDLE_FILES, DEFAULT_BUNDLE, load_bundle
from pitcore.ota import archive
from pitcore_tools.package.patches import WORTH, candidates

DEFAULT = DEFAULT_BUNDLE
SEED = 20261125
_STAGE = re.compile(r"layer(\d+)\.")

Tensor = NDArray[Any]
Change = Callable[[np.random.Generator, Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Row:
    """One way to make a new model.

    Attributes:
        what: description of the change.
        full, compressed: size in bytes of the new archive, plain and compressed by zstd.
        zstd, bsdiff4: sizes in bytes of the patches.
        shipped: the method that the publisher keeps, or ``full``.
        peak_bytes: additional memory for applying the shipped patch.
        seconds: time for applying it on this machine.
    """

    what: str
    full: int
    compressed: int
    zstd: int
    bsdiff4: int
    shipped: str
    peak_bytes: int | None
    seconds: float | None

    def plain(self) -> dict[str, Any]:
        """Return the values for JSON."""
        return asdict(self)


def measure(directory: Path, only: str = "") -> list[Row]:
    """Make the new models and their patches, and apply each patch in a separate process.

    Args:
        directory: the base, a bundle.
        only: take the ways whose names start with this.

    Raises:
        BundleError, CardError: the base is damaged.
        PublishError: the base has no stages to retrain.
    """
    base = _packed(load_bundle(directory).directory)
    names = [tensor.name for tensor in onnx.load(directory / "model.onnx").graph.initializer]
    stages = [int(found[1]) for name in names if (found := _STAGE.match(name))]
    if not stages:
        raise PublishError(f"{directory}: its network has no layers named layerN; the table needs a ResNet")
    last = re.compile(rf"(layer{max(stages)}|fc)\b")
    ways: list[tuple[str, Callable[[str], bool], Change]] = [
        ("last layer retrained", lambda name: name.startswith("fc."), _retrained),
        ("last stage retrained", lambda name: last.match(name) is not None, _retrained),
        ("fine-tuned: +-1 on a tenth of all weights", bool, _fine_tuned),
        ("everything retrained", bool, _retrained),
    ]
    return [
        _row(what, base, _variant(directory, chosen, change)) for what, chosen, change in ways if what.startswith(only)
    ]


def table(rows: list[Row]) -> str:
    """Return the rows as a Markdown table."""
    head = (
        "| new model (emulated) | full | full, zstd | zstd patch | bsdiff4 patch | shipped | peak memory | time |",
        "|---|---:|---:|---:|---:|---|---:|---:|",
    )
    lines = []
    for row in rows:
        peak = "" if row.peak_bytes is None else f"{row.peak_bytes / 2**20:.1f} MiB"
        seconds = "" if row.seconds is None else f"{row.seconds:.2f} s"
        sizes = " | ".join(f"{size / 1e3:.0f} kB" for size in (row.full, row.compressed, row.zstd, row.bsdiff4))
        lines.append(f"| {row.what} | {sizes} | {row.shipped} | {peak} | {seconds} |")
    return "\n".join((*head, *lines))


def _row(what: str, base: bytes, full: bytes) -> Row:
    patches = candidates(base, full)
    sizes = {patch.method: len(patch.content) for patch in patches}
    compressed = len(zstandard.ZstdCompressor(level=19).compress(full))
    smallest = patches[0]
    if len(smallest.content) > WORTH * len(full):
        return Row(what, len(full), compressed, sizes["zstd"], sizes["bsdiff4"], "full", None, None)
    cost = _cost_of_applying(smallest.method, base, smallest.content, full)
    shipped = f"{smallest.method}, {100 * len(smallest.content) / len(full):.0f} %"
    return Row(
        what, len(full), compressed, sizes["zstd"], sizes["bsdiff4"], shipped, cost["peak_bytes"], cost["seconds"]
    )


def _cost_of_applying(method: str, base: bytes, patch: bytes, full: bytes) -> dict[str, Any]:
    """Apply a patch with the board's code in a separate process, and return its memory and time."""
    with tempfile.TemporaryDirectory(prefix="pitcore-deltas-") as folder:
        paths = [Path(folder) / name for name in ("base", "patch", "made")]
        paths[0].write_bytes(base)
        paths[1].write_bytes(patch)
        command = [sys.executable, "-m", "pitcore_tools.package.apply_cost", method, *map(str, paths), str(len(full))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  our own module
        if done.returncode:
            raise PublishError(f"applying the {method} patch failed: {done.stderr.strip().splitlines()[-1]}")
        if hashlib.sha256(paths[2].read_bytes()).digest() != hashlib.sha256(full).digest():
            raise PublishError(f"the {method} patch does not lead to the archive; this is a fault of this program")
        cost: dict[str, Any] = json.loads(done.stdout)
        return cost


def _variant(directory: Path, chosen: Callable[[str], bool], change: Change) -> bytes:
    """Return the archive of a bundle with changes to the chosen tensors."""
    random = np.random.default_rng(SEED)
    model = onnx.load(directory / "model.onnx")
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if chosen(tensor.name) and values.size > 1 and values.dtype in (np.int8, np.int32, np.float32):
            tensor.CopyFrom(numpy_helper.from_array(change(random, values), tensor.name))
    with tempfile.TemporaryDirectory(prefix="pitcore-variant-") as folder:
        for name in BUNDLE_FILES:
            (Path(folder) / name).write_bytes((directory / name).read_bytes())
        (Path(folder) / "model.onnx").write_bytes(model.SerializeToString())
        (Path(folder) / "golden.npz").write_bytes(_golden(directory, Path(folder) / "model.onnx"))
        card = json.loads((directory / "card.json").read_bytes())
        card["version"] = "9.9.9"
        card["files"] = {name: hashlib.sha256((Path(folder) / name).read_bytes()).hexdigest() for name in BUNDLE_FILES}
        (Path(folder) / "card.json").write_text(json.dumps(card, indent=1) + "\n")
        return _packed(load_bundle(Path(folder)).directory)


def _golden(directory: Path, model: Path) -> bytes:
    """Return the golden vectors of a changed network: the same crops with new logits."""
    with np.load(directory / "golden.npz", allow_pickle=False) as golden:
        crops = golden["crops"]
    try:
        session = open_network(str(model), session_options(1))
        logits = session.run([OUTPUT], {INPUT: crops})[0]
    except Exception as error:  # ONNX Runtime passes on any C++ exception
        raise PublishError(f"{directory}: the changed network does not run: {first_line(error)}") from error
    out = io.BytesIO()
    np.savez_compressed(out, crops=crops, logits=logits)
    return out.getvalue()


def _retrained(random: np.random.Generator, values: Tensor) -> Tensor:
    if values.dtype == np.float32:
        values = values * random.uniform(0.9, 1.1, values.shape)
        return values.astype(np.float32)
    shuffled: Tensor = random.permutation(values.ravel()).reshape(values.shape)
    return shuffled


def _fine_tuned(random: np.random.Generator, values: Tensor) -> Tensor:
    if values.dtype == np.float32:
        values = values * random.uniform(0.999, 1.001, values.shape)
        return values.astype(np.float32)
    steps = random.choice(np.array([-1, 1]), values.shape) * (random.random(values.shape) < 0.1)
    limits = np.iinfo(values.dtype)
    stepped: Tensor = np.clip(values.astype(np.int64) + steps, limits.min, limits.max).astype(values.dtype)
    return stepped


def _packed(directory: Path) -> bytes:
    out = io.BytesIO()
    archive.pack(directory, out)
    return out.getvalue()
