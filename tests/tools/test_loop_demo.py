"""The demonstration of the way from the belt to a better model, reduced; `make loop-demo` plays the whole."""

import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest

pytest.importorskip("pyarrow", reason="pip install 'pitcore-tools[archive]'")

from tests.loop_demo import Demo


@pytest.mark.full
def test_a_board_takes_a_model_that_learned_from_the_cherries_of_its_belt(capsys):
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pc-")))
        Demo(place, stack, frames=80, epochs=20).play()
    assert "the board judges with what it learned from its own cherries" in capsys.readouterr().out
