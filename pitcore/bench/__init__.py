"""Implements ``pitcore-bench``, which measures the time and memory of the service on this machine.

It runs the ``App`` of the service and reads its metrics and hooks; it has no loop of its own.
"""
