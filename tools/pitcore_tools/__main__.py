"""Runs the command line as ``python -m pitcore_tools``, which ``torchrun`` starts."""

from pitcore_tools.cli.main import main

main()
