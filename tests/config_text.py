"""Parts of board configurations that several tests use."""

from tests.camera.board import BOTTOM, TOP

FRAMES_PER_S = 25.0  # a service at 100 leaves a slow machine no time for the test
SMALL_FRAME = """
[frame]
height_px = 240
width_px = 640
"""


def small_belt(*, frames_per_s=FRAMES_PER_S, cherries_per_frame=4.0):
    """Return the frame and the source of a configuration: a small emulated belt."""
    return f"""
{SMALL_FRAME}
[source]
kind = "emulated"
cherries_per_frame = {cherries_per_frame}
advance_px = 120
frames_per_s = {frames_per_s}
ring_frames = 6
"""


def camera_source(frames_per_s, *, ids=(TOP, BOTTOM), more=""):
    """Return the source of a configuration with two small cameras; ``more`` is further lines of [source]."""
    text = f"""
[source]
kind = "picamera2"
frames_per_s = {frames_per_s}
px_per_s = {120.0 * frames_per_s}
{more}
"""
    for camera_id, plane in zip(ids, ("top", "bottom"), strict=True):
        text += f'[[source.cameras]]\nid = "{camera_id}"\nplanes = ["{plane}"]\n'
    return text


def two_cameras(frames_per_s, *, patience_s):
    """The configuration of a board with two small cameras, as ``programs_cameras`` connects them.

    Args:
        frames_per_s: of each.
        patience_s: with a camera that sends nothing, at the start and later.
    """
    return f"""
{SMALL_FRAME}
{camera_source(frames_per_s, more=f"startup_s = {patience_s}")}
[runtime]
capture_timeout_s = {patience_s}
stop_timeout_s = 60.0
"""
