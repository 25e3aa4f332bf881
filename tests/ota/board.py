"""A board in a directory: a store, a service in this process, a shelf to take models from."""

import pytest

from pitcore.config import Config
from pitcore.errors import PitcoreError, Refusal, UpdateError
from pitcore.inference import selftest
from pitcore.ota.overview import RunningModel, look
from pitcore.ota.update import Means, Updater
from tests.ota.line import GATE, Line
from tests.ota.shelf import Shelf
from tests.ota.stores import bundle_of, new_store

BUNDLED = "tiny@0.0.1"


def prove(bundle, reference):
    """The real self-test, in this process."""
    try:
        return selftest.examine(Config(), bundle, reference, [].append)
    except PitcoreError as error:
        raise UpdateError(Refusal.SELF_TEST, str(error)) from error


class Board:
    """A store, a line and a shelf.

    Args:
        place: bundles are made here, and a store where none is given.
        bundled: used as the model that came with pitcore.
        store, shelf: existing ones.
    """

    def __init__(self, place, bundled, store=None, shelf=None):
        self.place, self.bundled, self.told, self.bundles = place, bundled, [], {}
        self.store, self.shelf = store or new_store(place / "store"), shelf or Shelf()
        self.line, self.gate = Line(self.store.root), GATE

    def bundle(self, version, **options):
        if version not in self.bundles:
            self.bundles[version] = bundle_of(self.place / version, version, **options)
        return self.bundles[version]

    def updater(self):
        means = Means(self.shelf, prove, self.line, self.gate, attempts=2, tell=self.told.append)
        return Updater(self.store, means)

    def install(self, version, seq, *, bases=(), **options):
        self.shelf.put(self.bundle(version, **options), seq, bases=bases)
        return self.updater().install()

    @property
    def state(self):
        return self.store.read()

    def status(self):
        """The overview that `pitcore update status` prints."""
        bundle = self.line.session.bundle
        return look(self.store, RunningModel(bundle.label, bundle.sha256, str(bundle.directory)))


def refused(refusal, call, *arguments, **options):
    with pytest.raises(UpdateError) as caught:
        call(*arguments, **options)
    assert caught.value.refusal is refusal, caught.value
    assert "\n" not in str(caught.value)
    return str(caught.value)
