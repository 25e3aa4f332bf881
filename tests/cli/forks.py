"""Starts pitcore's programs in processes of their own without waiting for their imports.

One process, the nursery, imports a program once and forks for each start. What it forks runs the program's own
``main`` and ends as Python does, with real streams, signals and exit codes. It differs from the installed program in
two points: its modules are imported already, and it is no child of the test. Its environment may be another one, whose
``PYTHONPATH`` comes first where it imports more. Tests that need another limit or another Python use ``subprocess``.
"""

import atexit
import contextlib
import functools
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import click

from tests.patience import PATIENCE_S

PROGRAMS = {  # the module that has a program's ``main``, and its click command there
    "pitcore": ("pitcore.cli.main", "pitcore"),
    "pitcore-bench": ("pitcore.cli.bench", "bench"),
    "pitcore-tools": ("pitcore_tools.cli.main", "pitcore_tools"),
}
MAX_REQUEST_BYTES = 64 * 1024


NURSERIES = contextlib.ExitStack()  # ends those that were started
atexit.register(NURSERIES.close)


@functools.cache
def nursery_of(name):
    """The socket of the nursery of a program; when it closes the nursery ends."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, "-m", "tests.cli.forks", name, str(theirs.fileno())]
    nursery = subprocess.Popen(command, pass_fds=[theirs.fileno()], cwd=Path(__file__).parents[2])
    theirs.close()
    NURSERIES.callback(nursery.wait)
    NURSERIES.callback(ours.close)
    return ours


class Forked:
    """A program that runs; has the methods of ``subprocess.Popen`` that the tests use.

    Args:
        program: path of an installed program.
        arguments: its words.
        stdout, stderr: open files.
        cwd: folder to run in, or None for this one.
        env: its environment, or None for this one.
    """

    def __init__(self, program, arguments, *, stdout, stderr, cwd=None, env=None):
        self.args, self.returncode = [program, *map(str, arguments)], None
        self._answer, theirs = socket.socketpair()
        request = {"words": self.args, "cwd": str(cwd or Path.cwd()), "environment": dict(env or os.environ)}
        with Path(os.devnull).open() as null, theirs:
            fds = [null.fileno(), stdout.fileno(), stderr.fileno(), theirs.fileno()]
            socket.send_fds(nursery_of(Path(program).name), [json.dumps(request).encode()], fds)
        self._lines = self._answer.makefile()
        self.pid = int(self._lines.readline())

    def poll(self):
        """The exit code, or None while it runs."""
        if self.returncode is None and select.select([self._answer], [], [], 0.0)[0]:
            self._end()
        return self.returncode

    def wait(self, timeout=None):
        """Wait for the end and return the exit code; negative for a signal."""
        if self.returncode is None:
            if not select.select([self._answer], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout)
            self._end()
        return self.returncode

    def send_signal(self, number):
        """Send a signal, unless it ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self):
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self):
        """End it."""
        self.send_signal(signal.SIGKILL)

    def _end(self):
        self.returncode = int(self._lines.readline())
        self._lines.close()
        self._answer.close()


def run_forked(program, *arguments, cwd=None, env=None, timeout=PATIENCE_S):
    """Run a program to its end; return how it ended and what it printed, as ``subprocess.run``."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = Forked(program, arguments, stdout=out, stderr=err, cwd=cwd, env=env)
        try:
            process.wait(timeout)
        except BaseException:
            process.kill()
            process.wait()
            raise
        printed = [os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode() for file in (out, err)]
        return subprocess.CompletedProcess(process.args, process.returncode, *printed)


def import_commands(command):
    """Import every command of a group, which imports each when it is used."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            command.get_command(context, name)


def serve(requests):
    """Fork for each request until the tests close the socket. Return only in the forks, with the request.

    Reports the number of each child, and how it ended. There is one fork for each program, because coverage starts
    again in each.
    """
    running = {}  # descriptor of a child's process: its number, and where to report
    waiting = select.poll()
    waiting.register(requests, select.POLLIN)
    while True:
        for ready, _ in waiting.poll():
            if ready in running:
                waiting.unregister(ready)
                report_end(*running.pop(ready))
                os.close(ready)
                continue
            message, fds, _, _ = socket.recv_fds(requests, MAX_REQUEST_BYTES, 4)
            if not message:
                os._exit(0)
            *streams, answer = fds
            child = os.fork()
            if child == 0:
                requests.close()
                for number, fd in enumerate(streams):
                    os.dup2(fd, number)
                for fd in [*fds, *running, *(other for _, other in running.values())]:
                    os.close(fd)
                return json.loads(message)
            for fd in streams:  # else a reader of the child's pipes waits for this process too
                os.close(fd)
            report(answer, child)
            process = os.pidfd_open(child)
            running[process] = child, answer
            waiting.register(process, select.POLLIN)


def report_end(child, answer):
    """Report how a child ended, which has ended."""
    _, status = os.waitpid(child, 0)
    report(answer, os.waitstatus_to_exitcode(status))
    os.close(answer)


def report(answer, number):
    """Write a number to a test, unless the test is gone."""
    with contextlib.suppress(OSError):
        os.write(answer, f"{number}\n".encode())


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests; they end us
    module, group = PROGRAMS[sys.argv[1]]
    module = importlib.import_module(module)
    import_commands(getattr(module, group))
    asked = serve(socket.socket(fileno=int(sys.argv[2])))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    sys.path[:0] = [place for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]
    sys.argv, __package__ = asked["words"], None  # click takes the program's name from them
    module.main()
