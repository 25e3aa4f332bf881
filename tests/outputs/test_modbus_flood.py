from tests.outputs.modbus_flood import MOST_LINES, flood


def test_a_flood_of_connections_neither_starves_the_watchdog_nor_disarm_nor_fills_the_log(tmp_path):
    """The short form of ``python -m tests.outputs.modbus_flood``, which also measures times."""
    found = flood(tmp_path, 200, 0.0)  # returns only if the watchdog was fed and `disarm` answered after the flood
    assert found.opened == 200
    assert found.answers_s
    assert len(found.lines) <= MOST_LINES
