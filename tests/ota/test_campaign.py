"""A fleet's server selects, signatures authorise, and success is said after COMMIT only: over HTTP on both sides, with
the real trust, self-test, slots and gate."""

import pytest

from pitcore.cli.update_place import UpdateContext
from pitcore.cli.updating import fleet as build_campaign
from pitcore.config import Config
from pitcore.config.hawkbit import HawkbitConfig
from pitcore.errors import Refusal, UpdateError
from pitcore.ota.campaign import Campaign
from pitcore.ota.channel import BoardMachine
from pitcore.ota.hawkbit import DdiServer, HawkbitAccount
from pitcore.ota.slots import installed_models
from pitcore.ota.trust import RepositorySource, TrustContext, TrustedRepository
from pitcore.ota.update import Means, Updater
from tests.ota.board import prove
from tests.ota.ddi import AUTHORIZATION, hawkbit
from tests.ota.line import GATE, Line
from tests.ota.publisher import Clock, Publisher
from tests.ota.server import serving
from tests.ota.stores import new_store


class Fleet:
    """One board of a fleet, its publisher, its repository's site and its server."""

    def __init__(self, place, site, server):
        self.publisher, self.site, self.server = Publisher(place), site, server
        site.root = self.publisher.directory
        self.store = new_store(place / "store")
        self.line = Line(self.store.root).start()
        self.authorization, self.told = AUTHORIZATION, []

    def updater(self, target):
        source = RepositorySource(self.site.url, "stable", self.publisher.root, "board-1", target)
        machine = TrustContext(BoardMachine("aarch64", "1.30.0"), Clock(self.publisher))
        repository = TrustedRepository(source, self.store.tuf, machine)
        return Updater(self.store, Means(repository, prove, self.line, GATE, attempts=2))

    def poll(self):
        account = HawkbitAccount(self.server.url, "DEFAULT", "board-1", self.authorization)
        return Campaign(DdiServer(account), self.store, self.updater, {"arch": "aarch64"}, self.told.append).poll()

    @property
    def runs(self):
        return next(installed_models(self.store.root)).bundle.label

    def said(self, number):
        return [(execution, finished) for action, execution, finished, _ in self.server.log if action == number]


@pytest.fixture
def fleet(tmp_path, bundled):
    with serving(tmp_path) as site, hawkbit() as server:
        yield Fleet(tmp_path, site, server)


def test_a_poll_without_orders_reports_the_attributes_of_the_board(fleet):
    polled = fleet.poll()
    assert (polled.sleep_s, polled.message) == (60.0, "no orders")
    assert fleet.server.attributes == {"arch": "aarch64", "model": "tiny@0.0.1"}
    fleet.poll()
    assert [method for method, _ in fleet.server.calls] == ["GET", "PUT", "GET"]  # once is enough


def test_an_ordered_model_is_installed_and_success_reported_after_commit(fleet):
    fleet.publisher.add("1.0.0")
    fleet.publisher.add("1.1.0")
    first = fleet.server.assign("tiny", "1.0.0")  # the server selects; the newest is not asked for
    fleet.poll()
    assert fleet.runs == "tiny@1.0.0"
    assert fleet.said(first) == [("proceeding", "none"), ("closed", "success")]
    assert fleet.server.status(first) == "FINISHED"
    second = fleet.server.assign("tiny", "1.1.0")
    fleet.poll()
    assert (fleet.runs, fleet.server.status(second)) == ("tiny@1.1.0", "FINISHED")
    fleet.poll()
    assert fleet.server.attributes["model"] == "tiny@1.1.0"


def test_while_on_trial_the_action_stays_open_and_a_later_poll_closes_it(fleet):
    fleet.publisher.add("1.0.0")
    number = fleet.server.assign("tiny", "1.0.0")
    fleet.line.stop()
    fleet.poll()
    assert fleet.said(number) == [("proceeding", "none"), ("proceeding", "none")]
    assert fleet.server.status(number) == "RUNNING"
    fleet.line.start()
    fleet.poll()
    assert fleet.server.status(number) == "FINISHED"
    assert fleet.runs == "tiny@1.0.0"


def test_power_lost_between_commit_and_feedback_still_ends_in_success(fleet):
    fleet.publisher.add("1.0.0")
    number = fleet.server.assign("tiny", "1.0.0")
    fleet.updater("models/tiny-1.0.0.tar").install()
    assert fleet.said(number) == []
    fleet.poll()
    assert fleet.server.status(number) == "FINISHED"


def test_an_order_for_another_model_than_the_one_on_trial_ends_with_the_ordered_one(fleet):
    for version in ("1.0.0", "1.1.0"):
        fleet.publisher.add(version)
    fleet.line.stop()
    first = fleet.server.assign("tiny", "1.0.0")
    fleet.poll()
    fleet.server.actions[first]["active"] = False  # force-quit by the operator
    fleet.line.start()
    second = fleet.server.assign("tiny", "1.1.0")
    fleet.poll()
    assert (fleet.runs, fleet.server.status(second)) == ("tiny@1.1.0", "FINISHED")


class Slow(Line):
    """A model that makes the line drop frames."""

    def health(self):
        if self.session is not None and self.label == "tiny@1.0.0":
            self.model_faults += 1
        return super().health()


def left_on_trial(fleet):
    """Leave tiny@1.0.0, which makes the line drop frames, on trial because the service is stopped; start it again."""
    fleet.publisher.add("1.0.0")
    fleet.line = Slow(fleet.store.root).start()
    fleet.line.stop()
    number = fleet.server.assign("tiny", "1.0.0")
    fleet.poll()
    assert fleet.server.status(number) == "RUNNING"
    fleet.line.start()
    return number


def test_a_model_on_trial_is_judged_while_the_server_is_away(fleet):
    left_on_trial(fleet)
    fleet.server.answer = 500, None
    with pytest.raises(UpdateError):
        fleet.poll()
    assert (fleet.store.read().trial, fleet.line.label) == (None, "tiny@0.0.1")
    assert fleet.told[-1].startswith("tiny@1.0.0 is rolled back")


def test_a_model_on_trial_is_judged_when_its_order_was_withdrawn(fleet):
    number = left_on_trial(fleet)
    fleet.server.actions[number]["active"] = False  # force-quit by the operator
    assert fleet.poll().message == "no orders"
    assert (fleet.store.read().trial, fleet.line.label) == (None, "tiny@0.0.1")


def test_the_failed_trial_of_an_older_order_is_not_reported_to_the_new_one(fleet):
    older = left_on_trial(fleet)
    fleet.publisher.add("1.1.0")
    fleet.server.actions[older]["active"] = False
    newer = fleet.server.assign("tiny", "1.1.0")
    fleet.poll()
    assert fleet.said(newer) == [("proceeding", "none"), ("closed", "success")]
    assert (fleet.runs, fleet.line.label) == ("tiny@1.1.0", "tiny@1.1.0")


def test_a_failed_trial_is_reported_to_its_own_order(fleet):
    number = left_on_trial(fleet)
    fleet.poll()
    assert fleet.server.status(number) == "ERROR"
    assert "failed here before (frames are late or dropped too often" in fleet.server.log[-1][3]


def test_an_order_waits_while_an_older_model_is_still_on_trial(fleet):
    older = left_on_trial(fleet)
    fleet.line.stop()
    fleet.publisher.add("1.1.0")
    fleet.server.actions[older]["active"] = False
    newer = fleet.server.assign("tiny", "1.1.0")
    fleet.poll()
    assert fleet.said(newer) == [("proceeding", "none")]
    assert "tiny@1.1.0 waits for a trial: tiny@1.0.0 is installed on trial" in fleet.server.log[-1][3]


def test_an_ordered_install_never_reports_the_end_of_another_trial(fleet):
    """`pitcore update install` may begin a trial after the poll looked."""
    left_on_trial(fleet)
    with pytest.raises(UpdateError) as caught:
        fleet.updater("models/tiny-1.1.0.tar").install_order()
    assert caught.value.refusal is Refusal.BUSY


def test_a_model_that_no_offline_key_signed_is_not_taken_whoever_selects_it(fleet):
    number = fleet.server.assign("tiny", "6.6.6")
    fleet.poll()
    assert fleet.server.status(number) == "ERROR"
    assert fleet.server.log[-1][3].startswith("unlisted: ")
    assert fleet.runs == "tiny@0.0.1"


@pytest.mark.parametrize("target", ["../../etc/passwd", "channels/stable.json"])
def test_a_name_from_the_server_is_never_used_as_a_path(fleet, target):
    number = fleet.server.assign("tiny", "1.0.0", metadata=[("pitcore.target", target)])
    fleet.poll()
    assert fleet.server.status(number) == "ERROR"
    assert fleet.server.log[-1][3].startswith("bad-name: ")


def test_the_server_cannot_order_an_older_model_back_but_its_second_release(fleet):
    fleet.publisher.add("1.0.0")
    fleet.publisher.add("1.1.0")
    fleet.server.assign("tiny", "1.1.0")
    fleet.poll()
    back = fleet.server.assign("tiny", "1.0.0")
    fleet.poll()
    assert fleet.server.status(back) == "ERROR"
    assert fleet.server.log[-1][3].startswith("rolled-back: ")
    again = fleet.publisher.add("1.0.0", again=True)
    back = fleet.server.assign("tiny", "1.0.0", metadata=[("pitcore.target", again.target)])
    fleet.poll()
    assert (fleet.runs, fleet.server.status(back)) == ("tiny@1.0.0", "FINISHED")


def test_a_network_that_fails_leaves_the_action_open_and_a_missing_file_ends_it(fleet):
    fleet.publisher.add("1.0.0")
    number = fleet.server.assign("tiny", "1.0.0")
    fleet.site.faults = {"tiny-1.0.0": "503"}
    fleet.poll()
    assert fleet.said(number)[-1] == ("proceeding", "none")
    fleet.site.faults = {"tiny-1.0.0": "404"}
    fleet.poll()
    assert fleet.said(number)[-1] == ("closed", "failure")
    assert fleet.server.status(number) == "ERROR"


def test_outside_the_maintenance_window_it_downloads_and_within_it_installs(fleet):
    fleet.publisher.add("1.0.0")
    number = fleet.server.assign("tiny", "1.0.0", maintenanceWindow="unavailable", update="skip")
    fleet.poll()
    assert fleet.server.status(number) == "DOWNLOADED"
    assert fleet.runs == "tiny@0.0.1"
    fleet.server.actions[number]["deployment"] |= {"maintenanceWindow": "available", "update": "forced"}
    asked = len([path for path, _ in fleet.site.requests if path.endswith("tiny-1.0.0.tar")])
    fleet.poll()
    assert (fleet.runs, fleet.server.status(number)) == ("tiny@1.0.0", "FINISHED")
    assert len([path for path, _ in fleet.site.requests if path.endswith("tiny-1.0.0.tar")]) == asked
    waits = fleet.server.assign("tiny", "1.0.0", download="skip", update="skip")
    fleet.poll()
    assert fleet.said(waits) == [("scheduled", "none")]


def test_a_canceled_action_is_given_up_and_waits_for_a_trial(fleet):
    fleet.publisher.add("1.0.0")
    early = fleet.server.assign("tiny", "1.0.0")
    fleet.server.cancel(early)
    fleet.poll()
    assert fleet.server.status(early) == "CANCELED"
    assert fleet.runs == "tiny@0.0.1"
    late = fleet.server.assign("tiny", "1.0.0")
    fleet.line.stop()
    fleet.poll()
    fleet.server.cancel(late)
    fleet.poll()
    assert fleet.said(late)[-1] == ("proceeding", "none")
    fleet.line.start()
    fleet.poll()
    assert (fleet.runs, fleet.server.status(late)) == ("tiny@1.0.0", "CANCELED")  # its trial had begun before


def test_an_order_that_is_canceled_while_another_model_is_on_trial_is_never_installed(fleet):
    fleet.publisher.add("1.0.0")
    fleet.publisher.add("2.0.0")
    fleet.server.assign("tiny", "1.0.0")
    fleet.line.stop()
    fleet.poll()
    waits = fleet.server.assign("tiny", "2.0.0")
    fleet.poll()
    fleet.server.cancel(waits)
    fleet.poll()
    fleet.line.start()
    for _ in range(3):  # the server gives one order at a time
        fleet.poll()
        assert fleet.runs == "tiny@1.0.0"
    assert fleet.server.status(waits) == "CANCELED"


@pytest.mark.parametrize("part", ["os", "bApp"])
def test_a_set_without_a_model_is_refused(fleet, part):
    number = fleet.server.assign("tiny", "1.0.0", part=part)
    fleet.poll()
    assert fleet.server.status(number) == "ERROR"


@pytest.mark.parametrize(
    ("answer", "refusal"),
    [
        ((200, b"<html><head></head></html>"), Refusal.CAPTIVE_PORTAL),
        ((200, b"{"), Refusal.MALFORMED),
        ((200, b" " * 2**21), Refusal.OVERSIZED),
        ((302, None), Refusal.UNAVAILABLE),
        ((429, None), Refusal.UNAVAILABLE),
        ((500, None), Refusal.UNAVAILABLE),
        ((401, None), Refusal.NOT_SET_UP),
        ((404, None), Refusal.NOT_FOUND),
        (
            (
                200,
                {"config": {"polling": {"sleep": "00:01:00"}}, "_links": {"deploymentBase": {"href": "http://evil/x"}}},
            ),
            Refusal.MALFORMED,
        ),
    ],
)
def test_an_invalid_answer_of_the_server_is_refused_and_nothing_changes(fleet, answer, refusal):
    fleet.server.answer = answer
    with pytest.raises(UpdateError) as caught:
        fleet.poll()
    assert caught.value.refusal is refusal
    assert "\n" not in str(caught.value)
    assert AUTHORIZATION.split()[1] not in str(caught.value)
    fleet.server.answer = None
    assert fleet.poll().message == "no orders"


@pytest.mark.parametrize("links", ["https://fleet.example.org:443/hawkbit", "http://localhost:1", "", "/behind"])
def test_links_of_a_server_behind_a_proxy_are_followed_on_the_configured_server(fleet, links):
    fleet.publisher.add("1.0.0")
    number = fleet.server.assign("tiny", "1.0.0")
    fleet.server.links = links
    fleet.poll()
    assert fleet.server.status(number) == "FINISHED"
    assert all(path.startswith("/DEFAULT/controller/v1/board-1") for _, path in fleet.server.calls)


def test_another_token_is_refused(fleet):
    fleet.authorization = "TargetToken wrong"
    with pytest.raises(UpdateError, match="token"):
        fleet.poll()


@pytest.mark.parametrize("content", ["", "SECRET\nSECRET", "SECRET SECRET"])
def test_a_file_without_a_token_is_reported_without_its_content(tmp_path, content):
    (tmp_path / "token").write_text(content)
    said = HawkbitConfig(url="http://localhost", controller_id="board", token_file=str(tmp_path / "token"))
    place = UpdateContext(Config(hawkbit=said), None, new_store(tmp_path / "store"), None, tmp_path / "socket")
    with pytest.raises(UpdateError, match="no token in one line") as caught:
        build_campaign(place)
    assert caught.value.refusal is Refusal.NOT_SET_UP
    assert "SECRET" not in str(caught.value)


def test_a_byte_order_mark_before_a_token_is_ignored(fleet, tmp_path):
    (tmp_path / "token").write_bytes(AUTHORIZATION.split()[1].encode("utf-8-sig") + b"\r\n")
    said = HawkbitConfig(url=fleet.server.url, controller_id="board-1", token_file=str(tmp_path / "token"))
    place = UpdateContext(Config(hawkbit=said), None, fleet.store, None, tmp_path / "socket")
    assert build_campaign(place).poll().message == "no orders"
