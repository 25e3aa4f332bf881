"""Opens a source for the commands that read frames without judging them: ``record`` and ``calibrate``.

They keep the service's rules for a source that hangs: a thread reads it (``loop.capture``), and a stop signal ends the
process within ``[runtime] stop_timeout_s`` (``service.stopping``).
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from pitcore.actuation.arming import Arming
from pitcore.camera.source import Source
from pitcore.config import Config, EmulatedSourceConfig
from pitcore.loop.app import open_line
from pitcore.loop.frame_reader import FrameReader
from pitcore.loop.sources import emulated_belt, set_exposures
from pitcore.metrics import Metrics
from pitcore.service.stopping import StopGuard


def board_source(
    config: Config, closing: ExitStack, *, frames: int | None, seed: int | None = None, crops: Path | None = None
) -> Source:
    """Build the source of a configuration, and open the encoder that stamps the frames of cameras. No valve is opened.

    Args:
        config: of the board.
        closing: closes the encoder.
        frames: of an emulated belt, which draws each frame once and waits for its reader; None is one pass over the
            crops, or without end.
        seed: of an emulated belt, instead of the configuration's.
        crops: lie on an emulated belt instead of procedural cherries.

    Raises:
        PitcoreError: the source cannot be built.
    """
    if isinstance(config.source, EmulatedSourceConfig):
        return emulated_belt(config, frames=frames, seed=seed, crops=crops)
    idle = msgspec.structs.replace(config, actuation=msgspec.structs.replace(config.actuation, lanes=()))
    source, encoder = open_line(idle, Arming(Path(config.control.state_dir) / "never-armed.json", None), Metrics())
    if encoder is not None:
        closing.callback(encoder.close)
    return source


@contextmanager
def reading(source: Source, config: Config, what: str) -> Iterator[FrameReader]:
    """Lend a reader of a source with the calibrated exposures. A stop signal ends it, or the process where that hangs.

    Args:
        source: not started yet; it is closed at the end.
        config: of the board.
        what: is said to hang if the process does not end by itself.

    Raises:
        SourceError: the camera refuses the calibrated exposure.
        HungError: the source hangs when it is closed, and nothing else is wrong.
    """
    set_exposures(source, config)
    with FrameReader(source, config) as reader:
        StopGuard(config.runtime.stop_timeout_s, reader.stop, lambda: None, lambda: what).start()
        yield reader


def end_at_a_signal() -> None:
    """Let Ctrl-C end the process at once until ``reading`` takes it: Python would wait for calls that may hang."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
