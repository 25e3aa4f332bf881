"""Reads frames: the protocol of a source, real cameras, recordings, films, and crops read from disk.

Each module is imported by its own name; importing the package loads nothing.
"""
