"""Training: from a folder of labelled crops to a float model."""
