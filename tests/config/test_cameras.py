"""A mistake in [source] is reported with section, key and fix."""

import pytest

from pitcore.config import decode_config
from pitcore.errors import ConfigError

CAMERA = '[[source.cameras]]\nid = "a"\nplanes = ["top"]\n'
SECOND = '[[source.cameras]]\nid = "b"\nplanes = ["bottom"]\n'
PI = '[source]\nkind = "picamera2"\n'
UVC = '[source]\nkind = "uvc"\n'
VIDEO = '[source]\nkind = "video"\npath = "x"\n'

GOOD = [
    PI + CAMERA + SECOND,
    PI + CAMERA.replace('["top"]', '["bottom", "top"]\nchannels = ["red", "blue"]'),
    PI + 'trigger = "external"\ntrigger_ticks = 10\n' + CAMERA + SECOND,
    PI + "picture_px = [3000, 600]\n" + CAMERA + "window_px = [536, 100]\n" + SECOND,
    "[runtime]\nqueue_frames = 4\n" + PI + "buffers = 10\n" + CAMERA + SECOND,
    UVC,
    VIDEO,
    '[frame]\nplanes = ["grey"]\nheight_px = 480\nwidth_px = 641\n[segmentation]\nbackground = [6]\nthreshold = [14]\n'
    'polarity = ["bright"]\n[decision]\nmin_plane_mean = [1.0]\nmax_plane_mean = [200.0]\n'
    + UVC
    + 'channels = ["luma"]\n',
]

BAD = [
    (PI, r"\[source\]: Object missing required field `cameras`"),
    (PI + CAMERA, r"source\.cameras give the planes top, but frame\.planes are top, bottom"),
    (PI + CAMERA + CAMERA, r"\[source\]: two cameras have the id a; each connector has one of its own"),
    (PI + CAMERA + SECOND + SECOND.replace('"b"', '"c"'), r"\[source\] cameras: Expected `array` of length <= 2"),
    (
        PI + CAMERA + "exposure = 5\n" + SECOND,
        r"\[source\] cameras\[0\]: unknown key `exposure`; known: id, planes",
    ),
    (PI + "fps = 5\n" + CAMERA + SECOND, r"\[source\]: unknown key `fps`; known: cameras, frames_per_s"),
    (UVC + "path = 5\n", r"\[source\]: unknown key `path`; known: device, channels"),
    (PI + CAMERA + 'flip = "up"\n' + SECOND, r"\[source\] cameras\[0\]\.flip: .*; choose one of: none, horizontal"),
    (PI + CAMERA + 'channels = ["red", "blue"]\n' + SECOND, r"channels has 2 values for 1 planes; one for each"),
    (
        PI + CAMERA.replace('["top"]', '["top", "bottom"]\nchannels = ["luma", "red"]'),
        r"read out in grey \(luma\) or in colour, not in both",
    ),
    (
        PI + CAMERA + "exposure_us = 50000\n" + SECOND,
        r"exposure_us = 50000 is not below a frame's 50000 us at frames_per_s = 20",
    ),
    (PI + 'trigger = "external"\n' + CAMERA + SECOND, r"trigger_ticks belong together: give both, or neither"),
    (PI + "trigger_ticks = 5\n" + CAMERA + SECOND, r"trigger_ticks belong together: give both, or neither"),
    (
        PI + 'trigger = "external"\ntrigger_ticks = 5\nsync = "software"\n' + CAMERA + SECOND,
        r"is for free-running cameras; the trigger already synchronises them",
    ),
    (PI + "picture_px = [2465, 500]\n" + CAMERA + SECOND, r"picture_px: width and height are even"),
    (PI + "picture_px = [2464, 400]\n" + CAMERA + SECOND, r"a frame of 2464 x 500 px from there does not fit into"),
    (PI + CAMERA + "window_px = [1, 0]\n" + SECOND, r"window_px = \[1, 0\]: a frame of 2464 x 500 px"),
    (PI + CAMERA + "sensor_crop_px = [0, 0, 0, 5]\n" + SECOND, r"sensor_crop_px has no area; give x, y, width, height"),
    (
        PI + "pair_within_us = 26000\n" + CAMERA + SECOND,
        r"pair_within_us = 26000 .* at frames_per_s = 20: .*at most 25000",
    ),
    (PI + "buffers = 7\n" + CAMERA + SECOND, r"source\.buffers = 7: at least 8 for runtime\.queue_frames = 2"),
    (UVC + 'channels = ["luma"]\n', r"source\.channels has 1 values, but frame\.planes names 2"),
    (UVC + "picture_px = [640, 480]\n", r"does not fit into a picture of 640 x 480"),
    (VIDEO + 'channels = ["grey", "blue"]\n', r"\[source\] channels\[0\]: .*; choose one of: luma, red, green, blue"),
    (UVC + "px_per_s = 0.0\n", r"\[source\] px_per_s: Expected `float` > 0"),
]


@pytest.mark.parametrize("text", GOOD)
def test_valid_camera_configurations_are_accepted(text):
    decode_config(text, "board.toml")


@pytest.mark.parametrize(("text", "said"), BAD)
def test_a_mistake_is_reported_with_section_key_and_fix(text, said):
    with pytest.raises(ConfigError, match=rf"^board\.toml: .*{said}") as caught:
        decode_config(text, "board.toml")
    assert "\n" not in str(caught.value)
