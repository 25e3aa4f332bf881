"""Send verdicts to a sink of your own: a table (CSV) of how many cherries of each kind every frame had.

    python examples/own_sink.py counts.csv [FRAMES]

A class with `emit` and `close` is a sink (pitcore/sinks/sink.py). `emit` runs in the loop: it must be quick, and must
not raise for what time may fix, such as a full disk. The belt here is emulated.
"""

import csv
import sys
from collections import Counter
from pathlib import Path

from pitcore.config import Config
from pitcore.loop.app import App, Options
from pitcore.loop.sources import emulated_belt
from pitcore.metrics import Metrics
from pitcore.verdict import VERDICTS, Verdict


class CountsSink:
    def __init__(self, path):
        self._file = path.open("w", newline="")
        self._rows = csv.writer(self._file)
        self._rows.writerow(["frame", *VERDICTS])

    def emit(self, records):
        verdicts = [record for record in records if isinstance(record, Verdict)]
        if verdicts:
            counts = Counter(verdict.verdict for verdict in verdicts)
            self._rows.writerow([verdicts[0].frame.seq, *(counts[name] for name in VERDICTS)])

    def close(self):
        self._file.close()


if __name__ == "__main__":
    path, frames = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 20
    config = Config()
    belt = emulated_belt(config, frames=frames, seed=1, crops=None)
    App(config, belt, Options(sinks=[CountsSink(path)]), Metrics()).run()
    print(path.read_text(), end="")
