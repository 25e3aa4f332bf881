"""``pitcore record``: keep the frames of a source, exactly as they came."""

from __future__ import annotations

from pathlib import Path

import click

from pitcore.camera.emulated import EmulatedSource
from pitcore.camera.recorder import Recorder
from pitcore.camera.source import Source
from pitcore.cli.options import config_option, read_config
from pitcore.cli.progress import progress
from pitcore.config import Config, EmulatedSourceConfig, emulated
from pitcore.errors import RecordingError, SourceError
from pitcore.sources import build_source, emulated_belt

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
@click.option("--emulate", is_flag=True, help="An emulated belt in place of the configured cameras.")
@config_option
def record(
    directory: Path,
    frames: int | None,
    seed: int | None,
    crops: Path | None,
    emulate: bool,
    config_path: Path | None,
) -> None:
    """Record frames into DIR, which must not hold a recording yet.

    They come from the [source] of the configuration: cameras, a film, another recording, or the emulated belt.
    Nothing is compressed or altered: 2.5 MB a frame at the production geometry. A recording is readable however it
    ended, a camera that failed or a power cut included. Of an emulated belt it also holds what really lay there.

    \b
    Examples:
      pitcore record out/rec --frames 100
      pitcore record out/line --config /etc/pitcore/board.toml --frames 200
      pitcore record out/real --crops ../shared/cherries/train --frames 40
    """
    config = read_config(config_path, None)
    if emulate or crops is not None or seed is not None:
        config = emulated(config)
    wanted = frames or (None if crops else DEFAULT_FRAMES)
    source = _source(config, wanted, seed, crops)
    with Recorder(directory, source.geometry) as recorder:
        ticks = _keep(source, recorder, wanted, config.runtime.capture_timeout_s)
        if not ticks:
            raise SourceError(f"{directory}: the source gave no frame; nothing is recorded")
        truths = source.truths(ticks[0], ticks[-1]) if isinstance(source, EmulatedSource) else []
        if truths:
            recorder.write_truth(truths)
    lost = sum(sum(camera.lost.values()) for camera in source.health())
    known = f", {len(truths)} things on the belt" if truths else ""
    click.echo(f"{directory}: {len(ticks)} frames{known}{f', {lost} lost' if lost else ''}")


def _source(config: Config, frames: int | None, seed: int | None, crops: Path | None) -> Source:
    """Build what is recorded; an emulated belt draws each frame once and waits for us."""
    if isinstance(config.source, EmulatedSourceConfig):
        return emulated_belt(config, frames=frames, seed=seed, crops=crops)
    return build_source(config)


def _keep(source: Source, recorder: Recorder, wanted: int | None, timeout_s: float) -> list[int]:
    """Record until there are enough frames or no more. Returns the tick of each. Raises SourceError."""
    ticks: list[int] = []
    length = wanted or getattr(source, "frames", None) or 0
    with progress("record", length) as bar:
        source.start()
        try:
            while wanted is None or len(ticks) < wanted:
                frame = source.read(timeout_s)
                if frame is None:
                    break
                with frame:
                    recorder.write(frame)
                    ticks.append(frame.tick)
                del frame  # views that outlive the loop would keep the cameras from closing their buffers
                bar.update(1)
        except RecordingError:
            raise  # says itself what is safe
        except SourceError as error:
            raise SourceError(f"{error}; {len(ticks)} frames before it are recorded") from error
        finally:
            source.close()
    return ticks
