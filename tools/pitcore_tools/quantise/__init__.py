"""Quantises a float graph to the int8 graph that boards run, and writes bundles."""
