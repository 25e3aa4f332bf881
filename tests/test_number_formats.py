"""A signed number never shows as -0.00: such a format has the option z, which removes the sign of a zero."""

import ast

from tests.conftest import ROOT

SOURCES = sorted([*(ROOT / "pitcore").rglob("*.py"), *(ROOT / "tools" / "pitcore_tools").rglob("*.py")])


def signed_formats(text):
    """The format specifications with a plus sign, of f-strings and of the method ``format``."""
    specs = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FormattedValue) and isinstance(node.format_spec, ast.JoinedStr):
            parts = node.format_spec.values
            specs.append("".join(part.value if isinstance(part, ast.Constant) else "?" for part in parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            specs += [piece.partition("}")[0] for piece in node.value.split("{:")[1:]]
    return [spec for spec in specs if "+" in spec]


def test_signed_formats_are_found_in_f_strings_and_templates():
    assert signed_formats('f"{x:+.2f} {y:>{width}.1f} {z:.2f}"; "{:+.1%}".format(x)') == ["+.2f", "+.1%"]


def test_signed_formats_do_not_show_negative_zero():
    for path in SOURCES:
        for spec in signed_formats(path.read_text(encoding="utf-8")):
            assert format(-0.0, spec).startswith("+"), f"{path}: {spec}: write +z for +"
