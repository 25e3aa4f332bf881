"""``pitcore record``: keep the frames of a source, exactly as they came."""

from __future__ import annotations

from pathlib import Path

import click

from pitcore.app import emulated_belt
from pitcore.camera.recorder import Recorder
from pitcore.cli.options import config_option, read_config
from pitcore.cli.progress import progress
from pitcore.errors import SourceError

DEFAULT_FRAMES = 60


@click.command()
@click.argument("directory", type=click.Path(path_type=Path), metavar="DIR")
@click.option(
    "--frames",
    type=click.IntRange(1, 100_000),
    help=f"Frames to keep. Default: {DEFAULT_FRAMES}; with --crops, until every crop went by.",
)
@click.option("--seed", type=click.IntRange(0), help="Of the emulated belt. Default: the configuration's.")
@click.option(
    "--crops", type=click.Path(path_type=Path), help="Lay the real crops of this folder on the emulated belt."
)
@config_option
def record(directory: Path, frames: int | None, seed: int | None, crops: Path | None, config_path: Path | None) -> None:
    """Record frames into DIR, which must not hold a recording yet.

    Nothing is compressed or altered: 2.5 MB a frame at the production geometry. A recording is readable
    however it ended, a power cut included. Of an emulated belt it also holds what really lay there.

    \b
    Examples:
      pitcore record out/rec --frames 100
      pitcore record out/real --crops ../shared/cherries/train --frames 40
    """
    config = read_config(config_path, None)
    source = emulated_belt(config, frames=frames or (None if crops else DEFAULT_FRAMES), seed=seed, crops=crops)
    ticks: list[int] = []
    with Recorder(directory, source.geometry) as recorder, progress("record", source.frames or 0) as bar:
        source.start()
        try:
            while (frame := source.read(config.runtime.capture_timeout_s)) is not None:
                with frame:
                    recorder.write(frame)
                    ticks.append(frame.tick)
                bar.update(1)
        finally:
            source.close()
        if not ticks:
            raise SourceError(f"{directory}: the source gave no frame; nothing is recorded")
        truths = source.truths(ticks[0], ticks[-1])
        recorder.write_truth(truths)
    click.echo(f"{directory}: {len(ticks)} frames, {len(truths)} things on the belt")
