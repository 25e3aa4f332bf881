"""Monitors the line over many frames: light, glass, alignment, belt, encoder, and what the belt carries.

``frame_watch`` checks whether a single frame can be searched; the other modules check whether its results can be
trusted. Each check has its own module; ``watch`` runs them and keeps the alarms.
"""

from pitcore.line_watch.watch import LineWatch, Seen

__all__ = ["LineWatch", "Seen"]
