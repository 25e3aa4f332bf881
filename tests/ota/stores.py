"""Builds stores with models as an install does, but directly."""

import shutil

from pitcore.model_card import load_bundle
from pitcore.ota import state as states
from pitcore.ota.slots import Store
from pitcore.ota.state import SlotContent
from tests.conftest import tiny_card, write_card, write_tiny_bundle


def bundle_of(directory, version, **options):
    """A tiny bundle of a version; each version is another bundle to the hash."""
    write_tiny_bundle(directory, **options)
    write_card(directory, tiny_card(directory) | {"version": version})
    return directory


def put(store, bundle, release_seq):
    """Put a bundle into the inactive slot; return its release."""
    slot = store.read().inactive
    store.change(lambda state: states.empty(state, slot))
    shutil.rmtree(store.slot(slot), ignore_errors=True)
    shutil.copytree(bundle, store.slot(slot))
    loaded = load_bundle(bundle)
    return SlotContent(loaded.sha256, release_seq, loaded.label)


def try_out(store, bundle, release_seq, attempts=3):
    """Put a bundle into the inactive slot and begin its trial."""
    release = put(store, bundle, release_seq)
    store.change(lambda state: states.begin_trial(state, release, attempts))
    return release


def commit(store, bundle, release_seq):
    """Put a bundle into the inactive slot and commit it."""
    release = try_out(store, bundle, release_seq)
    store.change(states.commit)
    return release


def new_store(root):
    store = Store(root)
    store.prepare()
    return store
