"""Read new verdicts as a PLC does, over Modbus TCP. Needs `pip install pyModbusTCP`.

    python examples/plc_client.py 127.0.0.1 1502

docs/modbus.md has every register. A PLC does this in a cycle, and watches `heartbeat` and `flags` as well.
"""

import sys

from pyModbusTCP.client import ModbusClient

NEWEST, RING, ENTRIES, WORDS = 27, 1000, 7620, 8  # of the long ring
AT_ONCE = 15  # entries in one request
NAMES = {1: "clean", 2: "pit", 3: "side", 5: "maybe"}
ACTIONS = ("pass", "review", "reject")


def read(client, address, words):
    found = client.read_input_registers(address, words)
    if found is None:
        raise SystemExit(f"no answer: {client.last_error_as_txt}")
    return found


def entry(client, number):
    """Return tick, code, action, lane and x of a verdict, or None where a newer one took its place."""
    at = RING + ((number - 1) % ENTRIES) * WORDS
    id_high, id_low, tick_high, tick_low, *rest = read(client, at, WORDS)
    return (tick_high << 16 | tick_low, *rest) if id_high << 16 | id_low == number else None


def main(host, port):
    client = ModbusClient(host, int(port), auto_open=True)
    schema, heartbeat, flags = read(client, 0, 3)
    if schema != 1:
        raise SystemExit(f"registers of schema {schema}; this program knows 1")
    if read(client, 35, 1) != [RING]:
        raise SystemExit("an older pitcore, which has only the short ring of 60 verdicts")
    high, low, run_high, run_low = read(client, NEWEST, 4)
    newest, run = high << 16 | low, run_high << 16 | run_low  # another run: numbers and ticks count anew
    print(f"run {run:08x}, heartbeat {heartbeat}, {'armed' if flags & 1 else 'dry run'}")
    for number in range(max(1, newest - AT_ONCE + 1), newest + 1):
        found = entry(client, number)
        if found is not None:
            tick, code, action, lane, x = found
            print(f"{number}: {NAMES[code]}, {ACTIONS[action]} in lane {lane}, tick {tick}, x {x}")
    client.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
