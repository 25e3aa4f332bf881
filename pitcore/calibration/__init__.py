"""Measures what differs from board to board: exposure, light across the belt, alignment of the planes, belt scale.

One module for each step, its rules pure; ``survey`` reads frames, ``store`` writes what came of it, ``chart`` draws it.
"""
