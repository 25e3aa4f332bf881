"""Implements `pitcore doctor`, which checks a board and says how to fix each fault."""
