"""Reads text files of editors and word processors, which add invisible characters. Does no IO."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_MEANT = {  # typographic characters, and the plain ones that they replace
    **dict.fromkeys("\u201c\u201d\u201e\u201f\u00ab\u00bb\u2033", '"'),
    **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032", "'"),
    **dict.fromkeys("\u00a0\u2007\u202f\u2009\u3000", "a plain space"),
    **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff", "nothing"),
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-"),
}


def printable(text: object) -> str:
    """Return text as one line: what is no UTF-8, a line break or another control character is escaped."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in str(text))


def decode_text(raw: bytes) -> str:
    """Return a text file's content without the byte-order mark that some editors put before it.

    Raises:
        ValueError: it is not UTF-8; says what to do.
    """
    if raw.startswith(_UTF16):
        raise ValueError("not UTF-8 text, but UTF-16; save it as UTF-8")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 text at byte {error.start}; save it as UTF-8") from error


def unusual_character(text: str, line: int | None = None) -> str:
    """Name the first character that a word processor makes, as the fix for text that cannot be read.

    Args:
        text: of the file.
        line: to look at, counted from 1; None looks at every line up to its comment.

    Returns:
        The end of a message; empty where there is no such character.
    """
    for number, content in enumerate(text.splitlines(), start=1):
        if line not in {None, number}:
            continue
        for letter in content.partition("#")[0]:
            if letter in _MEANT:
                name = unicodedata.name(letter, "no name").lower()
                return f"; line {number} has U+{ord(letter):04X} ({name}): write {_MEANT[letter]} there"
    return ""


def check_json(text: str) -> None:
    """Refuse JSON in which an object has a key twice: a reader would take the last and say nothing.

    Raises:
        ValueError: says which key; or it is no JSON.
    """
    json.loads(text, object_pairs_hook=_once)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"key {key!r} is given twice: keep one")
        found[key] = value
    return found
