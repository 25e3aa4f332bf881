"""Defines ``pitcore``, the group of commands."""

from __future__ import annotations

import click

from pitcore import __version__
from pitcore.cli.arm import arm, disarm
from pitcore.cli.calibrate import calibrate
from pitcore.cli.campaign import campaign
from pitcore.cli.classify import classify
from pitcore.cli.config import config
from pitcore.cli.demo import demo
from pitcore.cli.doctor import doctor
from pitcore.cli.errors import run_command
from pitcore.cli.page import page
from pitcore.cli.point import point
from pitcore.cli.record import record
from pitcore.cli.reload import reload
from pitcore.cli.replay import replay
from pitcore.cli.run import run
from pitcore.cli.shut_valves import shut_valves
from pitcore.cli.status import status
from pitcore.cli.streams import open_missing_streams
from pitcore.cli.support import support
from pitcore.cli.update import update
from pitcore.service.journal import start_logging


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="pitcore")
def pitcore() -> None:
    """Find every cherry on the belt and judge it: clean, maybe, pit or side.

    Start with: pitcore demo
    """


LOOKING = (demo, classify, record, replay)
SERVING = (run, status, arm, disarm, shut_valves, reload, point, page, update)
SETTING_UP = (config, calibrate, doctor, support)
for command in (*LOOKING, *SERVING, *SETTING_UP):
    pitcore.add_command(command)

update.add_command(campaign)


def main() -> None:
    """Entry point. Exit code 0: done; 1: our fault; 2: the user can fix it, and the message says how; 3: none runs."""
    start_logging(is_silent=open_missing_streams())
    run_command(pitcore)
