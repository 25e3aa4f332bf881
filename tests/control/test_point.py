"""The operating point that is chosen at the running board."""

import json
import threading
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from pitcore.actuation.arming import Arming
from pitcore.config import ControlConfig
from pitcore.control.commands import Commands
from pitcore.control.point import FILE, PointChoice, choose, restore, with_choice
from pitcore.control.reload import ReloadResult, StillReloadingError
from pitcore.control.server import Peer
from pitcore.errors import ConfigError, ControlError
from tests.control.scenario import Running
from tests.patience import PATIENCE_S
from tests.scene import config_for

ANNA = Peer(7, 1000, "anna")


@pytest.fixture
def config(tiny_bundle, tmp_path):
    return config_for(tiny_bundle, control=ControlConfig(state_dir=str(tmp_path / "state")))


def asked(config, args, later):
    """Ask a running service for a point, and return what it answered."""
    said = []

    def ask(run):
        arming = Arming(Path(config.control.state_dir) / "arming.json", None)
        commands = Commands(run.app, run.sinks, run.recent, arming, run.reloader, None).by_name()
        try:
            said.append(commands["point"](args, ANNA))
        except ControlError as error:
            said.append(str(error))

    def script(run):
        thread = threading.Thread(target=ask, args=(run,), daemon=True)
        thread.start()
        while thread.is_alive():
            yield
        said.append(run.app.config)

    Running(config, script, later)
    return said


def test_a_point_that_was_chosen_is_used_and_kept(config, tmp_path):
    answer, now = asked(config, {"point": "strict"}, lambda: with_choice(config))
    assert answer["point"] == "strict"
    assert now.decision.point == "strict"
    kept = msgspec.json.decode((tmp_path / "state" / FILE).read_bytes(), type=PointChoice)
    assert (kept.point, kept.by) == ("strict", "anna")


def test_a_point_that_the_model_lacks_is_refused(config, tmp_path):
    answer, _ = asked(config, {"point": "wild"}, config)
    assert "no operating point wild" in answer
    assert not (tmp_path / "state" / FILE).exists()


def test_a_point_that_is_refused_is_not_kept(config, tmp_path):
    choose(tmp_path / "state", None, "before")
    before = (tmp_path / "state" / FILE).read_bytes()

    def bad():
        raise ConfigError("bad file")

    answer, _ = asked(config, {"point": "strict"}, bad)
    assert "bad file" in answer
    assert (tmp_path / "state" / FILE).read_bytes() == before


def test_a_choice_can_be_taken_back(config, tmp_path):
    state = tmp_path / "state"
    choose(state, "throughput", "anna")
    assert with_choice(config).decision.point == "throughput"
    before = choose(state, None, "anna")
    assert with_choice(config) == config
    restore(state, before)
    assert with_choice(config).decision.point == "throughput"
    restore(state, None)
    assert with_choice(config) == config


@pytest.mark.parametrize("raw", [b"", b"{", b'{"point":"wild","by":"x","at":"y"}', b"\xff"])
def test_a_damaged_choice_does_not_count(config, tmp_path, raw):
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / FILE).write_bytes(raw)
    assert with_choice(config) == config


def test_two_refused_choices_at_once_leave_what_was_chosen_before(config, tmp_path):
    state, tries, both = tmp_path / "state", [], threading.Event()
    choose(state, None, "before")
    kept = (state / FILE).read_bytes()

    class Reloads:
        """Refuses; the first request is held until the second one was asked, or waits for its turn."""

        def ask_and_wait(self, by, _timeout_s):
            tries.append((by, json.loads((state / FILE).read_bytes())["point"]))
            both.wait(0.3)
            return ReloadResult("refused", by, "", 0.0, "half edited")

    app = SimpleNamespace(bundle=SimpleNamespace(card=SimpleNamespace(points=["strict", "throughput"])), config=config)
    point = Commands(app, (), None, None, Reloads(), None).by_name()["point"]
    said = []

    def ask(name, wanted):
        with pytest.raises(ControlError) as refused:
            point({"point": wanted}, Peer(7, 1000, name))
        said.append(str(refused.value))
        both.set()

    threads = [
        threading.Thread(target=ask, args=pair, daemon=True) for pair in (("anna", "throughput"), ("ben", "strict"))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert said == ["refused, the old operating point is used: half edited"] * 2
    assert sorted(tries) == [("anna", "throughput"), ("ben", "strict")]
    assert (state / FILE).read_bytes() == kept


@pytest.mark.parametrize(
    ("error", "kept"), [(ControlError("it was dropped"), False), (StillReloadingError("it did not end"), True)]
)
def test_a_choice_is_kept_only_if_its_reload_may_still_take_it(config, tmp_path, error, kept):
    class Hangs:
        def ask_and_wait(self, *_):
            raise error

    app = SimpleNamespace(bundle=SimpleNamespace(card=SimpleNamespace(points=["strict"])), config=config)
    with pytest.raises(ControlError, match=str(error)):
        Commands(app, (), None, None, Hangs(), None).by_name()["point"]({"point": "strict"}, ANNA)
    assert (tmp_path / "state" / FILE).exists() == kept
