"""The pages beside docs/; `make docs` checks the links of those in it."""

import re

import pytest

from tests.conftest import ROOT

LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_no_link_of_a_page_leads_nowhere(page):
    targets = LINK.findall((ROOT / page).read_text())
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_the_readme_stays_one_page_and_its_picture_small():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150
    assert (ROOT / "docs" / "pictures" / "belt.jpg").stat().st_size <= 300_000
