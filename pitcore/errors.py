"""Defines every error that a user can get.

Each message is one line that says what is wrong, where, and how to fix it. The command line prints
it and exits with code 2; it never shows a traceback for an error of this tree. Programming errors are
not of this tree and do show one.
"""

from enum import StrEnum


class PitcoreError(Exception):
    """Base of everything a user can fix. The message is one line."""

    exit_code = 2


class ConfigError(PitcoreError):
    """A board configuration that cannot be read, or a value out of its bounds."""


class CardError(PitcoreError):
    """A model card with a missing, unknown or impossible key."""


class BundleError(PitcoreError):
    """A model bundle whose files are missing, altered, or do not fit the card or this machine."""


class UnreadableBundleError(BundleError):
    """A model bundle that the disk or the machine does not give: that says nothing of the model."""


class ImageError(PitcoreError):
    """A picture that cannot be decoded, or that is not a cherry crop."""


class FrameError(PitcoreError):
    """A frame whose planes do not have the promised shape, type or memory layout."""


class SourceError(PitcoreError):
    """A source of frames that cannot be opened, or that stopped delivering."""


class RecordingError(SourceError):
    """A recording that is incomplete, altered, or does not fit the configuration."""


class SegmentationError(PitcoreError):
    """A frame in which cherries cannot be distinguished from the belt; the service counts it and goes on."""


class CalibrationError(PitcoreError):
    """A calibration that cannot be measured from these frames, or not be stored."""


class OutputError(PitcoreError):
    """A path that a command cannot write to, or must not."""


class SinkError(PitcoreError):
    """Verdicts that cannot be written."""


class ControlError(PitcoreError):
    """A request to a running service, or to its control socket, that cannot be carried out."""


class NotRunningError(ControlError):
    """No service answers at the control socket. Exit code 3, as the Linux Standard Base has it for a status."""

    exit_code = 3


class HungError(PitcoreError):
    """A call that does not return, so that the process ends without it. Exit code 4."""

    exit_code = 4


class PageError(PitcoreError):
    """The live page lacks something that it needs."""


class SupportError(PitcoreError):
    """A support file that cannot be written."""


class DataError(PitcoreError):
    """A folder of training or test crops that cannot be used."""


class Refusal(StrEnum):
    """The reason why an update was refused. The values are stable: status, feedback and tests contain them."""

    # The repository's word.
    BAD_SIGNATURE = "bad-signature"  # a wrong key, or fewer keys than the role's threshold
    MALFORMED = "malformed"  # metadata that cannot be read, or that breaks a rule of the repository
    EXPIRED = "expired"  # nobody signed for too long: a frozen mirror, an old stick
    ROLLED_BACK = "rolled-back"  # older than what this board has already seen
    ROOT_GAP = "root-gap"  # a version of the root is missing, so the newer ones cannot be followed
    FAST_FORWARD = "fast-forward"  # a version so high that no honest one could follow
    MIXED = "mixed"  # parts of different publications
    CLOCK = "clock"  # looks expired, but this board does not know the time
    # The choice.
    BAD_NAME = "bad-name"  # a target whose name could leave its directory
    UNLISTED = "unlisted"  # the channel names what no offline key has signed
    INCOMPATIBLE = "incompatible"  # for another architecture, contract or runtime
    # The way here.
    UNREACHABLE = "unreachable"  # no connection
    UNAVAILABLE = "unavailable"  # the server says that it cannot serve now
    NOT_FOUND = "not-found"  # the server does not have it
    CAPTIVE_PORTAL = "captive-portal"  # a login page or another answer came instead of the file
    CUT_SHORT = "cut-short"  # the connection ended before the file did
    TOO_SLOW = "too-slow"  # under the minimum rate, or past the deadline
    OVERSIZED = "oversized"  # more bytes than signed, or than is ever taken
    # The bytes.
    WRONG_HASH = "wrong-hash"  # not what was signed
    WRONG_BASE = "wrong-base"  # a patch for another archive
    CORRUPT_PATCH = "corrupt-patch"  # does not decode
    PATCH_BOMB = "patch-bomb"  # unfolds to more than was signed
    # This board.
    SELF_TEST = "self-test"  # the model loads or judges otherwise than it must
    UNJUDGED = "unjudged"  # the machine could not say whether the model is good; it is tried again
    TRIAL = "trial"  # it did not prove itself in the running service
    NO_SPACE = "no-space"
    READ_ONLY = "read-only"
    STORAGE = "storage"  # the disk fails otherwise
    NEWER_STATE = "newer-state"  # written by a newer pitcore
    BUSY = "busy"  # another update runs
    NOT_SET_UP = "not-set-up"  # no root of trust, or no repository
    NOTHING_TO_DO = "nothing-to-do"  # the command does not apply now: nothing failed


class UpdateError(PitcoreError):
    """An update, or a step of one, that was refused. The running model is untouched.

    Attributes:
        refusal: which of the reasons.
    """

    def __init__(self, refusal: Refusal, message: str) -> None:
        super().__init__(refusal, message)  # both, so that it travels between processes
        self.refusal = refusal

    def __str__(self) -> str:
        return str(self.args[1])


class PublishError(PitcoreError):
    """A step of publishing that was refused. The repository is as it was."""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its class name where it has none."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
