"""Tests that two boards have different identities, or that a board reports that it has none."""

import pytest

from pitcore.errors import ConfigError
from pitcore.ota.identity import made_from, read_identity

NUMBER = b"3d1219c7c4c5404aaa1f6d2a48adfda4\n"


@pytest.mark.parametrize("content", [b"", b"\n", b"uninitialized\n", b"\xff\n", b"0" * 32, NUMBER[:20]])
def test_a_machine_id_that_many_machines_have_gives_no_identity(tmp_path, content):
    (tmp_path / "machine-id").write_bytes(content)
    with pytest.raises(ConfigError, match=r"machine-id: .*systemd-machine-id-setup.*device_id"):
        read_identity(None, tmp_path / "machine-id", tmp_path / "serial")
    assert read_identity("line-3", tmp_path / "machine-id").device_id == "line-3"


def test_a_copied_system_on_other_hardware_is_another_board():
    first, second = made_from(NUMBER, b"10000000abcd1234\x00"), made_from(NUMBER, b"10000000abcd1235\x00")
    assert first.device_id != second.device_id
    assert first == made_from(NUMBER, b"10000000abcd1234\x00")
    assert "serial" in first.origin


@pytest.mark.parametrize("serial", [b"", b"\x00", b"0000000000000000\x00"])
def test_without_a_serial_number_it_says_that_a_copy_has_the_same(serial):
    found = made_from(NUMBER, serial)
    assert "a copied system has the same" in found.origin
    assert NUMBER.decode().strip() not in found.device_id
