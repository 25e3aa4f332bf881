"""Entry point of ``pitcore-tools``."""

from __future__ import annotations

from pitcore.entry import start


def main() -> None:
    """Start ``pitcore-tools``."""
    start("pitcore_tools.cli.main")
