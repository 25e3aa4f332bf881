"""Measures what differs between boards: exposure, light across the belt, alignment of the planes, belt scale.

Each step has a module of rules without IO. ``survey`` reads frames, ``store`` writes the results, ``chart`` draws them.
"""
