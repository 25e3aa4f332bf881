"""The one tree of errors a user can meet.

Each message is one line that says what is wrong, where, and how to mend it. The command line prints
it and exits with code 2; it never shows a traceback for an error of this tree. Programming errors are
not of this tree and do show one.
"""


class PitcoreError(Exception):
    """Base of everything a user can mend. The message is one line."""

    exit_code = 2


class ConfigError(PitcoreError):
    """A board configuration that cannot be read, or a value out of its bounds."""


class CardError(PitcoreError):
    """A model card with a missing, unknown or impossible key."""


class BundleError(PitcoreError):
    """A model bundle whose files are missing, altered, or do not fit the card or this machine."""


class ImageError(PitcoreError):
    """A picture that cannot be decoded, or that is not a cherry crop."""


class FrameError(PitcoreError):
    """A frame whose planes do not have the promised shape, type or memory layout."""


class SourceError(PitcoreError):
    """A source of frames that cannot be opened, or that stopped delivering."""


class RecordingError(SourceError):
    """A recording that is incomplete, altered, or does not fit the configuration."""


class SegmentationError(PitcoreError):
    """A frame in which cherries cannot be told from the belt; the service counts it and goes on."""


class SinkError(PitcoreError):
    """Verdicts that cannot be written."""


class DataError(PitcoreError):
    """A folder of training or test crops that cannot be used."""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its class name where it has none."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
