"""Experiments: what was tried, what was expected of it, and what came out, on crops no net was trained on."""
