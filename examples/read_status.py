"""Read the status of a running service from its control socket.

    python examples/read_status.py /run/pitcore/control.sock

docs/control.md has the commands; the fields are in pitcore/control/status.py.
"""

import sys
from pathlib import Path

from pitcore.control.client import ask
from pitcore.errors import NotRunningError


def main(socket):
    try:
        status = ask(Path(socket), "status")
    except NotRunningError as error:
        print(error)
        return 3
    print(f"{status['state']}, model {status['model']['name']}@{status['model']['version']}")
    print(f"{'armed' if status['arming']['armed'] else 'dry run'}, {status['frames']['judged']} frames judged")
    for alarm in status["alarms"]:
        print(f"alarm {alarm['name']} since {alarm['since']}: {alarm['detail']}")
    for camera in status["cameras"]:
        print(f"camera {camera['id']}: {camera['state']}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
