"""Evaluates a model by its logits on held-out crops."""
