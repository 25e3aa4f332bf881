"""``pitcore run``, or another command that a signal ends, in a process of its own."""

import json
import signal
import time

from tests.cli.forks import Forked
from tests.cli.program import program
from tests.patience import PATIENCE_S


class Service:
    """A service that is started at once; ``log`` gets what it prints.

    Args:
        config: file.
        log: file; is appended to.
        options: further ones of the command.
        env: of the process.
        command: words of another command.
    """

    def __init__(self, config, log, *options, env=None, command=("run",)):
        self._log = log
        words = [*map(str, command), "--config", str(config), *options]
        with log.open("ab") as output:
            self.process = Forked(program(), words, stdout=output, stderr=output, env=env)

    def wait_for_log(self, text, times=1, patience_s=PATIENCE_S):
        self.wait(lambda: self._log.read_text().count(text) >= times, f"{text!r} in the log", patience_s)

    def wait_for_line(self, path, wanted):
        def there():
            return path.exists() and any(wanted(json.loads(line)) for line in whole_lines(path))

        self.wait(there, "a verdict line")

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def wait(self, condition, what, patience_s=PATIENCE_S):
        deadline = time.monotonic() + patience_s
        while not condition():
            assert self.process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, f"no {what}: {self._log.read_text()}"
            time.sleep(0.02)


def whole_lines(path):
    return path.read_text().rpartition("\n")[0].splitlines()
