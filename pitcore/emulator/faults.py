"""Decides which frames get an injected fault, and which one. Does not change pixels; ``emulated`` does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from pitcore.emulator.seeds import Stream, generator
from pitcore.errors import ConfigError

KINDS = ("dropped", "duplicated", "black", "white", "stuck", "torn", "jitter")


class Injected(NamedTuple):
    """An injected fault: the sequence number of its frame, and one of ``KINDS``."""

    seq: int
    kind: str


@dataclass(frozen=True, slots=True)
class Faults:
    """The frames that fail, by kind of fault.

    Each kind is a share of frames (0..1) or a tuple of sequence numbers. A frame has at most one fault, the first that
    applies in the order of the fields.

    Attributes:
        dropped: never delivered, which leaves a gap in ``seq``.
        duplicated: delivered twice with the same ``seq``, stamps and pixels.
        black: all pixels 0.
        white: all pixels 255.
        stuck: pixels of the exposure delivered before, with new ``seq`` and stamps.
        torn: upper rows from the next frame.
        jitter: ``t_ns`` and ``tick`` are off by up to ``jitter_ns`` and ``jitter_ticks``.
        seed: seed of the draws for the shares.
        jitter_ns, jitter_ticks: largest errors of the stamps.
    """

    dropped: float | tuple[int, ...] = 0.0
    duplicated: float | tuple[int, ...] = 0.0
    black: float | tuple[int, ...] = 0.0
    white: float | tuple[int, ...] = 0.0
    stuck: float | tuple[int, ...] = 0.0
    torn: float | tuple[int, ...] = 0.0
    jitter: float | tuple[int, ...] = 0.0
    seed: int = 1
    jitter_ns: int = 2_000_000
    jitter_ticks: int = 12

    def __post_init__(self) -> None:
        """Raise ConfigError for a share outside 0..1."""
        for kind in KINDS:
            share = getattr(self, kind)
            if not isinstance(share, tuple) and not 0.0 <= share <= 1.0:
                raise ConfigError(f"faults: {kind} = {share} is outside 0..1; give a share or sequence numbers")

    @property
    def none(self) -> bool:
        """True if no frame can fail."""
        return not any(getattr(self, kind) for kind in KINDS)

    def of(self, seq: int) -> str | None:
        """Return the fault of a frame, or None. It depends on seed and ``seq`` only, not on earlier calls."""
        draws = generator(self.seed, Stream.FAULTS, seq).random(len(KINDS))
        for kind, draw in zip(KINDS, draws, strict=True):
            share = getattr(self, kind)
            if seq in share if isinstance(share, tuple) else draw < share:
                return kind
        return None

    def jitter_of(self, seq: int) -> tuple[int, int]:
        """Return the errors of a frame's stamps under ``jitter``, (nanoseconds, ticks)."""
        first, second = generator(self.seed, Stream.FAULTS, seq, 1).uniform(-1.0, 1.0, 2)
        return round(float(first) * self.jitter_ns), round(float(second) * self.jitter_ticks)
