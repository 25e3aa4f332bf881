import json

import msgspec
import pytest

from pitcore.errors import Refusal, UpdateError
from pitcore.ota.channel import BoardMachine, Entry, ReleaseMetadata, asked, check_fits, decode_channel, decode_release

MACHINE = BoardMachine("aarch64", "1.22.0")
BOARDS = [f"board-{number}" for number in range(4000)]


def release(**changed):
    good = {
        "release_seq": 3,
        "card_sha256": "a" * 64,
        "label": "cherry@1.0.0",
        "contract": "pitcore.card/1",
        "onnxruntime_min": "1.22",
    }
    return good | changed


def channel(**changed):
    entry = {"target": "models/cherry-1.0.0.tar", "percent": 50, "salt": "0123456789"}
    return json.dumps({"schema": "pitcore.channel/1", "name": "stable", "releases": [entry | changed]}).encode()


@pytest.mark.parametrize("percent", [0, 0.01, 1, 50, 99.99, 100])
def test_a_phase_asks_about_its_share_of_the_boards(percent):
    entry = Entry("models/m.tar", percent, "0123456789")
    share = sum(asked(entry, board) for board in BOARDS) / len(BOARDS)
    assert abs(share - percent / 100) < 0.03
    assert percent not in {0, 100} or share == percent / 100


def test_a_board_that_was_asked_stays_asked_while_the_phase_grows():
    phases = [{board for board in BOARDS if asked(Entry("m", percent, "s" * 8), board)} for percent in (1, 50, 100)]
    assert phases[0] < phases[1] < phases[2]


def test_another_release_begins_with_other_boards():
    first, second = ({board for board in BOARDS if asked(Entry("m", 1, salt * 8), board)} for salt in "ab")
    assert first != second


@pytest.mark.parametrize(
    "name", ["models/../../etc/passwd", "/etc/passwd", "models/a/b", "models/.hidden", "models/a\0b", "models/%2e%2e/x"]
)
def test_a_name_that_could_leave_its_directory_is_refused(name):
    for decode, raw in (
        (lambda raw: decode_channel(raw, "stable"), channel(target=name)),
        (
            lambda raw: decode_release(raw, "models/m.tar"),
            release(
                deltas=[{"target": name, "sha256": "b" * 64, "length": 1, "method": "zstd", "base_sha256": "c" * 64}]
            ),
        ),
    ):
        with pytest.raises(UpdateError) as refused:
            decode(raw)
        assert refused.value.refusal is Refusal.BAD_NAME


@pytest.mark.parametrize(
    "raw", [b"", b"\xff", b"[]", channel(percent=101), channel(percent=-1), channel(salt=""), channel(more=1)]
)
def test_a_channel_file_out_of_its_bounds_is_refused(raw):
    with pytest.raises(UpdateError) as refused:
        decode_channel(raw, "stable")
    assert refused.value.refusal is Refusal.MALFORMED


def test_the_file_of_another_channel_is_refused():
    with pytest.raises(UpdateError) as refused:
        decode_channel(channel(), "beta")
    assert refused.value.refusal is Refusal.MIXED


def test_a_key_of_a_later_publisher_does_not_stop_an_older_board():
    assert decode_release(release(colour="red"), "models/m.tar").release_seq == 3


@pytest.mark.parametrize("wrong", [{"release_seq": 0}, {"release_seq": "3"}, {"card_sha256": "A"}, {"deltas": 3}])
def test_custom_data_out_of_its_bounds_is_refused(wrong):
    with pytest.raises(UpdateError) as refused:
        decode_release(release(**wrong), "models/m.tar")
    assert refused.value.refusal is Refusal.MALFORMED


@pytest.mark.parametrize("wrong", [{"arch": ["x86_64"]}, {"contract": "pitcore.card/3"}, {"onnxruntime_min": "1.22.1"}])
def test_a_model_for_another_machine_is_not_installed(wrong):
    fits = msgspec.convert(release(arch=["x86_64", "aarch64"]), ReleaseMetadata)
    check_fits(fits, MACHINE, "models/m.tar")
    with pytest.raises(UpdateError) as refused:
        check_fits(msgspec.convert(release(**wrong), ReleaseMetadata), MACHINE, "models/m.tar")
    assert refused.value.refusal is Refusal.INCOMPATIBLE


@pytest.mark.parametrize("percent", [float("nan"), float("inf"), -0.01, 100.01])
def test_a_share_that_cannot_be_read_again_is_refused_when_it_is_written(percent):
    with pytest.raises(ValueError, match="is not a share of the boards"):
        Entry("models/m.tar", percent, "0123456789")


@pytest.mark.parametrize("percent", [0.0, 0.01, 100.0])
def test_a_share_is_read_again_as_it_was_written(percent):
    entry = Entry("models/m.tar", percent, "0123456789")
    assert msgspec.json.decode(msgspec.json.encode(entry), type=Entry) == entry
