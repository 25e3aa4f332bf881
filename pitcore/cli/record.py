"""Implements ``pitcore record``, which stores the frames of a source unchanged."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import click

from pitcore.camera.recorder import Recorder, check_new
from pitcore.camera.source import Source
from pitcore.cli.options import config_option, read_config, with_emulated_belt
from pitcore.cli.parameters import InputPath, OutputFolder
from pitcore.cli.progress import progress
from pitcore.cli.source_reading import board_source, end_at_a_signal, reading
from pitcore.emulator.emulated import EmulatedSource
from pitcore.errors import RecordingError, SourceError
from pitcore.loop.frame_reader import FrameReader

DEFAULT_FRAMES = 60


@click.command()
@click.argument("directory", type=OutputFolder(), metavar="DIR")
@click.option(
    "--frames",
    type=click.IntRange(1, 100_000),
    help=f"Frames to keep. Default: {DEFAULT_FRAMES}; with --crops, until every crop has passed.",
)
@click.option("--seed", type=click.IntRange(0), help="Of the emulated belt. Default: the configuration's.")
@click.option("--crops", type=InputPath(), help="Lay the real crops of this folder on the emulated belt.")
@click.option("--emulate", is_flag=True, help="Use an emulated belt in place of the configured cameras.")
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

    They come from the [source] of the configuration: cameras, a film, another recording, or the emulated belt. Nothing
    is compressed or altered: 2.5 MB a frame at the production geometry. A recording stays readable after Ctrl-C, a
    camera failure or a power cut. The recording of an emulated belt also holds the truth.

    \b
    Examples:
      pitcore record out/rec --frames 100
      pitcore record out/line --config /etc/pitcore/board.toml --frames 200
      pitcore record out/real --crops ../shared/cherries/train --frames 40
    """
    end_at_a_signal()
    check_new(directory)
    config = read_config(config_path, None)
    if emulate or crops is not None or seed is not None:
        config = with_emulated_belt(config)
    wanted = frames or (None if crops else DEFAULT_FRAMES)
    with ExitStack() as closing:
        source = board_source(config, closing, frames=wanted, seed=seed, crops=crops)
        reader = closing.enter_context(reading(source, config, f"recording into {directory}"))
        recorder, ticks, damaged = _keep(source, reader, directory, wanted, closing)
        truths = source.truths(ticks[0], ticks[-1]) if isinstance(source, EmulatedSource) else []
        if truths:
            recorder.write_truth(truths)
    lost = sum(sum(camera.lost.values()) for camera in source.health())
    known = f", {len(truths)} things on the belt" if truths else ""
    missing = "".join(f", {count} {what}" for what, count in (("lost", lost), ("damaged, left out", damaged)) if count)
    click.echo(f"{directory}: {len(ticks)} frames{known}{missing}")


def _keep(
    source: Source, reader: FrameReader, directory: Path, wanted: int | None, closing: ExitStack
) -> tuple[Recorder, list[int], int]:
    """Record until there are enough frames or the source ends. Damaged frames are left out.

    Returns:
        The recording, begun with the first frame, so that a camera that gives none leaves no folder; each tick; and how
        many frames were damaged.

    Raises:
        SourceError: the source failed, or gave nothing.
    """
    recorder, ticks, damaged = None, list[int](), 0
    with progress("record", wanted or getattr(source, "frames", None) or 0) as bar:
        try:
            while wanted is None or len(ticks) < wanted:
                frame = reader.read()
                if frame is None:
                    break
                if any(frame.damage):
                    damaged += 1
                    frame.release()
                    continue
                with frame:
                    recorder = recorder or closing.enter_context(
                        Recorder(directory, source.geometry, noise=source.noise)
                    )
                    recorder.write(frame)
                    ticks.append(frame.tick)
                del frame  # views that outlive the loop would keep the cameras from closing their buffers
                bar.update(1)
        except RecordingError:
            raise  # says itself what is safe
        except KeyboardInterrupt:
            if ticks:
                click.echo(f"\n{directory}: stopped by a signal; {len(ticks)} frames are recorded", err=True)
            raise
        except SourceError as error:
            kept = f"; {len(ticks)} frames before it are recorded" if ticks else "; nothing is recorded"
            raise SourceError(f"{error}{kept}") from error
    if recorder is None:
        what = f"no whole frame, {damaged} damaged ones" if damaged else "no frame"
        raise SourceError(f"the source gave {what}; nothing is recorded")
    return recorder, ticks, damaged
