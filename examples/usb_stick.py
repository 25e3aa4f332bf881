"""Write a stick for boards without a network, and ask as a board what is on it. Needs pitcore-tools (`make tools`).

    python examples/publish_model.py out/bundle srv keys
    python examples/usb_stick.py srv /media/stick board.toml

The configuration of the board names its store of models and the publisher's root:

    [model]
    store = "/var/lib/pitcore/models"
    [update]
    root = "/etc/pitcore/root.json"

A board then installs it: `pitcore update install --from /media/stick`.
"""

import sys
from pathlib import Path

from pitcore.cli.update import update
from pitcore_tools.cli.package import package


def main(repository, stick, config, *options):
    """Options are those of `pitcore-tools package export-usb`: --folder where there is no stick."""
    folder = str(Path(stick) / "pitcore")
    package.main(["export-usb", folder, "--repository", repository, *options], standalone_mode=False)
    update.main(["check", "--from", stick, "--config", config], standalone_mode=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
