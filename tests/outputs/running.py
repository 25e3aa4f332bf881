"""A whole service in this process, over an emulated belt: what `pitcore run` builds, without its signals."""

import shutil
import socket
import threading
import time
from contextlib import ExitStack

from pitcore.actuation.arming import Arming
from pitcore.config import decode_config
from pitcore.control.commands import Commands
from pitcore.control.reload import Reloader
from pitcore.loop.app import App, Options, open_line
from pitcore.loop.pipeline import Hooks
from pitcore.metrics import Metrics
from pitcore.outputs.opening import open_outputs
from tests.config_text import small_belt
from tests.patience import PATIENCE_S


def need(program, package):
    """Skip a test whose peer is not on this machine."""
    import pytest  # noqa: PLC0415  `python -m tests.shadow.latency` runs on a board without pytest

    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        pytest.skip(f"{program} is absent: as root, apt-get install {package}")
    return found


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def until(condition, what, pause_s=0.02):
    """Wait for what must come, looking again after each pause; how fast is not asked."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < deadline, f"no {what}"
        time.sleep(pause_s)
    return found


class RunningService:
    """Runs from its making to ``close``.

    Args:
        place: a folder for its files.
        bundle: the model; None takes what ``text`` says.
        text: TOML after the belt.
        disturbance: TOML of the emulated line.
        belt: TOML of frame and source; None takes the small belt.
    """

    def __init__(self, place, bundle, text, disturbance="", belt=None):
        model = "" if bundle is None else f'[model]\nbundle = "{bundle}"\n'
        sink = f'[sink]\npath = "{place / "v.jsonl"}"\n'
        self.text = (small_belt() if belt is None else belt) + disturbance + model + sink + text
        self.config = decode_config(self.text, "board.toml")
        self._closing = ExitStack()
        self.metrics = Metrics()
        self.arming = Arming(place / "arming.json", "valves")
        source, actuator = open_line(self.config, self.arming, self.metrics)
        self.outputs = open_outputs(self.config, actuator, self.arming, self.metrics, self._closing)
        hooks = Hooks(self.outputs.observe, self._between_frames, self.outputs.keepers)
        self.app = App(self.config, source, Options(self.outputs.sinks, hooks=hooks, belt_sink=actuator), self.metrics)
        self.reloader = Reloader(self.app, lambda: decode_config(self.text, "board.toml"))
        self.reloader.start()
        self.commands = Commands(
            self.app,
            self.outputs.sinks,
            self.outputs.recent,
            self.arming,
            self.reloader,
            place / "board.toml",
            run=self.outputs.run,
        )
        self.outputs.start(self.commands)
        self._thread = threading.Thread(target=self.app.run, name="loop", daemon=True)
        self._thread.start()

    def _between_frames(self):
        self.reloader.between_frames()

    def sink(self, kind):
        """Status of an output."""
        return next(told for told in self.commands.status().sinks if told["kind"] == kind)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.app.stop()
        self._thread.join(PATIENCE_S)
        self.reloader.close()
        self._closing.close()
        assert not self._thread.is_alive(), "the loop did not end"
