"""The demonstration of updates in a reduced form: one board, no phases; `make ota-demo` plays the whole."""

import io
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.ota.timeline import Play


def test_a_bad_model_is_rolled_back_by_itself_and_the_next_good_one_is_taken():
    out = io.StringIO()
    with ExitStack() as stack:
        play = Play(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pc-"))), stack, out)
        boards = play.one_board()
        play.by_patch(boards)
        play.bad_one(boards)
        play.next_good_one(boards)
    assert "rolled back and will not be installed again" in out.getvalue()
