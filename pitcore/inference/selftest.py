"""Self-test of a new model. ``pitcore.ota.selftest_process`` starts it, since a model may end its process.

    python -m pitcore.inference.selftest CONFIG BUNDLE REFERENCE MEMORY_MB      CONFIG may be - for the defaults

It loads the bundle as the service would, which proves card, contract and golden vectors, looks for numbers that are
none, and measures the network against the running model's in turns. One JSON line for each step it begins, the report
last.
Exit code 0: the model is good; 2: it is not, and the last line on standard error says why; 4: this machine cannot say.
"""

from __future__ import annotations

import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

from pitcore.config import Config, load_config, operating_point
from pitcore.errors import BundleError, PitcoreError, UnreadableBundleError, first_line
from pitcore.inference.choice import check_planes
from pitcore.inference.session import Session
from pitcore.model_card import Bundle, load_bundle
from pitcore.ota.selftest_process import CHILD_FAULT, CHILD_UNJUDGED, SelfTestReport, Step

ROUNDS = 15  # of either model, in turns: other work on the board hits both
NICE = 10  # the service has the cores


def main(arguments: list[str]) -> int:
    """Run the self-test; see the module."""
    config_path, bundle, reference, memory_mb = arguments
    _be_modest(int(memory_mb))
    config = load_config(None if config_path == "-" else Path(config_path))
    try:
        report = examine(config, Path(bundle), Path(reference), _say)
    except PitcoreError as error:
        sys.stderr.write(f"{error}\n")
        return CHILD_UNJUDGED if isinstance(error, UnreadableBundleError) else CHILD_FAULT
    except Exception as error:
        # What ONNX Runtime raises has no base class of its own; without memory it raises a bare RuntimeError.
        if not (isinstance(error, MemoryError | RuntimeError) or type(error).__module__.startswith("onnxruntime")):
            raise
        sys.stderr.write(f"it does not run within {memory_mb} MB of memory: {first_line(error)}\n")
        return CHILD_FAULT
    _say(report)
    return 0


def examine(config: Config, directory: Path, reference: Path, say: Callable[[Step], None]) -> SelfTestReport:
    """Prove one bundle and measure it.

    Args:
        config: of the board.
        directory: of the new bundle.
        reference: of the running one.
        say: hears of each step before it begins.

    Raises:
        BundleError, CardError, ConfigError: it does not fit this board, or computes something else here.
    """
    say(Step("reading the bundle"))
    bundle = load_bundle(directory)
    check_planes(bundle, config.frame.planes)
    operating_point(bundle.card, config.decision)
    say(Step("loading the network, golden vectors"))
    session = _session(bundle, config)
    say(Step("other inputs"))
    _check_numbers(session)
    peak_mb = _peak_mb()
    say(Step("latency"))
    try:
        running: Session | None = _session(load_bundle(reference), config)
    except PitcoreError:  # it is broken: one more reason for the new one
        running = None
    new_ms, old_ms = [], []
    for _ in range(ROUNDS):
        new_ms.append(_call_ms(session))
        if running is not None:
            old_ms.append(_call_ms(running))
    return SelfTestReport(
        latency_ms=statistics.median(new_ms),
        reference_ms=statistics.median(old_ms) if old_ms else None,
        peak_mb=peak_mb,
    )


def _session(bundle: Bundle, config: Config) -> Session:
    runtime = config.runtime
    return Session(
        bundle,
        capacity=runtime.sub_batch,
        threads=runtime.threads,
        sub_batch=runtime.sub_batch,
        workers=runtime.workers,
    )


def _check_numbers(session: Session) -> None:
    """Look for logits that are no numbers, on inputs the golden vectors may lack. Raises BundleError."""
    batch, card = session.batch, session.bundle.card
    noise = np.random.default_rng(0).integers(0, 256, batch.shape, dtype=np.uint8)
    for name, pixels in (("black", np.zeros_like(noise)), ("white", np.full_like(noise, 255)), ("noise", noise)):
        if card.dtype == "uint8":
            batch[:] = pixels
        else:
            per_plane = [card.batch_shape.index(len(card.planes)) == axis for axis in range(3)]
            shape = [len(card.planes) if here else 1 for here in per_plane]
            batch[:] = pixels * np.reshape(card.scale, shape) + np.reshape(card.offset, shape)
        if not np.isfinite(session.run(len(batch))).all():
            raise BundleError(f"{session.bundle.directory}: {name} crops give logits that are no numbers")


def _call_ms(session: Session) -> float:
    started_ns = time.perf_counter_ns()
    session.run(len(session.batch))
    return (time.perf_counter_ns() - started_ns) / 1e6


def _peak_mb() -> float:
    """Largest resident memory of this process. Not ``getrusage``: its figure outlives exec and is the parent's."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def _be_modest(memory_mb: int) -> None:
    """Leave cores and memory to the service; should memory run out, this process goes first."""
    resource.setrlimit(resource.RLIMIT_DATA, (memory_mb << 20, memory_mb << 20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(NICE)
    Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def _say(line: Step | SelfTestReport) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
