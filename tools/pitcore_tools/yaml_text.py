"""Reads YAML as people write it: ``1e-3`` is a number, a key stands once, and a byte-order mark does not count.

YAML 1.1, which PyYAML follows, takes ``1e-3`` for a text and the last of two equal keys.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from pitcore.plain_text import decode_text, unusual_character


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002  as yaml's
        seen = set()
        for key, _ in node.value:
            if key.value in seen and isinstance(key, yaml.ScalarNode) and key.value != "<<":
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key.value!r} is given twice: keep one", key.start_mark
                )
            if isinstance(key, yaml.ScalarNode):
                seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+$"),
    list("-+0123456789."),
)


def read_yaml(path: Path) -> Any:  # noqa: ANN401  whatever YAML may hold
    """Return what a YAML file holds.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no YAML; in one line, with the place.
    """
    text = decode_text(path.read_bytes())
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506  a safe loader, as above
    except yaml.YAMLError as error:
        raise ValueError(f"not valid YAML: {' '.join(str(error).split())}{unusual_character(text)}") from error
