"""From logits and shape to a verdict."""
