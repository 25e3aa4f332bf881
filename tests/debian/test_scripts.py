"""Tests the calls of udev in the package's scripts. `make test-deb` runs the scripts, in a root without udev."""

import re

from tests.conftest import ROOT


def test_devices_that_are_there_already_keep_their_permissions_until_the_board_restarts():
    """udevadm takes a device that fits every kind of match: a subsystem and a name in one call fit none of ours."""
    script = (ROOT / "tools/debian/postinst").read_text(encoding="ascii")
    calls = [set(re.findall(r"--(\S+)-match=(\S+)", line)) for line in script.splitlines() if "udevadm trigger" in line]
    assert all(len({kind for kind, _ in call}) == 1 for call in calls)
    assert set().union(*calls) == {("subsystem", "gpio"), ("subsystem", "dma_heap"), ("sysname", "vcio")}
