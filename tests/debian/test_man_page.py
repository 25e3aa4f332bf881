"""The manual pages of the package, as they are generated from the commands."""

import runpy
import shutil
import subprocess
import tomllib

import pytest

from tests.conftest import ROOT

GENERATOR = runpy.run_path(str(ROOT / "tools" / "debian" / "man_page.py"))
generate = GENERATOR["page"]


@pytest.fixture(scope="module")
def page():
    return generate("pitcore")


def test_the_page_has_every_command_with_its_options(page):
    for section in (".SS run", ".SS calibrate belt", ".SS update install", ".SS point", ".SS shut\\-valves"):
        assert f"{section}\n" in page
    assert "\\fB\\-\\-again\\fR\nAlso install a release that failed on this board before." in page
    assert page.startswith('.TH PITCORE 1 "" "pitcore ')
    assert "\n.SH NAME\npitcore \\- " in page


def test_an_example_keeps_its_lines_and_no_line_is_indented(page):
    assert "\n.nf\nExamples:\n  pitcore demo\n  pitcore demo \\-\\-frames 200" in page
    assert "\b" not in page
    assert not [line for line in page.splitlines() if line.startswith("   ")]


@pytest.mark.parametrize("name", GENERATOR["COMMANDS"])
def test_groff_reports_no_warning_for_a_page(name):
    if shutil.which("groff") is None:
        pytest.skip("no groff here")
    command = ["groff", "-man", "-Tutf8", "-ww", "-z"]
    done = subprocess.run(command, input=generate(name), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_program_that_the_wheel_installs_has_a_page():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert set(scripts) == set(GENERATOR["COMMANDS"])
