"""Defines ``pitcore``, the group of commands."""

from __future__ import annotations

import click

from pitcore import __version__
from pitcore.cli.errors import run_command
from pitcore.cli.lazy import LazyGroup, Member
from pitcore.cli.streams import open_missing_streams
from pitcore.service.journal import start_logging

COMMANDS = {
    "arm": Member("pitcore.cli.arm:arm", "Allow the air jet of the running service to fire."),
    "calibrate": Member(
        "pitcore.cli.calibrate:calibrate",
        "Measure what differs between boards, in this order: exposure, flat, align, belt.",
    ),
    "classify": Member(
        "pitcore.cli.classify:classify", "Judge every PNG below each PATH (a file or a folder), in sorted order."
    ),
    "config": Member("pitcore.cli.config:config", "Check a board's configuration: pitcore config check FILE."),
    "demo": Member("pitcore.cli.demo:demo", "Judge an emulated belt and show the results."),
    "disarm": Member("pitcore.cli.arm:disarm", "Put the air jet of the running service into dry run at once."),
    "doctor": Member(
        "pitcore.cli.doctor:doctor",
        "Check this board: configuration, model, processor, cameras, memory, GPIO, disk, service.",
    ),
    "page": Member("pitcore.cli.page:page", "Make and revoke tokens, which give people a role at the live page."),
    "point": Member(
        "pitcore.cli.point:point",
        "Let the running service judge by another operating point of its model, without losing a frame.",
    ),
    "record": Member("pitcore.cli.record:record", "Record frames into DIR, which must not hold a recording yet."),
    "reload": Member(
        "pitcore.cli.reload:reload",
        "Make the running service load its configuration and model again, without losing a frame.",
    ),
    "replay": Member("pitcore.cli.replay:replay", "Judge the recording in DIR, as fast as this machine can."),
    "run": Member("pitcore.cli.run:run", "Run the service until SIGTERM or Ctrl-C."),
    "shut-valves": Member("pitcore.cli.shut_valves:shut_valves", "Shut every valve while no service runs."),
    "status": Member(
        "pitcore.cli.status:status",
        "Show the state of the running service: model, frames, verdicts, faults, latency, cameras, armed or not.",
    ),
    "support": Member(
        "pitcore.cli.support:support",
        "Pack a fault report: doctor, status, configuration, versions, last verdicts, journal, bench.",
    ),
    "update": Member("pitcore.cli.update:update", "New models: check, fetch, install, commit, roll back."),
}


@click.group(
    cls=LazyGroup, members=COMMANDS, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="pitcore")
def pitcore() -> None:
    """Find every cherry on the belt and judge it: clean, maybe, pit or side.

    Start with: pitcore demo
    """


def main() -> None:
    """Entry point. Exit code 0: done; 1: our fault; 2: the user can fix it, and the message says how; 3: none runs."""
    start_logging(is_silent=open_missing_streams())
    run_command(pitcore)
