"""Thresholds: what may pass, what is thrown out, and with what guarantee."""
