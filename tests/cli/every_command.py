"""Runs many command lines, each in a process of its own that is forked after all imports: seconds instead of minutes.

Reads cases from a JSON file: program, arguments, and what becomes of the standard streams. Writes how each ended.
"""

import importlib
import json
import os
import signal
import sys
import traceback
from pathlib import Path

import click

from tests.cli.forks import PROGRAMS

PATIENCE_S = 300  # a command that imports torch took over a minute on a busy machine


def module_of(program):
    """The module that has the program's ``main`` and its click command."""
    return importlib.import_module(PROGRAMS[program][0])


def import_command(case):
    """Import the command of a case, so that its child need not."""
    module, name = PROGRAMS[case["program"]]
    command = getattr(importlib.import_module(module), name)
    if isinstance(command, click.Group) and case["arguments"]:
        command.get_command(click.Context(command), case["arguments"][0])


def become(case):
    """Run the program of a case to its end, in this process, with the streams of the case."""
    signal.alarm(PATIENCE_S)
    null = os.open(os.devnull, os.O_RDWR)
    new = os.O_WRONLY | os.O_CREAT
    streams = [null, os.open("out", new), os.open("err", new)]
    if case["streams"] != "closed":
        full = os.open("/dev/full", os.O_WRONLY)
        streams[1] = full
        streams[2] = full if case["streams"] == "all full" else streams[2]
    for number, fd in enumerate(streams):
        os.dup2(fd, number)
    if case["streams"] == "closed":
        os.closerange(0, 3)
        sys.stdin = sys.stdout = sys.stderr = None  # as Python has them where they are closed
    sys.argv = [case["program"], *case["arguments"]]
    module_of(case["program"]).main()


def ended(case, folder):
    """Run a case in a child and return its exit code and what it wrote to standard error."""
    import_command(case)
    folder.mkdir()
    child = os.fork()
    if child == 0:
        os.chdir(folder)
        if case["arguments"] == ["--help"]:
            become(case)
            sys.exit(0)  # Python ends as it does for the program itself
        os._exit(code_of(case))  # to take Python and torch down takes longer than all the rest
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return {"code": code, "err": (folder / "err").read_text(errors="replace")}


def code_of(case):
    """Run a case and return the exit code that Python would end with."""
    code = 0
    try:
        become(case)
    except SystemExit as end:
        code = end.code or 0
    except BaseException:  # noqa: BLE001  as Python does
        traceback.print_exc()
        code = 1
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            code = 120
    return code


if __name__ == "__main__":
    cases, place, answer = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
    results = [ended(case, place / str(number)) for number, case in enumerate(json.loads(cases.read_text()))]
    answer.write_text(json.dumps(results))
