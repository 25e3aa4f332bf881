"""Disks that record operations, refuse them, or kill the process at one; and the scenarios for them.

Each is the real ``Disk`` apart from its faults.
"""

import errno
import os
import signal

from pitcore.ota.disk import Disk, Operation

WRITES = {"create", "write", "mkdir"}  # operations that a full disk refuses


class Recording(Disk):
    """Records its operations in order, with notes between them."""

    def __init__(self):
        self.done = []

    def attempt(self, operation):
        self.done.append(operation)
        super().attempt(operation)

    def note(self, what):
        """Record the promises so far."""
        self.done.append(what)

    @property
    def operations(self):
        return [entry for entry in self.done if isinstance(entry, Operation)]


class Killing(Disk):
    """Ends its process, as `kill -9` does, at the operation of that number.

    Args:
        number: of the operation, from 0.
        moment: ``before`` it, ``after`` it, or ``half`` way through a write.
    """

    def __init__(self, number, moment):
        self.left, self.moment = number, moment

    def attempt(self, operation):
        here, self.left = self.left == 0, self.left - 1
        if here and self.moment == "half":
            super().attempt(halved(operation))
        if here and self.moment != "after":
            os.kill(os.getpid(), signal.SIGKILL)
        super().attempt(operation)
        if here:
            os.kill(os.getpid(), signal.SIGKILL)


class Refusing(Disk):
    """Refuses from the operation of that number on, as the errno has it.

    EIO hits that one operation. ENOSPC hits every write from there on, and leaves half of the first. EROFS hits all.
    """

    def __init__(self, number, code):
        self.left, self.code = number, code

    def attempt(self, operation):
        self.left -= 1
        if self._refuses(operation):
            if operation.kind == "write" and self.left == -1:
                super().attempt(halved(operation))
            raise OSError(self.code, os.strerror(self.code))
        super().attempt(operation)

    def _refuses(self, operation):
        if self.code == errno.EIO:
            return self.left == -1
        return self.left < 0 and (self.code == errno.EROFS or operation.kind in WRITES)


def halved(operation):
    return Operation("write", operation.path, content=operation.content[: len(operation.content) // 2])
