"""A model bundle, ready to run.

Loads the network of a verified bundle into ONNX Runtime, checks that its input and output are what the
card says, proves it on the golden vectors, and runs batches in pieces of at most ``sub_batch`` crops into
memory it allocated once. Several workers share the pieces. It neither prepares crops nor interprets logits.

Subnormal numbers: ONNX Runtime's workers must flush them, and its own option does so on x86 only. On
Arm a thread inherits the mode of its creator, so the session is created under our guard, with the
option set as well. The crew's threads, the caller's among them, run under the guard too.
"""

from __future__ import annotations

import platform
import re
import weakref
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from pitcore.errors import BundleError, first_line
from pitcore.inference.crew import Crew, piece_size
from pitcore.model_card import Bundle, unread
from pitcore.preprocess._core import FlushToZero, int8_products_saturate
from pitcore.preprocess.prepare import aligned_batch

INPUT, OUTPUT = "crops", "logits"
SHARED_PIECE = 4  # crops in a piece that several workers share, at most: a worker that is held up leaves the rest
GOLDEN_TOLERANCE = 1e-3  # in logits. int8 graphs agree to the bit between machines; float ones to about 1e-6


def session_options(threads: int) -> ort.SessionOptions:
    """Return the options every session of pitcore runs with."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle cores stay cool
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    if int8_products_saturate():  # half the speed, and only so the verdicts of every other machine
        options.add_session_config_entry("session.x64quantprecision", "1")
    return options


def open_network(source: str | bytes, options: ort.SessionOptions) -> ort.InferenceSession:
    """Load a network under the guard, which leaves the calling thread's mode as it was: ONNX Runtime changes it.

    Args:
        source: path of the network, or its content.
        options: of the session.

    Raises:
        Exception: of ONNX Runtime; it cannot be loaded.
    """
    with FlushToZero():
        return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])


class Session:
    """One loaded model. Used by one thread at a time.

    Args:
        bundle: verified by ``load_bundle``.
        capacity: crops the input batch holds.
        threads: ONNX Runtime's threads in one call; it splits each layer.
        sub_batch: crops in one call at most.
        workers: threads that share a batch, the caller's included. Logits are equal to the bit for any number.

    Attributes:
        batch: (capacity, S, S, P) or (capacity, P, S, S), uint8 or float32 as the card says, 64-byte
            aligned. The caller writes crops here.

    Raises:
        BundleError: its card wants a newer runtime, or the network does not load, does not fit its card, or fails its
            golden vectors.
    """

    def __init__(
        self, bundle: Bundle, *, capacity: int, threads: int = 1, sub_batch: int = 16, workers: int = 1
    ) -> None:
        self.bundle = bundle
        _check_runtime(bundle)
        self._workers, self._most = workers, sub_batch if workers == 1 else min(sub_batch, SHARED_PIECE)
        self._crew = Crew(workers)
        weakref.finalize(self, self._crew.stop)
        self._session = _load(bundle.model_path, threads)
        self._check_contract()
        card = bundle.card
        self.batch = aligned_batch(capacity, card.batch_shape, np.dtype(card.dtype))
        self._logits = np.zeros((capacity, len(card.labels)), dtype=np.float32)
        self._bindings: dict[tuple[int, int], ort.IOBinding] = {}
        self._prove()

    def run(self, count: int) -> NDArray[np.float32]:
        """Run the network over the first ``count`` crops of ``batch``.

        Returns:
            (count, labels) float32 logits: a view, valid until the next call.
        """
        size = self._most if self._workers == 1 else piece_size(count, self._workers, self._most)

        def run_piece(number: int) -> None:
            start = number * size
            self._session.run_with_iobinding(self._binding(start, min(size, count - start)))

        self._crew.run(run_piece, -(-count // size))
        return self._logits[:count]

    def _binding(self, start: int, size: int) -> ort.IOBinding:
        """Return the binding of one piece of the batch, made on first use: ONNX Runtime copies nothing."""
        binding = self._bindings.get((start, size))
        if binding is None:
            crops, logits = self.batch[start : start + size], self._logits[start : start + size]
            binding = self._session.io_binding()
            binding.bind_input(INPUT, "cpu", 0, crops.dtype, crops.shape, crops.ctypes.data)
            binding.bind_output(OUTPUT, "cpu", 0, logits.dtype, logits.shape, logits.ctypes.data)
            self._bindings[start, size] = binding
        return binding

    def _check_contract(self) -> None:
        """Compare the network's input and output with the card."""
        card, path = self.bundle.card, self.bundle.model_path
        expected = {
            INPUT: (f"tensor({'float' if card.dtype == 'float32' else 'uint8'})", list(card.batch_shape)),
            OUTPUT: ("tensor(float)", [len(card.labels)]),
        }
        ends = (*self._session.get_inputs(), *self._session.get_outputs())
        fixed = [value for value in ends if value.shape and isinstance(value.shape[0], int)]
        if fixed:
            raise BundleError(
                f"{path}: the network's {fixed[0].name} has room for exactly {fixed[0].shape[0]} crops, and a frame "
                "has any number; export it with a free batch axis (torch.onnx.export: dynamic_axes)"
            )
        found = {value.name: (value.type, list(value.shape[1:])) for value in ends}
        if found != expected:
            raise BundleError(
                f"{path}: the network has {_describe(found)}, but its card promises {_describe(expected)}; "
                "export it again with `pitcore-tools quantise`"
            )

    def _prove(self) -> None:
        """Run the golden vectors and compare with what the workstation computed."""
        path = self.bundle.golden_path
        try:
            with np.load(path, allow_pickle=False) as golden:
                crops, expected = golden["crops"], golden["logits"]
        except OSError as error:
            raise unread(path, error, "copy the bundle again") from error
        except (ValueError, KeyError) as error:
            raise BundleError(f"{path}: no golden vectors: {first_line(error)}; copy the bundle again") from error
        if crops.shape[1:] != self.batch.shape[1:] or expected.shape != (len(crops), self._logits.shape[1]):
            raise BundleError(f"{path}: golden vectors of shape {crops.shape} do not fit the card; export it again")
        worst = 0.0
        for start in range(0, len(crops), len(self.batch)):
            piece = crops[start : start + len(self.batch)]
            self.batch[: len(piece)] = piece
            difference = np.abs(self.run(len(piece)) - expected[start : start + len(piece)])
            worst = max(worst, float(np.nan_to_num(difference, nan=np.inf).max(initial=0.0)))
        self.batch[:] = 0
        if not worst <= GOLDEN_TOLERANCE:
            raise BundleError(
                f"{self.bundle.directory}: golden vectors are off by {worst:.4g}, more than {GOLDEN_TOLERANCE:g}, "
                f"with onnxruntime {ort.__version__} on {platform.machine()}; this machine must not run this model"
            )


def _check_runtime(bundle: Bundle) -> None:
    """Refuse a model that wants a newer runtime than this machine has. Raises BundleError."""
    wanted = bundle.card.runtime.onnxruntime_min
    if _release(wanted) > _release(ort.__version__):
        raise BundleError(
            f"{bundle.directory}: its card wants onnxruntime {wanted} or newer, this machine has {ort.__version__}; "
            "update pitcore, or take a model made for it"
        )


def _release(text: str) -> tuple[int, ...]:
    """Return the first two or three numbers of a version, with a third of 0 where there is none."""
    found = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(part or 0) for part in found.groups()) if found else ()


def _load(path: Path, threads: int) -> ort.InferenceSession:
    """Create the session under the guard, so that its workers inherit the mode on Arm."""
    try:
        return open_network(str(path), session_options(threads))
    except Exception as error:
        raise BundleError(f"{path}: does not load: {first_line(error)}; export the model again") from error


def _describe(values: dict[str, tuple[str, list[int]]]) -> str:
    return ", ".join(f"{name} {kind} (n, {', '.join(map(str, shape))})" for name, (kind, shape) in values.items())
