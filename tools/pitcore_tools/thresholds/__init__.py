"""Chooses thresholds with a statistical guarantee."""
