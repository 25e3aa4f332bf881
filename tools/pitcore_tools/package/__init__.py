"""Publishes models: signs, makes deltas, phases releases in, and writes a repository of static files.

``pitcore.ota`` is the board's side; docs/updates_publisher.md describes each step.
"""
