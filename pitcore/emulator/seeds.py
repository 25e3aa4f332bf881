"""Creates random generators by name. Each drawn thing has its own generator, so the order of drawing is irrelevant."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """Names of the generators. The numbers determine every seeded picture: append, never renumber."""

    CROP = 1
    LAYOUT = 2
    OBJECT = 3
    TEXTURE = 4
    NOISE = 5
    FAULTS = 6
    SHUFFLE = 7


def generator(seed: int, stream: Stream, *numbers: int) -> np.random.Generator:
    """Return the PCG64 generator of (seed, stream, numbers); negative numbers are allowed."""
    unsigned = [2 * number if number >= 0 else -2 * number - 1 for number in (seed, *numbers)]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([int(stream), *unsigned])))
