"""A belt of squares whose verdicts can be computed by hand, for tests of the loop and its surroundings.

With the tiny bundle a square of side 56 and level L has the margin (L * 56^2 / 64^2 - 100) / 4: level 90 is clean,
150 is a pit, 131 is maybe.
"""

import numpy as np

from pitcore.config import Config, EmulatedSourceConfig, FrameConfig, ModelConfig
from pitcore.frame import Frame, Geometry
from pitcore.health import CameraHealth
from pitcore.loop.app import App, Options
from pitcore.metrics import Metrics
from pitcore.sinks.memory import MemorySink

HEIGHT, WIDTH, SIDE = 200, 320, 56
CLEAN, MAYBE, PIT = 90, 131, 150
PX_PER_TICK = 0.5
GEOMETRY = Geometry(("top", "bottom"), HEIGHT, WIDTH, PX_PER_TICK)


def planes_with(*squares, height=HEIGHT, width=WIDTH, seed=0):
    """Two planes of a noisy dark belt with squares (x, y, level) on them; parts outside the frame are cut off."""
    noise = np.random.default_rng(seed)
    top = noise.integers(4, 9, (height, width), dtype=np.uint8)
    bottom = noise.integers(4, 9, (height, width), dtype=np.uint8)
    for x, y, level in squares:
        here = np.s_[max(y, 0) : max(y + SIDE, 0), max(x, 0) : max(x + SIDE, 0)]
        top[here], bottom[here] = level, 120
    return top, bottom


class ListSource:
    """Implements ``Source`` over frames in memory, and keeps account of what it lent."""

    live = False
    noise = "none"  # tests show the same picture twice

    def __init__(self, frames, *, geometry=GEOMETRY, fail_at=None, live=False):
        self.geometry, self.live = geometry, live
        self._frames, self._fail_at = list(frames), fail_at
        self.failure = None
        self.closed, self.lent, self.given_back = False, 0, 0

    def start(self):
        self.closed = False

    def read(self, timeout_s):  # noqa: ARG002  never waits
        if self.lent == self._fail_at:
            raise self.failure
        if self.lent >= len(self._frames):
            return None
        seq, tick, planes = self._frames[self.lent]
        self.lent += 1
        return Frame(seq, seq * 50_000_000, tick, planes, self._take_back)

    def health(self):
        return (CameraHealth("list", self.geometry.plane_names, self.lent, 0 if self.lent else None),)

    def close(self):
        self.closed = True

    def _take_back(self):
        self.given_back += 1


def still(*planes):
    """Frames of these planes, the belt moving on by a whole frame each time."""
    return [(seq, seq * int(HEIGHT / PX_PER_TICK), pair) for seq, pair in enumerate(planes)]


def config_for(bundle, **sections):
    """A configuration of the scene's geometry with a bundle."""
    sections.setdefault("frame", FrameConfig(height_px=HEIGHT, width_px=WIDTH))
    sections.setdefault("source", EmulatedSourceConfig(advance_px=HEIGHT))
    return Config(model=ModelConfig(bundle=str(bundle)), **sections)


def run_scene(source, config, **options):
    """Run a source to its end; return the memory sink, the metrics and the app."""
    memory, metrics = MemorySink(), Metrics()
    app = App(config, source, Options(sinks=[memory], **options), metrics)
    app.run()
    return memory, metrics, app
