"""Judge frames from a source of your own: pairs of pictures, top-NNNN.png and bottom-NNNN.png, in a folder.

    python examples/own_source.py pictures/

A class with these methods is a source (pitcore/camera/source.py). Cameras set `live = True` and wait in `read`.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from pitcore.camera.integrity import png_fault
from pitcore.config import Config
from pitcore.frame import Frame, Geometry
from pitcore.loop.app import App, Options
from pitcore.metrics import Metrics
from pitcore.sinks.memory import MemorySink

TICKS_PER_FRAME = 680  # of the belt's encoder; at 0.5 px a tick the belt moves 340 px from frame to frame
FRAME_NS = 50_000_000


class PictureSource:
    live = False  # the loop may take its time
    noise = "sensor"  # two pictures of a real camera always differ

    def __init__(self, folder, config):
        frame = config.frame
        self.geometry = Geometry(frame.planes, frame.height_px, frame.width_px, config.belt.px_per_tick)
        self._black = np.zeros((frame.height_px, frame.width_px), np.uint8)
        self._tops = sorted(Path(folder).glob("top-*.png"))

    def start(self):
        self._next = 0

    def read(self, timeout_s):
        if self._next == len(self._tops):
            return None  # the end
        top = self._tops[self._next]
        paths = (top, top.with_name(top.name.replace("top", "bottom")))
        damage = tuple(png_fault(path.read_bytes()) for path in paths)  # Pillow passes over some of it
        planes = tuple(self._black if any(damage) else np.asarray(Image.open(path).convert("L")) for path in paths)
        seq, self._next = self._next, self._next + 1
        return Frame(seq, t_ns=seq * FRAME_NS, tick=seq * TICKS_PER_FRAME, planes=planes, damage=damage)

    def close(self):
        pass

    def health(self):
        return ()


if __name__ == "__main__":
    config, memory = Config(), MemorySink()
    App(config, PictureSource(sys.argv[1], config), Options(sinks=[memory]), Metrics()).run()
    for verdict in memory.verdicts:
        print(verdict.frame.seq, verdict.box, verdict.verdict, verdict.reason or "")
