"""Implements the loop that processes every frame of a source into verdicts, and builds its stages."""
