import json

import pytest

from pitcore.config import Config, DecisionConfig, ModelConfig
from pitcore.errors import BundleError, ConfigError
from pitcore.inference import session
from pitcore.inference.choice import open_bundle, open_session
from pitcore.model_card import DEFAULT_BUNDLE
from tests.conftest import tiny_card, write_card
from tests.ota.stores import bundle_of, commit, new_store, try_out

BUNDLED = json.loads((DEFAULT_BUNDLE / "card.json").read_text())["name"]


@pytest.fixture
def store(tmp_path):
    return new_store(tmp_path / "store")


def config_of(store, **sections):
    return Config(model=ModelConfig(store=str(store.root)), **sections)


def loaded(store, *, service=True, **sections):
    bundle = open_session(config_of(store, **sections), service=service).bundle
    return bundle.card.version if bundle.card.name == "tiny" else BUNDLED


def test_bundle_and_store_together_are_refused():
    with pytest.raises(ValueError, match="give bundle or store, not both"):
        ModelConfig(bundle="a", store="b")


def test_only_the_service_loads_a_model_on_trial(store, tmp_path):
    commit(store, bundle_of(tmp_path / "v1", "1.0.0"), 1)
    try_out(store, bundle_of(tmp_path / "v2", "2.0.0"), 2)
    assert loaded(store) == "2.0.0"
    assert loaded(store, service=False) == "1.0.0"
    assert open_bundle(config_of(store)).card.version == "1.0.0"


def test_a_trial_that_fails_its_golden_vectors_here_is_rolled_back_and_the_active_model_runs(store, tmp_path, caplog):
    commit(store, bundle_of(tmp_path / "v1", "1.0.0"), 1)
    release = try_out(store, bundle_of(tmp_path / "v2", "2.0.0", golden_shift=1.0), 2)
    assert loaded(store) == "1.0.0"
    assert store.read().is_bad(release)
    assert "the trial model does not work here: " in caplog.text


def test_a_trial_that_the_boards_configuration_does_not_allow_is_rolled_back(store, tmp_path):
    commit(store, bundle_of(tmp_path / "v1", "1.0.0"), 1)
    strict = bundle_of(tmp_path / "v2", "2.0.0")
    write_card(strict, tiny_card(strict) | {"version": "2.0.0", "thresholds": {"accept": 0.01, "reject": 0.8}})
    release = try_out(store, strict, 2)
    assert loaded(store, decision=DecisionConfig(accept=0.1)) == "1.0.0"
    assert store.read().is_bad(release)


def test_a_trial_whose_files_become_unreadable_is_not_marked_bad(store, tmp_path, monkeypatch):
    commit(store, bundle_of(tmp_path / "v1", "1.0.0"), 1)
    release = try_out(store, bundle_of(tmp_path / "v2", "2.0.0"), 2)
    load = session._load

    def load_and_fail(path, threads):
        loaded = load(path, threads)
        golden = path.parent / "golden.npz"
        if json.loads((path.parent / "card.json").read_text())["version"] == "2.0.0":
            golden.unlink()
            golden.symlink_to("/proc/self/mem")  # reading its first byte is an I/O error
        return loaded

    monkeypatch.setattr(session, "_load", load_and_fail)
    assert loaded(store) == "1.0.0"
    assert not store.read().is_bad(release)


def test_an_active_model_that_no_longer_works_here_leaves_the_previous_running(store, tmp_path, caplog):
    commit(store, bundle_of(tmp_path / "v1", "1.0.0"), 1)
    commit(store, bundle_of(tmp_path / "v2", "2.0.0", golden_shift=1.0), 2)
    assert loaded(store) == "1.0.0"
    assert "the active model does not work here: " in caplog.text
    assert store.read().bad == {}


def test_with_no_working_model_in_the_store_the_bundled_one_runs(store, tmp_path):
    commit(store, bundle_of(tmp_path / "v1", "1.0.0", golden_shift=1.0), 1)
    assert loaded(store) == BUNDLED


def test_a_configuration_that_the_committed_model_forbids_is_an_error(store, tmp_path):
    commit(store, bundle_of(tmp_path / "v1", "1.0.0"), 1)
    with pytest.raises(ConfigError, match=r"accept = 0\.9 is looser"):
        loaded(store, decision=DecisionConfig(accept=0.9, reject=None))


def test_one_fixed_bundle_that_does_not_work_is_never_replaced_by_another(tmp_path):
    bundle = bundle_of(tmp_path / "v1", "1.0.0", golden_shift=1.0)
    with pytest.raises(BundleError, match="golden vectors are off"):
        open_session(Config(model=ModelConfig(bundle=str(bundle))), service=True)
