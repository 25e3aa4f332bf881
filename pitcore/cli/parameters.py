"""Defines types of options and arguments, which refuse what no command accepts.

A path is named as input or as output. An output is tried before the command starts, and an output that is an input of
the same command is refused. A number is finite, and a text is not empty.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from pitcore.errors import OutputError
from pitcore.output_path import Kind, is_same, try_file, try_folder

_USED = f"{__name__}.used"  # in click's memory of a command line: each path so far


class Text(click.types.StringParamType):
    """A text that is not empty."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401
        """Return it, or fail."""
        if not str(value).strip():
            self.fail("it is empty; leave the option out, or give it a value", param, ctx)
        return super().convert(value, param, ctx)


class Number(click.FloatRange):
    """A finite number within bounds. FloatRange alone accepts nan."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401
        """Return it, or fail."""
        if not math.isfinite(number := click.FLOAT.convert(value, param, ctx)):
            self.fail(f"{value!r} is not a finite number", param, ctx)
        return super().convert(number, param, ctx)


class _AnyPath(click.Path):
    """A path that is not empty. It is compared with the other paths of the command line."""

    is_output = False
    is_shared = False  # whether it may be an output beside another path of the same name

    def __init__(self, *, as_text: bool = False, folder: bool = False) -> None:
        super().__init__(path_type=str if as_text else Path, file_okay=not folder, readable=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401
        """Return the path, or fail.

        Raises:
            OutputError: it cannot be written, or is one of the inputs.
        """
        if not str(value):
            self.fail("the path is empty; leave the option out, or name a file or a folder", param, ctx)
        path = super().convert(value, param, ctx)
        if ctx is not None and not ctx.resilient_parsing:
            self._compare(Path(os.fsdecode(path)), param, ctx)
        return path

    def _compare(self, path: Path, param: click.Parameter | None, ctx: click.Context) -> None:
        """Refuse a path that is input and output. Raises OutputError."""
        used: list[tuple[_AnyPath, Path, str]] = ctx.meta.setdefault(_USED, [])
        name = _name_of(param)
        for other, at, other_name in used:
            if name != other_name and _clash(self, other) and is_same(path, at):
                output, beside = (name, other_name) if self.is_output else (other_name, name)
                raise OutputError(f"{path}: {output} would overwrite {beside}; name another place for {output}")
        used.append((self, path, name))


class InputPath(_AnyPath):
    """A file or folder that is read, or a state that a command reads and writes with its own checks.

    Args:
        as_text: gives the path as it was written, not as a ``Path``.
        folder: whether a file is refused.
    """


class OutputFile(_AnyPath):
    """A file that is written.

    Args:
        kind: of the written file; an existing file of another kind is refused. None accepts any.
        makes_folders: whether missing folders are made.
        is_new: whether the file must not exist.
        or_stdout: whether ``-`` means standard output.
    """

    is_output = True

    def __init__(
        self,
        kind: Kind | None = None,
        *,
        makes_folders: bool = False,
        is_new: bool = False,
        or_stdout: bool = False,
    ) -> None:
        super().__init__()
        self.allow_dash = or_stdout
        self._try: Callable[[Path], None] = lambda path: try_file(
            path, kind, makes_folders=makes_folders, is_new=is_new
        )

    def _compare(self, path: Path, param: click.Parameter | None, ctx: click.Context) -> None:
        if self.allow_dash and str(path) == "-":
            return
        super()._compare(path, param, ctx)
        self._try(path)


class OutputFolder(_AnyPath):
    """A folder that is made, or written into.

    Args:
        shared: whether the folder may also be read.
    """

    is_output = True

    def __init__(self, *, shared: bool = False) -> None:
        super().__init__()
        self.is_shared = shared

    def _compare(self, path: Path, param: click.Parameter | None, ctx: click.Context) -> None:
        super()._compare(path, param, ctx)
        try_folder(path)


def _clash(one: _AnyPath, other: _AnyPath) -> bool:
    """Return whether two parameters must not name the same path; several steps may write into one folder."""
    both = (one, other)
    is_written = any(path.is_output for path in both) and not any(path.is_shared for path in both)
    return is_written and not all(isinstance(path, OutputFolder) for path in both)


def _name_of(param: click.Parameter | None) -> str:
    """Return how a person writes a parameter."""
    if isinstance(param, click.Option):
        return max(param.opts, key=len)
    return "the path" if param is None else param.human_readable_name.strip("[].")
