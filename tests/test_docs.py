"""Tests that the files and functions that pages name exist. `make docs` checks the links of those in docs/."""

import ast
import re

import pytest

from tests.conftest import ROOT

PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
PATH = re.compile(r"`((?:pitcore|pitcore_tools|csrc|tests|tools|examples|firmware_configs)/[\w./-]*)`")
MEMBER = re.compile(r"`([A-Z]\w+)\.(\w+)")
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_every_link_of_a_page_has_its_target(page):
    targets = LINK.findall((ROOT / page).read_text())
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_the_readme_stays_one_page_and_its_picture_small():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150
    assert (ROOT / "docs" / "pictures" / "belt.jpg").stat().st_size <= 300_000


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_names_exists(page):
    named = PATH.findall(page.read_text())
    assert [path for path in named if not ((ROOT / path).exists() or (ROOT / "tools" / path).exists())] == []


@pytest.fixture(scope="module")
def members():
    """Return methods, fields and attributes of every class of pitcore, by its name."""
    found = {}
    for path in (ROOT / "pitcore").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, set()).update(_names(node))
    return found


def _names(of):
    for node in ast.walk(of):
        if isinstance(node, ast.FunctionDef):
            yield node.name
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr


@pytest.mark.parametrize("page", ["life_of_a_frame.md", "life_of_an_update.md"])
def test_every_method_that_a_life_of_page_names_exists(page, members):
    named = MEMBER.findall((ROOT / "docs" / page).read_text())
    assert named
    assert [f"{owner}.{name}" for owner, name in named if name not in members.get(owner, ())] == []


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md"], ids=str)
def test_lines_of_text_are_at_most_120_characters(page):
    """Tables and code are as wide as they are."""
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    wide = [at for at, line in enumerate(lines, 1) if len(line) > 120 and not line.startswith(("|", "    "))]
    assert wide == []
