"""Evaluation: what a model is worth, from logits on crops it never saw."""
