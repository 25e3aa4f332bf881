"""Runs the self-test of a new model in a separate process, and returns its result.

The child (``pitcore.inference.selftest``) loads the model. This module sets its limits and reads its answer. A model
may hang, use all memory or crash its process: the process of the child, not of the service.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from pitcore.errors import Refusal, UpdateError, first_line

SENT_BY_PEOPLE = {signal.SIGHUP, signal.SIGINT, signal.SIGTERM}  # a model that breaks dies of others
CHILD_FAULT = 2  # exit code: the last line on standard error says what is wrong with the model
CHILD_UNJUDGED = 4  # the same, says why nothing can be said of it


class Step(msgspec.Struct, frozen=True):
    """One line of the child: it starts a step. The last line has the report."""

    step: str


class SelfTestReport(msgspec.Struct, frozen=True, kw_only=True):
    """The measurements of the child.

    Attributes:
        latency_ms: median of one network call, of the new model.
        reference_ms: of the running model, measured in turns; None if it does not load.
        peak_mb: memory of the child after the new model ran, before the reference was loaded.
    """

    latency_ms: float
    reference_ms: float | None
    peak_mb: float

    @property
    def ratio(self) -> float | None:
        """Return the new latency divided by the running model's."""
        return None if self.reference_ms is None else self.latency_ms / self.reference_ms


@dataclass(frozen=True, slots=True)
class SelfTestLimits:
    """The limits for a new model.

    Attributes:
        timeout_s: for the whole self-test.
        latency_ratio: largest multiple of the running model's latency.
        memory_mb: of its process.
    """

    timeout_s: float = 120.0
    latency_ratio: float = 1.5
    memory_mb: int = 1024


class SelfTest:
    """Tests new models.

    Args:
        command: starts the child; the two bundles and the limit of memory are appended.
        limits: of the new model.
    """

    def __init__(self, command: Sequence[str], limits: SelfTestLimits) -> None:
        self._command, self._limits = list(command), limits

    def __call__(self, bundle: Path, reference: Path) -> SelfTestReport:
        """Test a bundle against the running one.

        Raises:
            UpdateError: the model does not load, hangs, crashes, computes something else, is too slow or too large
                (SELF_TEST); the machine could not test it (UNJUDGED); or the self-test could not be run.
        """
        limits = self._limits
        out = self._run([*self._command, str(bundle), str(reference), str(limits.memory_mb)])
        report = _report(out)
        if report.ratio is not None and report.ratio > limits.latency_ratio:
            raise _failed(
                f"{report.latency_ms:.1f} ms a call is {report.ratio:.2f} times the running model's "
                f"{report.reference_ms:.1f} ms; at most {limits.latency_ratio:g} times is allowed"
            )
        return report

    def _run(self, command: list[str]) -> bytes:
        """Run the child to its end and return its output. Raises UpdateError."""
        try:
            child = subprocess.Popen(  # noqa: S603  our own program
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
        except OSError as error:
            raise _not_run(str(error)) from error
        with child:
            try:
                out, err = child.communicate(timeout=self._limits.timeout_s)
            except subprocess.TimeoutExpired:
                child.kill()
                out, _ = child.communicate()
                raise _failed(f"it did not end within {self._limits.timeout_s:g} s, {_where(out)}") from None
            except BaseException:
                child.kill()
                raise
        if -child.returncode in SENT_BY_PEOPLE:
            name = signal.Signals(-child.returncode).name
            raise UpdateError(Refusal.NOT_SET_UP, f"the self-test was stopped by {name}: start the update again")
        if -child.returncode == signal.SIGKILL:  # not by its own limit of memory, which is an error inside it
            raise _unjudged(
                f"its process was killed {_where(out)}: most likely the board ran out of memory, see `dmesg`"
            )
        if child.returncode < 0:
            raise _failed(f"its process was killed by {signal.Signals(-child.returncode).name}, {_where(out)}")
        if child.returncode != 0:
            said = err.decode(errors="replace").strip().splitlines()
            why = said[-1] if said else f"its process ended with {child.returncode}, {_where(out)}"
            if child.returncode == CHILD_UNJUDGED:
                raise _unjudged(why)
            raise _failed(why) if child.returncode == CHILD_FAULT else _not_run(why)
        return out


def _report(out: bytes) -> SelfTestReport:
    """Return the report in the last line."""
    lines = out.splitlines()
    try:
        return msgspec.json.decode(lines[-1] if lines else b"", type=SelfTestReport)
    except msgspec.DecodeError as error:
        raise _not_run(f"no report: {first_line(error)}") from error


def _where(out: bytes) -> str:
    """Return the step that the child was in."""
    step = "before it began"
    for line in out.splitlines():
        try:
            step = f"while: {msgspec.json.decode(line, type=Step).step}"
        except msgspec.DecodeError:  # it was cut off in the middle of a line
            break
    return step


def _not_run(why: str) -> UpdateError:
    """Return an error of this board's installation: the model does not count as bad."""
    return UpdateError(Refusal.NOT_SET_UP, f"the self-test could not be run, install pitcore again: {why}")


def _failed(why: str) -> UpdateError:
    return UpdateError(Refusal.SELF_TEST, f"the new model failed its self-test: {why}")


def _unjudged(why: str) -> UpdateError:
    """Return an error of the machine: the model does not count as bad yet."""
    return UpdateError(Refusal.UNJUDGED, f"the self-test did not finish: {why}")
