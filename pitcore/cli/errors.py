"""The one place where an error becomes a line and an exit code."""

from __future__ import annotations

import logging
import os
import sys

import click

from pitcore.cli.streams import open_missing_streams
from pitcore.errors import HungError, PitcoreError
from pitcore.plain_text import printable

INTERRUPTED = 130  # as a shell reports a program ended by Ctrl-C


def run_command(command: click.Command) -> None:
    """Run a command and leave the process.

    Exit code 0: done; 1: our fault, with a traceback; 2: the user can fix it, and the line says how; 4: a call hung
    and was left behind; 130: interrupted.
    """
    open_missing_streams()
    try:
        command(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(INTERRUPTED)
    except PitcoreError as error:
        click.echo(f"{command.name}: {printable(error)}", err=True)
        if isinstance(error, HungError):
            logging.shutdown()
            os._exit(error.exit_code)  # an orderly end could wait for what hangs
        sys.exit(error.exit_code)
    except BrokenPipeError:  # the reader of our output went away, as in `pitcore ... | head`
        sys.stderr.close()
