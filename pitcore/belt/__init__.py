"""Follows the belt: matches the things of a frame with those of earlier frames."""
