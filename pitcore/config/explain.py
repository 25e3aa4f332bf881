"""Lists every value of a configuration with its meaning, its default and its origin.

The meanings are read from the classes' docstrings.
"""

from __future__ import annotations

import inspect
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from pitcore.config.board import Config

_ENTRY = re.compile(r"^ {4}(\w+(?:, \w+)*): (.*)$")
_PASSWORD = re.compile(r"//([^/@:]*):[^/]*@")  # in an address: never shown
NO_DEFAULT = "must be given"


@dataclass(frozen=True, slots=True)
class Explained:
    """One key.

    Attributes:
        section: as in the file, for example ``source.cameras[0]``.
        key: within it.
        value: in use, as TOML writes it.
        default: as TOML writes it, or a note that the key must be given.
        meaning: one line; empty for a section, whose keys follow.
        given: whether the file gives it; otherwise it is the default.
    """

    section: str
    key: str
    value: str
    default: str
    meaning: str
    given: bool


def explain(config: Config, text: str) -> Iterator[Explained]:
    """Explain a configuration.

    Args:
        config: decoded.
        text: the TOML it was decoded from.

    Yields:
        Every key of every section, in the order of the classes.
    """
    given = tomllib.loads(text)
    for section in config.__struct_fields__:
        value = getattr(config, section)
        if isinstance(value, msgspec.Struct):
            yield from _of_struct(section, value, given.get(section, {}))


def meanings(kind: type) -> dict[str, str]:
    """Return the meaning of each key from a section's docstring."""
    found: dict[str, str] = {}
    names: list[str] = []
    _, _, entries = (inspect.getdoc(kind) or "").partition("Attributes:\n")
    for line in entries.splitlines():
        entry = _ENTRY.match(line)
        if entry:
            names = entry[1].split(", ")
            found |= dict.fromkeys(names, entry[2])
        elif line.startswith(" " * 8):
            found |= {name: f"{found[name]} {line.strip()}" for name in names}
        else:
            break
    return {name: text.replace("``", "`") for name, text in found.items()}


def _of_struct(section: str, struct: msgspec.Struct, given: Mapping[str, Any]) -> Iterator[Explained]:
    tag = struct.__struct_config__.tag
    if tag is not None:
        yield Explained(section, "kind", _toml(tag), '"emulated"', "the kind of source", "kind" in given)
    told = meanings(type(struct))
    nested = []
    for field in msgspec.structs.fields(type(struct)):
        value, is_given = getattr(struct, field.name), field.name in given
        if section == "calibration" and field.name == "values":
            continue  # not a key of the file
        if isinstance(value, msgspec.Struct):
            nested.append((f"{section}.{field.name}", value, given.get(field.name, {})))
        elif isinstance(value, tuple) and value and isinstance(value[0], msgspec.Struct):
            parts = zip(value, given.get(field.name, [{}] * len(value)), strict=True)
            nested += [(f"{section}.{field.name}[{place}]", *part) for place, part in enumerate(parts)]
        else:
            default = NO_DEFAULT if field.required else _toml(_default(field))
            yield Explained(section, field.name, _toml(value), default, told.get(field.name, ""), is_given)
    for part in nested:
        yield from _of_struct(*part)


def _default(field: msgspec.structs.FieldInfo) -> Any:  # noqa: ANN401  of any type
    return field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()


def _toml(value: object) -> str:
    """Write a value as TOML does; None is a key that is left out."""
    if value is None:
        return "left out"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        shown = _PASSWORD.sub(r"//\1:...@", value)
        return f'"{shown}"'
    if isinstance(value, tuple | list):
        return f"[{', '.join(_toml(part) for part in value)}]"
    return str(value)
