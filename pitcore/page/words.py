"""Texts of the page for reasons, alarms and other events. A test compares them with docs/."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from pitcore.verdict import Reason


class AlarmText(NamedTuple):
    """The fault, and the fix."""

    wrong: str
    fix: str


ALARMS: Mapping[str, AlarmText] = {
    "not_judging": AlarmText(
        "4 of the last 8 frames left belt unjudged: they were damaged, flooded, unreadable, black, stuck "
        "or repeated, or belt passed between them (belt_gap).",
        "Fix the faults that the text names.",
    ),
    "planes_swapped": AlarmText(
        "The cameras are exchanged: the plane top shows light through the cherries, bottom reflected light.",
        "Exchange the ids or channels of the cameras in [source]; then pitcore calibrate exposure, flat and align. "
        "Two cameras on one side of the belt are not found.",
    ),
    "camera_frozen": AlarmText(
        "A camera repeats the same picture, or one plane of it. This is also detected on an empty belt.",
        "The service restarts by itself. If the alarm comes back, check the camera's cable and supply.",
    ),
    "light_off": AlarmText(
        "A camera gets no light: the empty belt, or the reference strip if the belt is too dark, is below half of its "
        "level, or frames are black.",
        "Check the lamp, its supply and its cable.",
    ),
    "light_dim": AlarmText(
        "Belt or cherries are below 85 % of their calibrated level.",
        "Clean or replace the lamp, clean the glass; then pitcore calibrate exposure and flat.",
    ),
    "light_bright": AlarmText(
        "Belt or cherries are above 120 % of their calibrated level: other light falls in, or the belt changed.",
        "Close the hood, clean the belt. If that does not help: pitcore calibrate exposure and flat.",
    ),
    "reference_strip": AlarmText(
        "A strip of white tape in view ([[line.reference]]) is below 85 % or above 120 % of its "
        "calibrated level: the lamp, or the strip.",
        "Clean the strip, see that nothing covers it, check the lamp; then pitcore calibrate exposure and flat.",
    ),
    "lens_dirty": AlarmText(
        "A spot of at least 16 px does not move with the belt.",
        "Clean lens, glass and lamp at the place that the text gives.",
    ),
    "planes_misaligned": AlarmText(
        "The planes' masks of the same cherries are offset by more than 3 px.",
        "Check that no camera was moved; then pitcore calibrate align.",
    ),
    "nothing_seen": AlarmText(
        "The belt moves, and for nothing_seen_s no thing was seen that moves with it.",
        "Check the feed, the light and the camera's view.",
    ),
    "encoder_dead": AlarmText(
        "Cherries move but the encoder does not count, or only jitters. All things in each frame are then judged.",
        "Check the encoder's cable, supply and coupling.",
    ),
    "encoder_mismatch": AlarmText(
        "Fewer than half of the cherries that two frames show are at the place that the encoder gives.",
        "Check coupling and slip; then pitcore calibrate belt.",
    ),
    "belt_reversing": AlarmText(
        "The belt is more than 60 px behind where it was.",
        "Nothing, if somebody ran the belt back: things that left the frame by its entry edge are judged again. "
        "If the belt runs forward, exchange the encoder's channels A and B.",
    ),
    "only_foreign": AlarmText(
        "Nine in ten of the last 40 things are not single cherries.",
        "Check what is on the belt, and the bounds of size, shape and light in [decision].",
    ),
    "drift": AlarmText(
        "Probability, size, brightness or verdict shares of the cherries differ from those of the last weeks.",
        "The text names the figures: check lamps, glass and exposure, or see whether the kind of fruit changed.",
    ),
    "unlike_card": AlarmText(
        "The cherries are unlike those that the model was tested on.",
        "Compare exposure and fruit with the model's, or have a model trained on this line's crops.",
    ),
}

REASONS: Mapping[Reason, str] = {
    "uncertain": "The probability of a pit lies between the two thresholds.",
    "touching": "The shape is not one cherry: two or more touch.",
    "foreign": "The grey level is outside that of cherries: leaf, stone or other thing.",
    "cut": "The cherry left the picture before it was whole.",
    "unseen": "The cherry vanished between two frames, so the network did not see it.",
    "overload": "There were more cherries in the frame than the board judges in time.",
    "not_finite": "The network gave no number: it is never clean.",
    "failsafe": "An alarm is on: nothing is clean until it is over.",
}

# Texts of events that are no alarms: of a frame (docs/faults.md), of the valves (docs/actuation.md).
EVENTS: Mapping[str, str] = {
    "frames_dropped": "The queue was full: the board is too slow for this belt.",
    "frames_lost": "The source skipped numbers.",
    "frame_repeated": "The same number arrived twice.",
    "frames_renumbered": "The source restarts its count.",
    "frame_damaged": "A picture is incomplete or wrong: a JPEG without its end, a wrong checksum, an error of the "
    "decoder or driver.",
    "frame_black": "A plane is 0 in every pixel.",
    "frame_flooded": "More foreground than max_foreground_share.",
    "frame_unreadable": "More runs or things than the memory holds.",
    "frame_stuck": "A plane repeats its last picture, pixel for pixel; or cherries did not move although the belt "
    "moved.",
    "belt_gap": "Belt passed between two frames.",
    "logits_not_finite": "The network's answer for a cherry is NaN or infinite.",
    "overload": "More cherries in a frame than max_cherries.",
    "reject_late": "verdicts arrived after their cherry had reached the nozzle",
    "reject_skipped": "a pulse got no air, or not all of it",
    "belt_unjudged": "belt reached the nozzles without a verdict",
    "valve_held": "the belt was stopped with an open valve, which was shut",
    "encoder_lost": "edges that the kernel's buffer lost; they are counted by their numbers",
    "encoder_glitch": "invalid edges: check cable, shield and debounce_us",
}
