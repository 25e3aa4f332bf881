"""From the belt to a better model, and back: `make loop-demo` plays it.

An emulated belt is judged by the model that came with pitcore, and the board keeps crops. They are pulled, labelled by
a script that knows what was drawn, and the line's true rates are printed. A small net learns from these crops alone for
some epochs; its card says what it is worth. It is released, and a running board takes it. Only the person who labels is
replaced by a script. The demo ends with an AssertionError if something else happens than it says.
"""

import json
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from pitcore.capture.keeper import CropKeeper
from pitcore.config import CaptureConfig, decode_config
from pitcore.emulator.emulated import EmulatedSource
from pitcore.emulator.scoring import kind_of, score
from pitcore.loop.app import App, Options
from pitcore.loop.pipeline import Hooks
from pitcore.loop.sources import belt_spec
from pitcore.metrics import Metrics
from pitcore.sinks.memory import MemorySink
from pitcore_tools.archive.store import Archive
from pitcore_tools.cli.main import pitcore_tools
from pitcore_tools.cli.train import DEFAULT_RECIPE
from pitcore_tools.label.book import Book
from pitcore_tools.label.crops import choose, crops_of
from pitcore_tools.package import publish
from tests.config_text import small_belt
from tests.ota.fleet import RealBoard, Today
from tests.ota.server import serving

# Small and short, so that the demo is. Fewer steps, or a slower average, leave a net that knows nothing: `quantise`
# refuses it.
RECIPE = {
    "base": str(DEFAULT_RECIPE.parent / "base.yaml"),
    "name": "learned",
    "version": "1.0.0",
    "crop_size_px": 48,
    "widths": [8, 8, 16, 16],
    "batch": 32,
    "learning_rate": 0.005,
    "warmup_epochs": 1,
    "ema_decay": 0.95,
}

PATIENT = "[runtime]\ncapture_timeout_s = 60.0\n"  # on a busy machine the source may get no processor for long
WRITTEN_WITHIN_S = 300.0


class Demo:
    """The loop, step by step.

    Args:
        place: an empty directory with a short path.
        stack: ends what is begun.
        frames: of the belt whose cherries are kept.
        epochs: of the training.
    """

    def __init__(self, place, stack, frames=160, epochs=14):
        self._place, self._stack, self._started = place, stack, time.monotonic()
        self._frames, self._epochs = frames, epochs

    def tell(self, who, what):
        sys.stdout.write(f"{time.monotonic() - self._started:6.1f} s  {who:<10} {what}\n")
        sys.stdout.flush()

    def tools(self, *words):
        """Run ``pitcore-tools`` with these words."""
        self.tell("person", f"pitcore-tools {' '.join(str(word).replace(f'{self._place}/', '') for word in words)}")
        pitcore_tools.main([str(word) for word in words], standalone_mode=False)

    def belt(self):
        """Judge the belt and keep crops. Returns what was drawn, by frame and box of its verdict."""
        config = decode_config(small_belt(cherries_per_frame=10.0) + PATIENT, "board.toml")
        source = EmulatedSource(belt_spec(config, frames=self._frames, ring=0))
        folder = str(self._place / "kept")
        keeper = CropKeeper(
            CaptureConfig(enabled=True, folder=folder, random_share=1.0, sample_seed=1, free_bytes=0, queue=10_000),
            "0a" * 16,
        )
        self._stack.callback(keeper.close)  # before the directory goes, whatever fails
        memory, metrics, ticks = MemorySink(), Metrics(), []
        hooks = Hooks(observe=lambda frame: ticks.append(frame.tick), keepers=[keeper])
        app = App(config, source, Options([memory], hooks=hooks), metrics)
        app.run()
        deadline = time.monotonic() + WRITTEN_WITHIN_S
        while keeper.status()["waiting"]:
            assert time.monotonic() < deadline, f"the keeper does not write: {keeper.status()}"
            time.sleep(0.1)
        keeper.close()
        truths = source.truths(ticks[0], ticks[-1])
        found = score(truths, memory.verdicts, ticks, source.geometry)
        drawn = {truth.id: kind_of(truth) for truth in truths}
        told = keeper.status()
        self.tell("board", f"{len(memory.verdicts)} verdicts by {app.bundle.label}; kept {told['random']} at random")
        return {(one.frame.seq, one.box): drawn[name] for name, one in found.verdict_of.items()}

    def label(self, drawn):
        """Say of each crop what was drawn there."""
        asked = choose(crops_of(str(self._place / "archive")), None)
        book, words = Book(self._place / "labels", [one.crop for one in asked]), []
        for one in asked:
            verdict = one.record.verdict
            kind = drawn.get((verdict.frame.seq, verdict.box), "unknown")
            words.append((one.crop, kind if kind in {"clean", "pit"} else "unusable"))
        book.say_all("script", words)
        self.tell("script", f"labelled {len(asked)} crops")

    def train(self):
        """Train for a few epochs. Returns the bundle."""
        recipe, run, bundle = self._place / "recipe.yaml", self._place / "run", self._place / "bundle"
        recipe.write_text(json.dumps(RECIPE | {"epochs": self._epochs}))  # JSON is YAML
        data = self._place / "data"
        self.tools("train", recipe, "--data", data, "--out", run, "--threads", 1)
        self.tools("quantise", run, "--data", data, "--out", bundle)
        return bundle

    def release(self, bundle):
        """Publish the bundle, and have a board take it while it judges."""
        publisher = Today(self._place / "publisher")
        site = self._stack.enter_context(serving(publisher.directory))
        board = RealBoard(self._place / "b", site.url, publisher.root, gate_timeout_s=600.0)
        self._stack.callback(board.kill)
        self.tell("board", f"judges, with {board.start().label()}")
        board.wait_for_cherries(150)  # with what the new model is compared
        repository = publisher.open()
        added = publish.add(repository, bundle, publish.PublishRequest())
        repository.publish()
        repository.commit()
        publisher.release(added.target)
        answer = board.updated("install")
        self.tell("board", f"{answer['result']}: {answer['message']}")
        assert answer["result"] == "committed", answer
        assert board.label() == "learned@1.0.0", board.label()
        board.stop()
        assert board.models_in_verdicts()[-1] == "1.0.0"

    def play(self):
        drawn = self.belt()
        self.tools("pull", self._place / "kept", self._place / "archive")
        kept = len(list((self._place / "kept").glob("*.png")))
        assert len(list(Archive(str(self._place / "archive")).read())) == kept
        self.label(drawn)
        labels = self._place / "labels" / "labels.csv"
        self.tools("audit-line", self._place / "archive", "--labels", labels)
        self.tools("label-folder", self._place / "archive", "--labels", labels, "--out", self._place / "data")
        self.release(self.train())
        self.tell("", "the board judges with what it learned from its own cherries")


def main():
    """Play all of it."""
    with ExitStack() as stack:
        Demo(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pc-"))), stack).play()


if __name__ == "__main__":
    main()
