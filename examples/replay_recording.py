"""Judge a recording of `pitcore record`; the verdicts are the same every time.

pitcore record out/rec --frames 100
python examples/replay_recording.py out/rec
"""

import sys
from collections import Counter
from pathlib import Path

from pitcore.camera.replay import ReplaySource
from pitcore.config import load_config
from pitcore.loop.app import App, Options
from pitcore.metrics import Metrics
from pitcore.sinks.memory import MemorySink


def main(folder, config_path=None):
    config = load_config(None if config_path is None else Path(config_path))
    memory = MemorySink()
    App(config, ReplaySource(Path(folder)), Options(sinks=[memory], timings=False), Metrics()).run()
    print(Counter(verdict.verdict for verdict in memory.verdicts).most_common())
    for event in memory.events:
        print(f"frame {event.seq}: {event.event}, {event.detail}")


if __name__ == "__main__":
    main(*sys.argv[1:])
