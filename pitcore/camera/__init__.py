"""Where frames come from: the contract of a source, the emulated belt, recordings, and real crops read from disk.

Each module is imported by its own name; importing the package loads nothing.
"""
