"""Colours of the pictures that people look at: verdicts and planes. The shapes is with who draws them."""

from __future__ import annotations

from pitcore.verdict import VerdictName

Rgb = tuple[int, int, int]

COLOURS: dict[VerdictName, Rgb] = {
    "clean": (128, 255, 64),
    "maybe": (255, 221, 0),
    "pit": (255, 48, 48),
    "side": (0, 224, 255),
}
TINTS = {"top": (1.0, 0.52, 0.50), "bottom": (1.0, 0.74, 0.42)}  # cherry red and amber: lit from above, from below
GAMMA = 0.75  # lifts the dark hearts, which matter most
BACKGROUND, INK = (16, 18, 22), (232, 234, 238)


def hex_of(colour: Rgb) -> str:
    """Return a colour as CSS writes it."""
    return "#{:02x}{:02x}{:02x}".format(*colour)
