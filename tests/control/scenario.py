"""Runs a service in this process: an endless belt, the loop on this thread, and a script between the frames."""

import time

from pitcore.control.reload import Reloader
from pitcore.frame import Frame
from pitcore.loop.app import App, Options
from pitcore.loop.pipeline import Hooks
from pitcore.metrics import Metrics
from pitcore.sinks.memory import MemorySink
from pitcore.sinks.recent import RecentEvents
from tests.patience import PATIENCE_S
from tests.scene import HEIGHT, MAYBE, PX_PER_TICK, ListSource, planes_with

MAX_FRAMES = 20_000  # a script that waits for what never comes fails by this, or by a clock if no frame comes
PAUSE_S = (
    0.002  # after each frame of a reload: a belt without pauses would starve the builder, whom the loop goes before
)


class EndlessSource(ListSource):
    """One cherry a frame, each new: the belt moves on by a whole frame."""

    def __init__(self):
        super().__init__([])
        # each elsewhere across the belt: what stays where it is would be dirt on the glass
        self._planes = [planes_with((5 + 42 * seed, 60, MAYBE), seed=seed) for seed in range(7)]

    def read(self, timeout_s):  # noqa: ARG002  never waits
        assert self.lent < MAX_FRAMES, "what the script waits for never came"
        seq = self.lent
        self.lent += 1
        tick = seq * int(HEIGHT / PX_PER_TICK)
        return Frame(seq, seq, tick, self._planes[seq % len(self._planes)], self._take_back)


class Running:
    """Runs ``script``, a generator, one step after each frame, until it ends.

    Args:
        config: at the start.
        script: is called with this object.
        later: read by each reload; a configuration, or a function that returns one.
    """

    def __init__(self, config, script, later):
        self.memory, self.recent, self.metrics = MemorySink(), RecentEvents(), Metrics()
        self.source = EndlessSource()
        self.sinks = (self.memory, self.recent)
        options = Options(self.sinks, hooks=Hooks(between_frames=self._step))
        self.app = App(config, self.source, options, self.metrics)
        self.reloader = Reloader(self.app, later if callable(later) else lambda: later)
        self._script = script(self)
        self._until_s = time.monotonic() + PATIENCE_S
        self.reloader.start()
        try:
            self.app.run()
        finally:
            self.reloader.close()

    @property
    def events(self):
        return [(event.event, event.detail) for event in self.memory.events]

    def reloaded(self, by="anna"):
        """Part of a script: reload, and go on when it has ended."""
        before = self.reloader.last
        self.reloader.ask(by)
        while self.reloader.last is before:
            yield

    def _step(self):
        assert time.monotonic() < self._until_s, f"what the script waits for did not come within {PATIENCE_S:g} s"
        self.reloader.between_frames()
        if next(self._script, "end") == "end":
            self.app.stop()
        if self.reloader.busy:
            time.sleep(PAUSE_S)
