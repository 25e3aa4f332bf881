"""Fetches bytes from a repository, over HTTP or from a folder, within limits of time and size.

It implements the interface of tuf's client for metadata, and streams larger files. It verifies nothing.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from io import FileIO
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tuf.api.exceptions import DownloadHTTPError
from tuf.ngclient.fetcher import FetcherInterface

from pitcore.errors import Refusal, UpdateError
from pitcore.ota.minimum_speed import Pace, Seconds, SpeedLimits
from pitcore.ota.response import check_text_file
from pitcore.ota.web import CHUNK, ResponseBody, Web


class Fetcher(FetcherInterface):
    """Fetches from ``http://``, ``https://`` and ``file://``.

    Args:
        limits: of time and speed.
        clock: in seconds; never goes back.
        authorization: value of the header for the repository's server, or None.

    Attributes:
        last_url: of the newest request, for error messages.
    """

    def __init__(
        self, limits: SpeedLimits | None = None, clock: Seconds = time.monotonic, authorization: str | None = None
    ) -> None:
        self.limits = limits or SpeedLimits()
        self._pace = Pace(self.limits, clock)
        self._web = Web(self.limits, self._pace, authorization)
        self.last_url = ""

    def begin(self, seconds: float) -> None:
        """Start a task whose downloads must end within this many seconds."""
        self._pace.begin(seconds)

    def open(self, url: str, start: int = 0) -> AbstractContextManager[ResponseBody]:
        """Ask for a file from an offset on. The answer may still begin at 0.

        Raises:
            UpdateError: in the ``with`` statement or while the chunks are read.
        """
        self.last_url = url
        scheme = url.partition("://")[0].lower()
        if scheme not in {"file", "http", "https"}:
            raise UpdateError(
                Refusal.NOT_SET_UP, f"{url}: not an http, https or file URL; correct it in the configuration"
            )
        return self._from_folder(url, start) if scheme == "file" else self._web.open(url, start)

    def download_bytes(self, url: str, max_length: int) -> bytes:
        """Return a complete small text file (metadata or a channel) for tuf's client.

        Raises:
            UpdateError: it could not be fetched, or is longer than ``max_length``.
            DownloadHTTPError: it does not exist; tuf's client needs this separate error.
        """
        content = bytearray()
        try:
            with self.open(url) as body:
                for chunk in body.chunks:
                    content += chunk
                    if len(content) > max_length:
                        break
            if not url.startswith("file:"):  # a stick has no login page: what is wrong on it was written so
                check_text_file(bytes(content), url)
            if len(content) > max_length:
                raise oversized(url, max_length)
        except UpdateError as error:
            if error.refusal is Refusal.NOT_FOUND:
                raise DownloadHTTPError(str(error), 404) from error
            raise
        return bytes(content)

    def close(self) -> None:
        """Close what is open."""
        self._web.close()

    def _fetch(self, url: str) -> Iterator[bytes]:
        """Fetch for tuf's client what ``download_bytes`` does not serve."""
        with self.open(url) as body:
            yield from body.chunks

    @contextmanager
    def _from_folder(self, url: str, start: int) -> Iterator[ResponseBody]:
        """Read a regular file. A folder may hold anything, so links are not followed and pipes are not read."""
        path = Path(unquote(urlsplit(url).path))
        self._pace.request(url)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise UpdateError(
                Refusal.NOT_FOUND, f"{path}: does not exist; copy the whole repository to this folder"
            ) from error
        except (OSError, ValueError) as error:
            raise _unreadable(path, error) from error
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            os.close(fd)
            raise UpdateError(
                Refusal.NOT_FOUND, f"{path}: not a regular file; copy the whole repository to this folder"
            )
        with FileIO(fd, "rb") as file:
            start = start if start <= status.st_size else 0
            file.seek(start)
            yield ResponseBody(start, status.st_size, self._file_chunks(file, url, path))

    def _file_chunks(self, file: FileIO, url: str, path: Path) -> Iterator[bytes]:
        try:
            while chunk := file.read(CHUNK):
                self._pace.received(len(chunk), url)
                yield chunk
        except OSError as error:  # pulled out, or worn out
            raise _unreadable(path, error) from error


def oversized(url: str, length: int) -> UpdateError:
    """Return the refusal of a file that is longer than allowed."""
    return UpdateError(
        Refusal.OVERSIZED, f"{url}: more than {length} bytes; the repository is broken, tell its publisher"
    )


def _unreadable(path: Path, error: Exception) -> UpdateError:
    return UpdateError(
        Refusal.UNAVAILABLE, f"{path}: {error}; the disk or stick may be bad, copy the repository to another"
    )
