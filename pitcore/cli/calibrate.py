"""Implements ``pitcore calibrate``, which measures what differs between boards."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from pitcore.calibration import exposure, store
from pitcore.calibration.steps import StepResult, measure_align, measure_belt, measure_exposure, measure_flat
from pitcore.calibration.survey import Survey
from pitcore.camera.replay import ReplaySource
from pitcore.camera.source import Source
from pitcore.cli.options import board_option, file_read
from pitcore.cli.parameters import InputPath, OutputFolder, Text
from pitcore.cli.picture import write_picture
from pitcore.cli.progress import progress
from pitcore.cli.source_reading import board_source, end_at_a_signal, reading
from pitcore.config import (
    Config,
    ReplaySourceConfig,
    Step,
    calibration_path,
    load_config,
    weakened,
)
from pitcore.errors import CalibrationError
from pitcore.loop.sources import check_geometry
from pitcore.output_path import PNG, try_file

Measure = Callable[[Survey], StepResult]


@click.group()
def calibrate() -> None:
    """Measure what differs between boards, in this order: exposure, flat, align, belt.

    Each step reads frames, prints what changed, writes a picture, and stores the result in the [calibration] file of
    the configuration. The configuration itself is never rewritten. A running service uses the result after its next
    start; exposure and flat also after SIGHUP.

    \b
    Example:
      pitcore calibrate exposure
      pitcore calibrate undo
    """


def _shared(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options of every measuring step."""
    out = click.option(
        "--out",
        default=Path("out/calibrate"),
        show_default=True,
        type=OutputFolder(),
        help="Folder for the picture.",
    )
    recording = click.option(
        "--recording", type=InputPath(), help="Measure on a recording instead of the configured source."
    )
    try_only = click.option("--try", "try_only", is_flag=True, help="Measure and draw, but store nothing.")
    return board_option(recording(out(try_only(function))))


def _frames(default: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option(
        "--frames",
        default=default,
        show_default=True,
        type=click.IntRange(2, 100_000),
        help="Number of frames to measure.",
    )


@calibrate.command("exposure")
@_frames(16)
@click.option(
    "--target",
    multiple=True,
    type=Text(),
    metavar="PLANE=LEVEL",
    help="Bright level to reach. Default: that of the training data.",
)
@_shared
def exposure_command(
    frames: int, target: tuple[str, ...], config_path: Path | None, recording: Path | None, out: Path, try_only: bool
) -> None:
    """Set the exposure so that cherries are as bright as in the training data, without clipping.

    Needs live cameras and cherries on a moving belt. Each round measures --frames frames.

    \b
    Example:
      pitcore calibrate exposure
      pitcore calibrate exposure --target top=150 --target bottom=200 --config board.toml
    """
    config, path = _setup(config_path)
    targets = _targets(config, target)
    bar_length = frames * 4  # the rounds it usually takes
    sitting = _Sitting("exposure", config, path, (recording, out, try_only))
    sitting.run(bar_length, lambda survey: measure_exposure(survey, frames, targets), endless=True)


@calibrate.command("flat")
@_frames(150)
@_shared
def flat_command(frames: int, config_path: Path | None, recording: Path | None, out: Path, try_only: bool) -> None:
    """Measure the empty belt and the lamp's fall-off across it.

    Cherries must lie over the whole width of the moving belt. The search then uses the belt's own level in each column.
    Cherries at the dark ends of the lamp are corrected to the brightness of the middle.

    \b
    Example:
      pitcore calibrate flat
    """
    config, path = _setup(config_path)
    _Sitting("flat", config, path, (recording, out, try_only)).run(frames, lambda survey: measure_flat(survey, frames))


@calibrate.command("align")
@_frames(40)
@_shared
def align_command(frames: int, config_path: Path | None, recording: Path | None, out: Path, try_only: bool) -> None:
    """Measure the offset of the second plane from the first, in whole pixels, and the rest.

    \b
    Example:
      pitcore calibrate align
    """
    config, path = _setup(config_path)
    _Sitting("align", config, path, (recording, out, try_only)).run(
        frames, lambda survey: measure_align(survey, frames)
    )


@calibrate.command("belt")
@_frames(60)
@_shared
def belt_command(frames: int, config_path: Path | None, recording: Path | None, out: Path, try_only: bool) -> None:
    """Measure the travel of the belt for one encoder tick, by cherries in two successive frames.

    \b
    Example:
      pitcore calibrate belt
    """
    config, path = _setup(config_path)
    _Sitting("belt", config, path, (recording, out, try_only)).run(frames, lambda survey: measure_belt(survey, frames))


@calibrate.command()
@board_option
def undo(config_path: Path | None) -> None:
    """Restore the previous calibration. Nothing is deleted: each calibration stays beside the file, numbered.

    \b
    Example:
      pitcore calibrate undo
    """
    path = _path_of(config_path)
    state = store.undo(path)
    if state is None:
        click.echo(f"{path}: no calibration is in force; the configuration's values are used")
    else:
        click.echo(f"{path}: number {state.serial} is in force again ({state.step}, {state.measured_at})")


class _Sitting:
    """Runs one step: opens the source, measures, prints, draws and stores.

    Args:
        step: its name.
        config: of the board.
        path: of the calibration.
        choices: recording to measure on, folder of the picture, whether to store nothing.
    """

    def __init__(self, step: Step, config: Config, path: Path, choices: tuple[Path | None, Path, bool]) -> None:
        self._step, self._config, self._path = step, config, path
        self._recording, out, self._try_only = choices
        self._drawn = out / f"{step}.png"

    def run(self, frames: int, measure: Measure, *, endless: bool = False) -> None:
        """Measure with this many frames, or more if ``endless``. Check first that the output can be written."""
        end_at_a_signal()
        try_file(self._drawn, PNG, makes_folders=True)
        if not self._try_only:
            try_file(self._path, makes_folders=True)
        with ExitStack() as closing, progress(f"calibrate {self._step}", frames) as bar:
            source = self._source(None if endless else frames, closing)
            reader = closing.enter_context(reading(source, self._config, f"calibrate {self._step}"))
            outcome = measure(Survey(source, reader.read, self._config, lambda: bar.update(1)))
        for line in outcome.lines:
            click.echo(line)
        self._draw(outcome)
        if self._try_only:
            click.echo("nothing stored (--try)")
            return
        values = msgspec.structs.replace(
            outcome.values, step=self._step, measured_at=datetime.now(UTC).isoformat(timespec="seconds")
        )
        made = store.save(self._path, values)
        click.echo(
            f"stored: {self._path}, number {made.serial}; 'pitcore calibrate undo' restores number {made.previous}"
        )
        calibration = msgspec.structs.replace(self._config.calibration, values=made)
        for said in weakened(msgspec.structs.replace(self._config, calibration=calibration)):
            click.echo(f"LESS SAFE {said}")

    def _source(self, frames: int | None, closing: ExitStack) -> Source:
        """Build the source. The stack closes everything that was opened with it."""
        config = self._config
        if self._recording is not None:
            return ReplaySource(self._recording)
        if isinstance(config.source, ReplaySourceConfig):
            return ReplaySource(Path(config.source.path))  # not paced
        source = board_source(config, closing, frames=frames)
        check_geometry(config, source.geometry)
        return source

    def _draw(self, outcome: StepResult) -> None:
        write_picture(outcome.picture, self._drawn)
        click.echo(f"written: {self._drawn}")


def _setup(config_path: Path | None) -> tuple[Config, Path]:
    """Return the configuration with its calibration, and the path of the calibration."""
    path = _path_of(config_path)
    return load_config(config_path), path


def _path_of(config_path: Path | None) -> Path:
    """Return the path of the calibration. It is not read, so that ``undo`` can fix a damaged one."""
    read = file_read(config_path)
    path = calibration_path(load_config(read, calibrated=False), read)
    if path is None:
        raise CalibrationError(
            f'{read}: [calibration] file is not set, so there is no place for the result; set file = "calibration.json"'
        )
    return path


def _targets(config: Config, given: tuple[str, ...]) -> list[float]:
    """Return the bright level for each plane. Raises CalibrationError."""
    wanted = {name: exposure.TARGETS.get(name, exposure.OTHER_TARGET) for name in config.frame.planes}
    for text in given:
        name, _, level = text.partition("=")
        if name not in wanted or not level.isdecimal() or not 30 <= int(level) <= 240:
            raise CalibrationError(f"--target {text}: give PLANE=LEVEL with one of {', '.join(wanted)} and 30 to 240")
        wanted[name] = float(level)
    return list(wanted.values())
