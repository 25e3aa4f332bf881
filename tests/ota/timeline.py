"""Two boards and a publisher, from the first release to the recovery from a bad one: `make ota-demo` prints it.

Everything is the real thing: keys and signed metadata, an HTTP server on loopback, services that judge an emulated
belt, each with its store, and `pitcore update` as a timer calls it. Only the models are small. The bad one passes its
self-test, and the health gate finds that it calls every cherry clean. It ends with an AssertionError if something else
happens than what it tells.
"""

import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from pitcore.ota.channel import COHORTS, Entry, asked
from pitcore_tools.package.channels import read_channel
from tests.ota.fleet import RealBoard, Today
from tests.ota.server import serving


class Play:
    """The whole play, scene by scene.

    Args:
        place: an empty directory with a short path.
        stack: ends what is begun.
        out: takes the timeline.
    """

    def __init__(self, place: Path, stack: ExitStack, out):
        self._place, self._stack, self._out, self._started = place, stack, out, time.monotonic()
        self._publisher, self._added = Today(place / "publisher"), {}
        self._site = stack.enter_context(serving(self._publisher.directory))
        self.tell("publisher", "has made its keys (root 2 of 3, models offline; the rest online)")
        self.tell("server", f"{self._site.url} serves the repository: static files")

    def tell(self, who, what):
        self._out.write(f"{time.monotonic() - self._started:6.1f} s  {who:<10} {what}\n")
        self._out.flush()

    def add(self, version, **options):
        """Sign a version that no board is asked to install yet."""
        self._publisher.bundle(version, **options)
        self._added[version] = added = self._publisher.add(version)
        self._publisher.release(added.target, 0.0)
        patches = "".join(f", {patch.method} patch {patch.length} bytes" for patch in added.release.deltas)
        self.tell("publisher", f"adds tiny@{version}: whole {added.length} bytes{patches}")

    def ask(self, version, percent):
        self._publisher.release(self._added[version].target, percent)
        self.tell("publisher", f"asks {percent:g} % of the boards to take tiny@{version}")

    def board(self, device_id):
        """A new board, judging with the model that came with pitcore."""
        board = RealBoard(self._place / device_id, self._site.url, self._publisher.root)
        self._stack.callback(board.kill)
        self.tell(device_id, f"judges, with {board.start().label()}")
        return board

    def ids(self):
        """Of ten thousand boards, one of the first percent that is asked, and one of the last half."""
        salt = read_channel(self._publisher.open(), "stable").releases[0].salt
        names = [f"board{number}" for number in range(COHORTS)]
        first = next(name for name in names if asked(Entry("", 1.0, salt), name))
        last = next(name for name in names if not asked(Entry("", 50.0, salt), name))
        self.tell("fleet", f"of {COHORTS} boards we watch {first}, of the first 1 %, and {last}, of the last half")
        return first, last

    def update(self, board, expected, runs, *, refusal=None):
        """Have a board update; hold what came of it against what is expected. Return what it fetched."""
        before = len(self._site.requests)
        answer = board.updated("install")
        paths = [path.rpartition("/")[2] for path, _ in self._site.requests[before:] if "/models/" in path]
        fetched = [path.partition(".")[2] for path in paths]
        self.tell(board.place.name, f"{answer['result']}: {answer['message']}")
        if fetched:
            self.tell("", f"(it fetched {', '.join(fetched)})")
        assert (answer["result"], answer.get("refusal")) == (expected, refusal), answer
        assert board.label() == runs, f"{board.label()} runs, not {runs}"
        return fetched

    def rollout(self):
        """1 %, 50 %, 100 %, by the whole archive. Returns the boards."""
        self.add("1.0.0")
        first, last = (self.board(device_id) for device_id in self.ids())
        bundled = last.label()
        self.ask("1.0.0", 1)
        assert self.update(first, "committed", "tiny@1.0.0") == ["tiny-1.0.0.tar"]
        self.update(last, "none", bundled)
        self.ask("1.0.0", 50)
        self.update(last, "none", bundled)
        self.ask("1.0.0", 100)
        self.update(last, "committed", "tiny@1.0.0")
        return [first, last]

    def one_board(self):
        """Run the first part with one board, without phases."""
        self.add("1.0.0")
        board = self.board("board1")
        self.ask("1.0.0", 100)
        self.update(board, "committed", "tiny@1.0.0")
        return [board]

    def by_patch(self, boards):
        self.add("1.1.0")
        self.ask("1.1.0", 100)
        for board in boards:
            (fetched,) = self.update(board, "committed", "tiny@1.1.0")
            assert ".from-" in fetched, fetched

    def bad_one(self, boards):
        """The phase reaches one board; its health gate rolls the model back, and it is not taken again."""
        self.add("1.2.0", stops_all=False)
        salt = read_channel(self._publisher.open(), "stable").releases[0].salt
        percent = 1.0
        while not (reached := [board for board in boards if asked(Entry("", percent, salt), board.place.name)]):
            percent += 1.0
        self.ask("1.2.0", percent)
        for board in reached:
            self.update(board, "failed", "tiny@1.1.0", refusal="trial")
            assert self.update(board, "refused here", "tiny@1.1.0") == []
        self.ask("1.2.0", 0)
        for board in boards:  # one that saw the later release takes none before it
            self.update(board, "none" if board in reached else "current", "tiny@1.1.0")

    def next_good_one(self, boards):
        self.add("1.3.0")
        self.ask("1.3.0", 100)
        for board in boards:
            self.update(board, "committed", "tiny@1.3.0")
            board.stop()
            judged = board.models_in_verdicts()
            self.tell(board.place.name, f"judged without a stop, by turns with {', '.join(judged)}")
            assert judged[-1] == "1.3.0"
            assert board.starts == 1, board.log
            assert "Traceback" not in board.log


def main():
    """Play all of it."""
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pc-")))
        play = Play(place, stack, sys.stdout)
        boards = play.rollout()
        play.by_patch(boards)
        play.bad_one(boards)
        play.next_good_one(boards)
        play.tell("", "all as told")


if __name__ == "__main__":
    main()
