"""Measures a roofline of this machine, and predicts the times of boards."""
