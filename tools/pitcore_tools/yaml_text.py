"""Reads YAML with three changes: ``1e-3`` is a number, a duplicate key is an error, a byte-order mark is ignored.

In YAML 1.1, which PyYAML implements, ``1e-3`` is a string, and the last of two equal keys is used silently.
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
    """Return the content of a YAML file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not valid YAML; the message is one line with the place.
    """
    text = decode_text(path.read_bytes())
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506  a safe loader, as above
    except yaml.YAMLError as error:
        raise ValueError(f"not valid YAML: {' '.join(str(error).split())}{unusual_character(text)}") from error
