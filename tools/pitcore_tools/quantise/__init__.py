"""Quantisation: from a float graph to the int8 graph that boards run."""
