"""Compares pitcore with what a user would otherwise write, on the same frames in the same run."""
