"""Runs axe-core on a page: `npm install axe-core` in build/browser, or PITCORE_AXE names its axe.min.js."""

import os
from pathlib import Path

import pytest

AXE = Path(
    os.environ.get(
        "PITCORE_AXE", Path(__file__).parents[2] / "build" / "browser" / "node_modules" / "axe-core" / "axe.min.js"
    )
)
needs_axe = pytest.mark.skipif(not AXE.exists(), reason="axe-core is absent: npm install axe-core, and set PITCORE_AXE")


def serious_faults(tab):
    """Return the serious and critical findings of axe-core in a tab of the browser."""
    tab.evaluate(AXE.read_text())
    found = tab.evaluate("axe.run()")["violations"]
    return [
        (one["impact"], one["id"], [node["target"] for node in one["nodes"]])
        for one in found
        if one["impact"] in {"serious", "critical"}
    ]
