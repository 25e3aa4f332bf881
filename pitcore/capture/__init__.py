"""Keeps crops of some cherries on the board's disk: doubtful ones, and a random sample.

``choose`` says which, ``ring`` bounds the folder, ``keeper`` stands between the loop and the disk, ``record`` is what
is kept with the pixels. docs/capture.md is for people.
"""
