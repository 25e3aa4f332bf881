"""Watches the line itself, over many frames: light, glass, alignment, belt and encoder, and what comes along.

``frame_watch`` asks whether one frame is fit to be searched; this asks whether what was searched can be believed.
Each check is in a module of its own; ``watch`` runs them, and keeps the alarms.
"""

from pitcore.line_watch.watch import LineWatch, Seen

__all__ = ["LineWatch", "Seen"]
