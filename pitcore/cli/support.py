"""Implements ``pitcore support``, which makes one file for a fault report."""

from __future__ import annotations

import platform
import time
from pathlib import Path

import click

from pitcore.cli.options import board_option
from pitcore.cli.parameters import OutputFile
from pitcore.output_path import try_file
from pitcore.support.bundle import gather, pack
from pitcore.text_table import table


@click.command()
@board_option
@click.option("--out", type=OutputFile(is_new=True), help="Default: pitcore-support-HOST-TIME.tar.gz in this folder.")
def support(config_path: Path | None, out: Path | None) -> None:
    """Pack a fault report: doctor, status, configuration, versions, last verdicts, journal, bench.

    Passwords, tokens and keys are removed. It holds no picture and has at most a few megabytes. Its content is listed;
    check it before you send it. An existing file is never overwritten.

    \b
    Example:
      sudo pitcore support --out /tmp/board7.tar.gz
    """
    out = out or Path(
        f"pitcore-support-{platform.node() or 'board'}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.tar.gz"
    )
    try_file(out, is_new=True)
    parts = gather(config_path)
    pack(parts, out)
    rows = [[name, str(len(text.encode())), _remark(text)] for name, text in parts.items()]
    click.echo(table(["part", "bytes", ""], rows))
    click.echo(f"\nwritten: {out} ({out.stat().st_size} bytes)")


def _remark(text: str) -> str:
    """Return the remark for a part that is not available."""
    return text.strip().splitlines()[0][:80] if text.startswith("not available") else ""
