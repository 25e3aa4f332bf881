import errno
import json
import logging
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from pitcore.cli import run
from pitcore.config import Config, ControlConfig, EmulatedSourceConfig, FrameConfig, ModelConfig
from pitcore.emulator.emulated import EmulatedSource
from pitcore.errors import SourceError, UpdateError
from pitcore.loop.app import App, Options
from pitcore.metrics import Metrics
from pitcore.model_card import DEFAULT_BUNDLE
from pitcore.ota import state as states
from pitcore.ota.disk import Disk
from pitcore.ota.slots import Store, give_up, installed_models, models_to_load, refund
from pitcore.ota.state import State
from tests.camera.belts import small_spec
from tests.ota.stores import bundle_of, commit, new_store, try_out


@pytest.fixture
def bundles(tmp_path):
    return [bundle_of(tmp_path / f"v{number}", f"{number}.0.0") for number in (1, 2, 3)]


@pytest.fixture
def store(tmp_path):
    return new_store(tmp_path / "store")


def offered(models):
    return [(candidate.role, candidate.bundle.card.version) for candidate in models]


BUNDLED = ("bundled", json.loads((DEFAULT_BUNDLE / "card.json").read_text())["version"])


def test_without_a_store_the_model_that_came_with_pitcore_is_loaded_and_nothing_is_made(tmp_path):
    assert offered(models_to_load(tmp_path / "none")) == [BUNDLED]
    assert list(tmp_path.iterdir()) == []


def test_a_stop_without_a_store_is_silent_and_makes_nothing(tmp_path, caplog):
    refund(tmp_path / "none", "0" * 64)
    assert caplog.text == ""
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_was_removed_is_named_with_the_fix(store):
    (store.root / "state.lock").unlink()
    with pytest.raises(UpdateError, match=r"state\.lock: .*removed it; `pitcore update install` makes it again"):
        store.change(states.refund_attempt)


def test_the_committed_model_comes_before_the_previous_and_the_bundled(store, bundles):
    commit(store, bundles[0], 1)
    commit(store, bundles[1], 2)
    assert offered(models_to_load(store.root)) == [("active", "2.0.0"), ("previous", "1.0.0"), BUNDLED]


def test_an_attempt_is_counted_on_the_disk_before_the_model_on_trial_is_returned(store, bundles):
    commit(store, bundles[0], 1)
    try_out(store, bundles[1], 2, attempts=2)
    for left in (1, 0):
        candidate = next(models_to_load(store.root))
        assert (candidate.role, store.read().trial.attempts_left) == ("trial", left)
    assert offered(models_to_load(store.root)) == [("active", "1.0.0"), BUNDLED]  # a crash loop ends here
    assert store.read().bad


def test_a_reader_never_gets_a_model_on_trial_and_uses_no_attempt(store, bundles):
    commit(store, bundles[0], 1)
    try_out(store, bundles[1], 2)
    before = store.state_path.read_bytes()
    assert offered(installed_models(store.root)) == [("active", "1.0.0"), BUNDLED]
    assert store.state_path.read_bytes() == before


def test_loading_the_running_model_once_more_is_no_new_attempt(store, bundles):
    release = try_out(store, bundles[0], 1, attempts=1)
    for _ in range(3):
        assert next(models_to_load(store.root, release.card_sha256 if _ else None)).role == "trial"


def test_a_clean_stop_refunds_only_the_model_that_is_on_trial(store, bundles):
    release = try_out(store, bundles[0], 1, attempts=2)
    next(models_to_load(store.root))
    refund(store.root, "0" * 64)
    assert store.read().trial.attempts_left == 1
    refund(store.root, release.card_sha256)
    assert store.read().trial.attempts_left == 2


@pytest.mark.parametrize("damage", ["flip", "cut", "gone", "other bundle"])
def test_a_damaged_active_slot_is_skipped_for_the_previous_model(store, bundles, damage, caplog):
    commit(store, bundles[0], 1)
    commit(store, bundles[1], 2)
    network = store.slot("b") / "model.onnx"
    if damage == "flip":
        network.write_bytes(network.read_bytes()[:-1] + b"\x55")
    elif damage == "cut":
        os.truncate(network, 0)
    elif damage == "gone":
        network.unlink()
    else:
        (store.slot("b") / "card.json").write_bytes((bundles[0] / "card.json").read_bytes())
    assert offered(models_to_load(store.root))[0] == ("previous", "1.0.0")
    assert "the active model is skipped" in caplog.text


def test_with_both_slots_broken_the_bundled_model_is_left(store, bundles):
    commit(store, bundles[0], 1)
    commit(store, bundles[1], 2)
    for slot in ("a", "b"):
        os.truncate(store.slot(slot) / "model.onnx", 10)
    assert offered(models_to_load(store.root)) == [BUNDLED]


def test_a_damaged_trial_is_dropped_and_may_be_installed_again(store, bundles):
    commit(store, bundles[0], 1)
    release = try_out(store, bundles[1], 2)
    os.truncate(store.slot("b") / "card.json", 0)
    assert offered(models_to_load(store.root)) == [("active", "1.0.0"), BUNDLED]
    state = store.read()
    assert (state.trial, state.b, state.is_bad(release)) == (None, None, False)


def test_a_model_that_does_not_load_is_given_up_only_while_it_is_the_one_on_trial(store, bundles):
    commit(store, bundles[0], 1)
    try_out(store, bundles[1], 2)
    candidate = next(models_to_load(store.root))
    store.change(lambda state: states.roll_back(state, "by hand"))
    give_up(store.root, candidate, "slow")  # another process was faster: the active model must not be affected
    assert store.read().active == "a"
    later = try_out(store, bundles[2], 3)
    give_up(store.root, next(models_to_load(store.root)), "no network")
    assert (store.read().active, store.read().trial, store.read().is_bad(later)) == ("a", None, True)


def refuse(_disk, _operation):
    raise OSError(errno.EROFS, "Read-only file system")


def test_a_disk_that_takes_no_write_never_loads_a_model_on_trial(store, bundles, monkeypatch, caplog):
    commit(store, bundles[0], 1)
    try_out(store, bundles[1], 2)
    monkeypatch.setattr(Disk, "attempt", refuse)
    assert offered(models_to_load(store.root)) == [("active", "1.0.0"), BUNDLED]
    assert "Read-only file system; the disk is read-only" in caplog.text
    assert "its attempt cannot be counted: " in caplog.text


@pytest.mark.parametrize("content", [b"", b"{}", b"\x00" * 300], ids=["zero bytes", "no version", "zeros"])
def test_one_damaged_copy_of_the_state_is_ignored(store, bundles, content):
    commit(store, bundles[0], 1)
    for path in (store.state_path, store.backup_path):
        whole = path.read_bytes()
        path.write_bytes(content)
        assert offered(models_to_load(store.root)) == [("active", "1.0.0"), BUNDLED]
        assert store.read().release_seq_floor == 1
        path.write_bytes(whole)


def test_the_later_copy_counts_and_the_next_change_rewrites_both(store, bundles):
    commit(store, bundles[0], 1)
    older = store.state_path.read_bytes()
    commit(store, bundles[1], 2)
    store.backup_path.write_bytes(older)
    assert store.read().active == "b"
    store.backup_path.write_bytes(store.state_path.read_bytes())
    store.state_path.write_bytes(b"")
    assert store.read().active == "b"
    store.change(lambda state: states.roll_back(state, "by hand"))
    assert store.state_path.read_bytes() == store.backup_path.read_bytes()


@pytest.mark.parametrize("content", [b"", b"{}", b"\x00" * 300], ids=["zero bytes", "no version", "zeros"])
def test_with_both_copies_of_the_state_damaged_the_bundled_model_runs_until_one_starts_over(store, bundles, content):
    commit(store, bundles[0], 1)
    store.state_path.write_bytes(content)
    store.backup_path.write_bytes(content)
    assert offered(models_to_load(store.root)) == [BUNDLED]
    with pytest.raises(UpdateError, match="damaged"):
        store.read()
    store.start_over()
    assert store.read() == State(generation=0)


def test_nothing_starts_over_while_one_copy_is_whole(store, bundles):
    commit(store, bundles[0], 1)
    store.state_path.write_bytes(b"")
    store.start_over()
    assert store.read().active == "a"


def test_the_state_of_a_newer_pitcore_stays_to_the_byte(store, bundles, caplog):
    commit(store, bundles[0], 1)
    newer = json.dumps({"version": 9, "slots": []}).encode()
    store.state_path.write_bytes(newer)
    with caplog.at_level(logging.ERROR):
        assert offered(models_to_load(store.root)) == [BUNDLED]
    assert "newer pitcore" in caplog.text
    with pytest.raises(UpdateError, match="newer pitcore"):
        store.change(states.commit)
    assert store.state_path.read_bytes() == newer


def test_two_updates_never_run_at_once(store):
    with (
        store.updating(),
        pytest.raises(UpdateError, match="another update is under way"),
        Store(store.root).updating(),
    ):
        pass
    with store.updating():
        pass


def test_a_lock_ends_with_its_process(store):
    hold = "import sys; from pathlib import Path; from pitcore.ota.slots import Store\n"
    hold += "with Store(Path(sys.argv[1])).updating():\n print('held', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", hold, str(store.root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(UpdateError, match="another update"), store.updating():
            pass
        process.kill()
    with store.updating():
        pass


@pytest.mark.parametrize(("frames", "left"), [(0, 2), (3, 1)])
def test_a_camera_that_is_not_there_costs_a_model_on_trial_no_attempt(store, bundles, monkeypatch, frames, left):
    """Once frames came the model may be the reason, for example if it takes so long that cameras run out of buffers."""
    try_out(store, bundles[0], 1, attempts=2)

    class Loose(EmulatedSource):
        given = 0

        def read(self, timeout_s):
            if self.given == frames:
                raise SourceError("camera top sent nothing for 1 s")
            self.given += 1
            return super().read(timeout_s)

    monkeypatch.setattr(run, "StopGuard", lambda *_: SimpleNamespace(start=lambda: None))
    frame = FrameConfig(height_px=240, width_px=700)
    belt = EmulatedSourceConfig(advance_px=120)
    control = ControlConfig(state_dir=str(store.root.parent))
    config = Config(frame=frame, source=belt, control=control, model=ModelConfig(store=str(store.root)))
    app = App(config, Loose(small_spec()), Options(sinks=[], service=True), Metrics())
    assert store.read().trial.attempts_left == 1
    with pytest.raises(SourceError):
        run._run(app, config, lambda: None)
    assert store.read().trial.attempts_left == left
