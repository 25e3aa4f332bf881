"""Keeps crops of some cherries on the board's disk: doubtful ones, and a random sample. See docs/capture.md.

``choose`` selects them, ``keeper`` copies them in the loop and writes them on a thread, ``ring`` limits the folder, and
``record`` defines the data that are stored with the pixels.
"""
