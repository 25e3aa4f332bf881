"""Runs the four calibration steps: each reads frames and returns new values, a text and a picture. Stores nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pitcore.calibration import align, belt, chart, exposure, flat
from pitcore.calibration.strip import StripLevel
from pitcore.calibration.survey import Look, Survey
from pitcore.camera.source import Adjustable, Exposure
from pitcore.config import (
    AlignmentConfig,
    BeltScale,
    BoardCalibration,
    Config,
    Picamera2SourceConfig,
    PlaneCalibration,
)
from pitcore.errors import CalibrationError, SegmentationError
from pitcore.frame import Plane, Window
from pitcore.preprocess.search_rules import window_of

EXPOSURE_ROUNDS = 12
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class StepResult:
    """The result of a step.

    Attributes:
        values: the whole calibration, with new values of this step.
        lines: the changes, for people.
        picture: RGB picture of the result.
    """

    values: BoardCalibration
    lines: list[str]
    picture: Image.Image


def measure_exposure(survey: Survey, frames: int, targets: Sequence[float]) -> StepResult:
    """Adjust the exposure until the bright level of each plane is at its target.

    Args:
        survey: the started source.
        frames: number of frames for each round.
        targets: bright level for each plane, in grey levels.

    Raises:
        CalibrationError: the source cannot be adjusted, a target cannot be reached, or the belt is stopped.
    """
    source, names = survey.source, survey.config.frame.planes
    if not isinstance(source, Adjustable):
        raise CalibrationError("exposure: a recording keeps the light it was made with; calibrate on the live cameras")
    first, started = _seen(survey, frames), source.exposures
    seen, left = first, _cameras(survey.config)
    for _ in range(EXPOSURE_ROUNDS):
        # a camera that reached its target is not changed again: later differences come from other cherries
        left = [
            planes
            for planes in left
            if not exposure.is_reached([seen.levels[at] for at in planes], [targets[at] for at in planes])
        ]
        if not left:
            break
        source.set_exposures(_next(source, seen, targets, left))
        for _skipped in survey.frames(source.settle_frames):
            pass
        seen = _seen(survey, frames)
    else:
        levels = ", ".join(f"{name} {one.level:.0f}" for name, one in zip(names, seen.levels, strict=True))
        raise CalibrationError(
            f"exposure: still {levels} after {EXPOSURE_ROUNDS} rounds; check that the light is steady"
        )
    _check_moves(survey, frames)
    values = _base(survey.config)
    planes, lines, parts = {}, [], []
    for number, name in enumerate(names):
        old, new, now = started[number], source.exposures[number], values.planes[name]
        # levels measured with another exposure are no longer valid; the fall-off across the belt still is
        planes[name] = PlaneCalibration(exposure_us=new.exposure_us, gain=new.gain, flat_field=now.flat_field)
        was, level = first.levels[number], seen.levels[number]
        lines.append(
            f"{name}: bright level {was.level:.0f} -> {level.level:.0f} (target {targets[number]:.0f}), clipped "
            f"{was.clipped:.1%} -> {level.clipped:.1%}, {_text(old)} -> {_text(new)}"
        )
        parts += [chart.strip(f"{name} before: {_text(old)}", first.planes[number])]
        parts += [chart.strip(f"{name} after: {_text(new)}", seen.planes[number])]
    lines.append("the levels of the empty belt have changed: run 'pitcore calibrate flat'")
    return StepResult(msgspec.structs.replace(values, step="exposure", planes=planes), lines, chart.sheet(parts))


@dataclass(frozen=True, slots=True)
class _Seen:
    levels: list[exposure.Brightness]
    planes: tuple[Plane, ...]


def _seen(survey: Survey, frames: int) -> _Seen:
    """Measure the brightness of each plane, and copy the last frame for the picture."""
    rules, names = survey.config.segmentation, survey.config.frame.planes
    histograms = np.zeros((len(names), exposure.ZONES, 256), np.int64)
    kept: tuple[Plane, ...] = ()
    searched = [window_of(survey.config).columns(number) for number in range(len(names))]
    for frame in survey.frames(frames):
        for histogram, plane, columns in zip(histograms, frame.planes, searched, strict=True):
            exposure.add_histogram(histogram, plane[:, columns])
        kept = tuple(plane.copy() for plane in frame.planes)  # copies: the frame is released before it is drawn
    floors = [
        background + threshold if polarity == "bright" else 0
        for background, threshold, polarity in zip(rules.background, rules.threshold, rules.polarity, strict=True)
    ]
    return _Seen([exposure.brightness(*one) for one in zip(histograms, floors, strict=True)], kept)


def _check_moves(survey: Survey, frames: int) -> None:
    """Raise CalibrationError if the belt is stopped, as far as cherries are found: before ``flat`` they may not be."""
    try:
        looks = [_sight(look) for look in survey.looks(frames)]
    except SegmentationError:
        return
    belt.views_of("exposure", looks, survey.config.frame.height_px)


def _sight(look: Look) -> belt.Sight:
    return belt.sight_of(look.frame.tick, look.things[look.whole], len(look.frame.planes))


def _cameras(config: Config) -> list[list[int]]:
    """Return the numbers of each camera's planes, which share one exposure."""
    names = config.frame.planes
    if not isinstance(config.source, Picamera2SourceConfig):
        return [[number] for number in range(len(names))]
    return [[names.index(name) for name in camera.planes] for camera in config.source.cameras]


def _next(source: Adjustable, seen: _Seen, targets: Sequence[float], left: Sequence[Sequence[int]]) -> list[Exposure]:
    """Return the next exposure for each plane; the brightest plane of a camera decides for all its planes."""
    exposures = list(source.exposures)
    for planes in left:
        steps = [
            exposure.next_exposure(exposures[at], seen.levels[at], targets[at], source.exposure_limits) for at in planes
        ]
        least = min(steps, key=lambda one: one.exposure_us * one.gain)
        for at in planes:
            exposures[at] = least
    return exposures


def _text(one: Exposure) -> str:
    return f"{one.exposure_us:g} us x {one.gain:g}"


def measure_flat(survey: Survey, frames: int) -> StepResult:
    """Measure the empty belt in a third of the frames, and the fall-off of the light in the rest.

    Args:
        survey: the started source.
        frames: number of frames for both parts together.

    Raises:
        CalibrationError: the belt is stopped, there are too few cherries, or the fall-off is too large to correct.
    """
    config = survey.config
    names, width = config.frame.planes, config.frame.width_px
    profiles = [flat.BeltProfile(width) for _ in names]
    strips = {strip.plane: StripLevel(strip) for strip in config.line.reference}
    kept: tuple[Plane, ...] = ()
    for frame in survey.frames(max(1, frames // 3)):
        for name, profile, plane in zip(names, profiles, frame.planes, strict=True):
            profile.add(plane)
            if name in strips:
                strips[name].add(plane)
        kept = tuple(plane.copy() for plane in frame.planes)  # copies: the frame is released before it is drawn
    if not kept:
        raise CalibrationError("flat: the source gave no frame; record again, or check the camera")
    levels = [profile.levels() for profile in profiles]
    values = _base(config)
    bare = {
        name: msgspec.structs.replace(
            values.planes[name], background=tuple(np.rint(level).astype(int).tolist()), flat_field=()
        )
        for name, level in zip(names, levels, strict=True)
    }
    raw = window_of(config, (0, 0))
    searched = raw.columns(0)
    planed = _with(config, msgspec.structs.replace(values, planes=bare))
    fresh = Survey(survey.source, survey.read, planed, survey.progress)
    places, means, views = _cherries(fresh, frames - frames // 3, raw)
    planes, lines, parts = {}, [], []
    for number, name in enumerate(names):
        fall = flat.falloff(places, means[:, number], width, views, searched)
        light = np.ones(width) if fall.is_even else fall.light
        lit = means[:, number] / light[np.minimum(places.astype(int), width - 1)]
        planes[name] = msgspec.structs.replace(
            bare[name],
            flat_field=() if fall.is_even else flat.gains(light),
            belt_level=round(flat.belt_level(levels[number]), 3),
            cherry_level=round(float(lit.mean()), 2),
            strip_level=round(strips[name].level(), 2) if name in strips else None,
        )
        lines.append(_flat_line(name, values.planes[name], planes[name], fall))
        columns = np.arange(width, dtype=float)
        curves = [chart.Curve("cherries", fall.zone_x_px, fall.zone_level, dots=True)]
        curves += [chart.Curve("fall-off", columns, fall.light * fall.zone_level.max())]
        parts += [chart.plot(f"{name}: grey level of cherries across the belt", curves)]
        parts += [chart.plot(f"{name}: grey level of the empty belt", [chart.Curve("belt", columns, levels[number])])]
        corrected = np.minimum(kept[number] / light, 255).astype(np.uint8)
        parts += [
            chart.strip(f"{name} before correction", kept[number]),
            chart.strip(f"{name} after correction", corrected),
        ]
    return StepResult(msgspec.structs.replace(values, step="flat", planes=planes), lines, chart.sheet(parts))


def _cherries(survey: Survey, frames: int, window: Window) -> tuple[Floats, Floats, belt.Views]:
    """Return (N,) middles across the belt and (N, P) mean grey levels of single, whole cherries, and their views."""
    limits, count = survey.config.decision, len(survey.config.frame.planes)
    places, means, sights = [], [], []
    for look in survey.looks(frames, window):
        sights.append(_sight(look))
        things = look.things[look.whole]
        alone = (things["area"] >= limits.min_area_px) & (things["area"] <= limits.max_area_px)
        alone &= (things["elongation"] <= limits.max_elongation) & (things["ellipse_fill"] >= limits.min_ellipse_fill)
        things = things[alone]
        places.append(things["sum_x"] / things["area"] + window.origin[0])
        means.append(things["plane_sum"][:, :count] / things["area"][:, None])
    if not places:
        raise CalibrationError("flat: no frame was left for the cherries; take more --frames")
    views = belt.views_of("flat", sights, window.shape[0])
    return np.concatenate(places), np.concatenate(means), views


def _flat_line(name: str, old: PlaneCalibration, new: PlaneCalibration, fall: flat.Falloff) -> str:
    was = "not measured" if old.belt_level is None else f"{old.belt_level:.1f}"
    field = "even enough, no flat field" if not new.flat_field else f"lifted by up to {max(new.flat_field) / 256:.2f}"
    return (
        f"{name}: empty belt {was} -> {new.belt_level:.1f}, cherries {new.cherry_level:.0f}, darkest column gets "
        f"{fall.light.min():.0%} +-{fall.error:.0%} of the light: {field}"
        + ("" if new.strip_level is None else f"; reference strip at {new.strip_level:.0f}")
    )


def measure_align(survey: Survey, frames: int) -> StepResult:
    """Measure the shift of the planes with half of the frames, and the residual with the other half.

    Args:
        survey: the started source.
        frames: number of frames for both halves together.

    Raises:
        CalibrationError: there are not two planes, the belt is stopped, there are too few cherries, or they disagree.
    """
    config = survey.config
    if len(config.frame.planes) != 2:
        raise CalibrationError("align: it is for two planes; [frame] planes names another number")
    raw = window_of(config, (0, 0))
    before, first = _shift(survey, frames // 2, raw)
    there = window_of(config, before.whole_px)
    after, second = _shift(survey, frames - frames // 2, there)
    was, (dx, dy) = window_of(config).shift_px, before.whole_px
    lines = [
        f"{config.frame.planes[1]} is offset by {_pair(before)} px +-{before.error_px:.2f}",
        f"alignment {was} -> ({dx}, {dy}); frames become {there.shape[0]}x{there.shape[1]} px",
        f"residual {_pair(after)} px; {before.cherries} and {after.cherries} cherries",
    ]
    parts = [chart.overlay(f"before: {_pair(before)} px", first)]
    parts += [chart.overlay(f"after: {_pair(after)} px", second)]
    values = msgspec.structs.replace(_base(config), step="align", alignment=AlignmentConfig(dx_px=dx, dy_px=dy))
    return StepResult(values, lines, chart.sheet(parts))


def _pair(shift: align.Shift) -> str:
    return f"({shift.dx_px:+z.2f}, {shift.dy_px:+z.2f})"


def _shift(survey: Survey, frames: int, window: Window) -> tuple[align.Shift, tuple[Plane, ...]]:
    displacements: list[tuple[float, float]] = []
    kept: tuple[Plane, ...] = ()
    sights = []
    for look in survey.looks(frames, window):
        sights.append(_sight(look))
        displacements += _displacements(look)
        kept = tuple(plane.copy() for plane in look.frame.planes)  # copies: the frame is released before it is drawn
    views = belt.views_of("align", sights, window.shape[0])
    return align.shift_of(displacements, views), kept


def _displacements(look: Look) -> list[tuple[float, float]]:
    centres = (look.preparer.mask_centres(look.frame.planes, int(index)) for index in look.whole)
    return [apart for one in centres if (apart := align.displacement(one)) is not None]


def measure_belt(survey: Survey, frames: int) -> StepResult:
    """Measure pixels per encoder tick.

    Args:
        survey: the started source.
        frames: number of frames.

    Raises:
        CalibrationError: the belt is stopped, the encoder does not count, or too few cherries were matched.
    """
    sights = [_sight(look) for look in survey.looks(frames)]
    moves = [belt.moved_between(one, two) for one, two in pairwise(sights)]
    result = belt.scale_of(moves)
    old = survey.config.px_per_tick
    lines = [
        f"px_per_tick {old:g} -> {result.px_per_tick:.5f} +-{result.error:.5f}: {result.px_per_tick / old - 1.0:+z.2%}",
        f"{result.cherries} cherries matched in {result.pairs} pairs of frames",
    ]
    known = [move for move in moves if move is not None and move.ticks]
    number = np.arange(len(known), dtype=float)
    measured = chart.Curve("pairs of frames", number, np.array([move.px / move.ticks for move in known]), dots=True)
    curves = [measured, chart.Curve("result", number, np.full(len(known), result.px_per_tick))]
    scale = BeltScale(px_per_tick=round(result.px_per_tick, 6), error=round(result.error, 6))
    values = msgspec.structs.replace(_base(survey.config), step="belt", belt=scale)
    return StepResult(values, lines, chart.sheet([chart.plot("pixels for one encoder tick", curves)]))


def _base(config: Config) -> BoardCalibration:
    """Return the calibration in force, or an empty one for these frames."""
    if config.calibration.values is not None:
        return config.calibration.values
    frame = config.frame
    return BoardCalibration(
        schema="pitcore.calibration/1",
        height_px=frame.height_px,
        width_px=frame.width_px,
        planes={name: PlaneCalibration() for name in frame.planes},
    )


def _with(config: Config, values: BoardCalibration) -> Config:
    section = msgspec.structs.replace(config.calibration, values=values)
    return msgspec.structs.replace(config, calibration=section)
