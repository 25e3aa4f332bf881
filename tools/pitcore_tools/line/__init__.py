"""Estimates how often the line is right, from the random sample and its labels."""
