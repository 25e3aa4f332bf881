"""Small belts for the camera tests."""

import numpy as np
from PIL import Image

from pitcore.emulator.emulated import EmulatedSource
from pitcore.emulator.spec import BeltSpec

LEVEL, THRESHOLD = 6, 14  # the configuration's defaults


def small_spec(**changes):
    values = {"height_px": 240, "width_px": 700, "cherries_per_frame": 5.0, "advance_px": 120, "frames": 8}
    return BeltSpec(**(values | changes))


def frames_of(source):
    """Copies of every frame of a finite source: (seq, t_ns, tick, planes)."""
    source.start()
    seen = []
    while (frame := source.read(5.0)) is not None:
        with frame:
            seen.append((frame.seq, frame.t_ns, frame.tick, np.stack(frame.planes)))
    source.close()
    return seen


def belt_of(spec, **more):
    return frames_of(EmulatedSource(spec, **more))


def write_crop(path, pixels):
    """Write (H, W, 2) pixels as a crop picture: red, nothing, blue."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rgb = np.zeros((*pixels.shape[:2], 3), np.uint8)
    rgb[..., 0], rgb[..., 2] = pixels[..., 0], pixels[..., 1]
    Image.fromarray(rgb).save(path)


def disc_crop(seed, side=60):
    """A disc of random grey levels above zero, on zero."""
    yy, xx = np.mgrid[:side, :side]
    disc = (yy - (side - 1) / 2) ** 2 + (xx - (side - 1) / 2) ** 2 < (side / 2 - 2) ** 2
    rng = np.random.default_rng(seed)
    return np.where(disc[..., None], rng.integers(40, 200, (side, side, 2)), 0).astype(np.uint8)


def write_crops(folder, count=6):
    """``count`` crops of each class; returns their pixels by relative path."""
    written = {}
    for label, name in enumerate(("cherry_clean", "cherry_pit")):
        for index in range(count):
            pixels = disc_crop(100 * label + index, 40 + 4 * index)
            write_crop(folder / name / f"{index:02}.png", pixels)
            written[f"{name}/{index:02}.png"] = pixels
    return written
