"""``python -m pitcore_tools``: what ``torchrun`` starts."""

from pitcore_tools.cli.main import main

main()
