"""The loop that takes every frame from a source to its verdicts, and the place that builds its parts."""
