"""Defines the command line, with one module for each command. Each parses, calls and prints."""
