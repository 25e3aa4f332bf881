"""Says what is wrong in a configuration file: the key, its value, and how to write it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

from msgspec import Meta

from pitcore.config.board import Config
from pitcore.config.section import Section
from pitcore.config.sources import SourceConfig
from pitcore.plain_text import unusual_character

_SHOWN = 40  # characters of a value
_PASSWORD = re.compile(r"//[^/@\s]*@")
_ENTRY = re.compile(r"\s*([\w.-]+)\s*=\s*(.*?)\s*(?:#.*)?")
_BOUNDS = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}
_OPEN = "close the quote or bracket that is open"
_BY_MESSAGE = {
    "Illegal character": _OPEN,
    "Unclosed": _OPEN,
    "Unterminated": _OPEN,
    "Unescaped": "write / or \\\\ in place of \\",
}
_WORDS = dict.fromkeys(("true", "yes", "on"), "true") | dict.fromkeys(("false", "no", "off"), "false")


def of_syntax(message: str, text: str) -> str:
    """Return the message for a file that is not TOML.

    Args:
        message: of ``tomllib``.
        text: of the file.
    """
    place = re.search(r"at line (\d+)", message)
    fix = unusual_character(text, int(place[1]) if place else None)
    if "Cannot" in message:
        fix = f"; it is given twice: keep one{fix}"
    if not fix:
        lines = text.rstrip().splitlines()[: int(place[1]) if place else None] or [""]
        fix = f"; {_rewritten(lines[-1], message)}"
    return f"not valid TOML: {message}{fix}"


def _rewritten(line: str, message: str) -> str:
    """Return how a line that is not TOML is written."""
    for said, fix in _BY_MESSAGE.items():
        if said in message:
            return fix
    entry = _ENTRY.fullmatch(line)
    if entry is None:
        return "write KEY = VALUE in one line, or [SECTION]"
    key, value = entry.groups()
    if not value:
        return f"give {key} a value, or remove the line"
    if value.lower() in _WORDS:
        return f"write {key} = {_WORDS[value.lower()]}, not {value}"
    for pattern, good, why in (
        (r"([-+]?\d[\d_]*),(\d+)", r"\1.\2", "a decimal point"),
        (r"([-+]?)\.(\d+)", r"\g<1>0.\2", "a digit before the point"),
        (r"([-+]?\d+)\.", r"\1.0", "a digit after the point"),
        (r"0+(\d+)", r"\1", "no zeros before a number"),
        (r"(\d:\d\d)", r'"0\1"', "two digits, in quotes"),
        (r"(\d\d:\d\d)", r'"\1"', "in quotes"),
        (r"([-+]?\d[\d_]*(?:\.\d+)?)\s*[A-Za-z\u00b5\u03bc%][\w/%]*", r"\1", "no unit"),
        (r"([A-Za-z][\w.-]*)", r'"\1"', "text in quotes"),
    ):
        if re.fullmatch(pattern, value):
            return f"write {key} = {re.sub(pattern, good, value)} ({why}), not {value}"
    return f"correct the value of {key}: text in quotes, a number with a decimal point, true or false"


def of_value(message: str, raw: Mapping[str, Any], section: str = "") -> str:
    """Convert msgspec's ``reason - at `$.section.key[0]``` to ``[section] key[0]: reason; fix``.

    Args:
        message: of msgspec.
        raw: the file.
        section: that was checked alone; empty for the file.
    """
    found = re.fullmatch(r"(?s)(.*?)(?: - at `(?:key in )?\$\.?([^`]*)`)?", message)
    if not found:
        return message
    source = raw.get("source")
    kind = str(source.get("kind")) if isinstance(source, dict) else "None"
    path = ".".join(part for part in (section, found[2]) if part)
    name, _, key = path.partition(".")
    unknown = re.fullmatch(r"Object contains unknown field `(.*)`", found[1])
    if unknown:
        reason = f"unknown key `{unknown[1]}`{_known_keys(path, kind)}"
    else:
        fix = _choices(path, kind) or _correction(found[1], _value_at(raw, path), _form_of(path, kind))
        reason = found[1].partition(" matching regex ")[0] + fix
    place = f"[{name}]" if name and name != "schema" else name
    return ": ".join(part for part in (f"{place} {key}".strip(), reason) if part)


def _correction(reason: str, value: object, form: str) -> str:
    """Return how a value is written, as the end of a message; empty where the reason says it already."""
    shown = _PASSWORD.sub("//...@", json.dumps(value, ensure_ascii=False, default=str))
    shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."
    if missing := re.match(r"Object missing required field `(.*)`", reason):
        return f"; give {missing[1]}"
    bound = re.fullmatch(r"Expected `(\w+)(?: \| null)?` (of length )?(>=|<=|>|<) (.+)", reason)
    if bound:
        what = {"str": " characters", "array": " values"}.get(bound[1], "")
        return f"; write {_BOUNDS[bound[3]]} {bound[4]}{what}, not {shown}"
    if form and reason.startswith("Expected `str"):
        return f"; write {form}, not {shown}"
    wrong = re.fullmatch(r"Expected `([^`]*)`, got `\w+`", reason)
    return f"; write {_kind_of(wrong[1], value)}, not {shown}" if wrong else ""


def _kind_of(expected: str, value: object) -> str:
    """Return in words how a value of msgspec's kind is written."""
    kinds = set(expected.split(" | "))
    if kinds & {"int", "float"}:
        number = re.match(r"\s*([-+]?\d+)(?:[.,](\d+))?", value) if isinstance(value, str) else None
        if number is None:
            return "a number without quotes" if "float" in kinds else "a whole number without quotes"
        good = number[1] if number[2] is None or "float" not in kinds else f"{number[1]}.{number[2]}"
        return f"a number without quotes and unit, such as {good}"
    words = {"bool": "true or false without quotes", "str": "text in quotes", "array": "a list, as [FIRST, SECOND]"}
    return next((said for kind, said in words.items() if kind in kinds), "a section")


def _value_at(raw: Any, path: str) -> Any:  # noqa: ANN401  of any type
    """Return the value at ``section.key[0]``; None where there is none."""
    for part in re.findall(r"[^.\[\]]+", path):
        try:
            raw = raw[int(part) if isinstance(raw, list) else part]
        except (KeyError, IndexError, TypeError, ValueError):
            return None
    return raw


def _choices(path: str, kind: str) -> str:
    """Return the allowed values of a key as a fix, if they can be listed."""
    if path == "source.kind":
        kinds = (source.__struct_config__.tag for source in get_args(SourceConfig))
        return f"; choose one of: {', '.join(map(str, kinds))}"
    section, _, key = path.rpartition(".")
    holder = _class_at(section, kind)
    hint = None if holder is None else get_type_hints(holder).get(key.partition("[")[0])
    words = [word for part in (hint, *get_args(hint)) if get_origin(part) is Literal for word in get_args(part)]
    return f"; choose one of: {', '.join(words)}" if words else ""


def _known_keys(path: str, kind: str) -> str:
    """Return the keys of a section as a fix for an unknown key; an empty section is the file."""
    holder = _class_at(path, kind)
    return "" if holder is None else f"; known: {', '.join(holder.__struct_fields__)}"


def _form_of(path: str, kind: str) -> str:
    """Return how a key that must match a pattern is written; empty where it has none."""
    section, _, key = path.rpartition(".")
    holder = _class_at(section, kind)
    hint = None if holder is None else get_type_hints(holder, include_extras=True).get(key.partition("[")[0])
    return next((meta.description for meta in _metas_in(hint) if meta.description), "")


def _metas_in(hint: Any) -> list[Meta]:  # noqa: ANN401  a type, or what typing makes of several
    """Return the bounds and patterns in a type hint."""
    own = [meta for meta in getattr(hint, "__metadata__", ()) if isinstance(meta, Meta)]
    return own + [each for part in get_args(hint) for each in _metas_in(part)]


def _class_at(path: str, kind: str) -> type[Section] | None:
    """Return the class of a section, for example ``source.cameras[...]``; None if it is not a section."""
    at: type[Section] = Config
    for name in filter(None, path.split(".")):
        found = _classes_in(get_type_hints(at).get(name.partition("[")[0]))
        fitting = [each for each in found if each.__struct_config__.tag in {None, kind}]
        if not fitting:
            return None
        at = fitting[0]
    return at


def _classes_in(hint: Any) -> list[type[Section]]:  # noqa: ANN401  a type, or what typing makes of several
    """Return the sections in a type hint."""
    if isinstance(hint, type) and issubclass(hint, Section):
        return [hint]
    return [each for part in get_args(hint) for each in _classes_in(part)]
