"""Publishes models: signs, makes deltas, phases releases in, and writes a repository of static files.

What a board makes of it is in ``pitcore.ota``; docs/updates_publisher.md goes through it step by step.
"""
