"""Removes secrets from text that leaves the board. Pure; in doubt it removes too much."""

from __future__ import annotations

import re

GONE = "<removed>"
_KEYS = r"(?:password|passwd|passphrase|secret|token|api[_-]?key|private[_-]?key|credentials?|authorization)"
_ASSIGNED = re.compile(rf"(?i)(\b[\w.-]*{_KEYS}[\w-]*[\"']?\s*[=:]\s*)(\"[^\"\n]*\"|'[^'\n]*'|[^\s,}}\]#]+)")
_IN_URL = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)[^\s/\"]*@")
_QUERY = re.compile(rf"(?i)([?&][\w.-]*(?:{_KEYS}|key|sig|signature)=)[^&\s\"']+")
_BEARER = re.compile(r"(?i)\b(bearer|basic|(?:target|gateway)token)\s+[a-z0-9._~+/=-]{8,}")
_PEM = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)


def without_secrets(text: str) -> str:
    """Return text with passwords, tokens and keys replaced: in TOML, JSON, URLs, HTTP headers and PEM blocks."""
    text = _PEM.sub(GONE, text)
    text = _IN_URL.sub(rf"\1{GONE}@", text)
    text = _QUERY.sub(rf"\1{GONE}", text)
    text = _BEARER.sub(rf"\1 {GONE}", text)
    return _ASSIGNED.sub(lambda found: found[1] + (f'"{GONE}"' if found[2][0] in "\"'" else GONE), text)
