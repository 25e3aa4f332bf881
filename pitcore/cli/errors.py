"""Turns errors into one line and an exit code."""

from __future__ import annotations

import contextlib
import logging
import os
import sys

import click

from pitcore.cli.streams import open_missing_streams
from pitcore.errors import HungError, PitcoreError
from pitcore.output_path import line_of
from pitcore.plain_text import printable

USER_ERROR = 2
INTERRUPTED = 130  # as a shell reports a program ended by Ctrl-C


def run_command(command: click.Command) -> None:
    """Run a command and leave the process.

    Exit code 0: done; 1: our fault, with a traceback; 2: the user can fix it, and the line says how; 4: a call hung;
    130: interrupted.
    """
    open_missing_streams()
    try:
        command(standalone_mode=False)
        sys.stdout.flush()
        _drop_refused_output()  # of standard error: a log line that it refused must not change the exit code to 120
    except click.ClickException as error:
        with contextlib.suppress(OSError):  # standard error is full or broken
            error.show()
        _leave(error.exit_code)
    except click.Abort:
        _leave(INTERRUPTED)
    except PitcoreError as error:
        _tell(f"{command.name}: {printable(error)}")
        if isinstance(error, HungError):
            logging.shutdown()
            os._exit(error.exit_code)  # an orderly end could wait for what hangs
        _leave(error.exit_code)
    except BrokenPipeError:  # the reader of our output went away, as in `pitcore ... | head`
        sys.stderr.close()
    except OSError as error:
        line = line_of(error)
        if line is None:
            raise
        _tell(f"{command.name}: {printable(line)}")
        _leave(USER_ERROR)


def _tell(line: str) -> None:
    with contextlib.suppress(OSError):
        click.echo(line, err=True)


def _leave(code: int) -> None:
    _drop_refused_output()
    sys.exit(code)


def _drop_refused_output() -> None:
    """Drop output that a stream refuses, since Python would end with a traceback or with exit code 120."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)
