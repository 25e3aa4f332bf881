"""Make a repository, sign a model bundle, and release it to every board. Needs pitcore-tools (`make tools`).

    python examples/publish_model.py out/bundle srv keys

The keys have no passphrase here, and all of them are in one folder: docs/updates_publisher.md says how to keep them.
"""

import json
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

from pitcore_tools.cli.package import package


def run(*arguments):
    """Run `pitcore-tools package` with these arguments and return what it prints."""
    with redirect_stdout(StringIO()) as printed:
        package.main([str(argument) for argument in arguments], standalone_mode=False)
    return printed.getvalue()


def main(bundle, repository, keys):
    at = ("--repository", repository)
    offline, online = ("--keys", Path(keys) / "offline"), ("--keys", Path(keys) / "online")
    if not Path(repository).exists():
        run("init", *at, "--keys", keys, "--channel", "stable", "--unprotected")
    added = json.loads(run("add", bundle, *at, *offline, *online, "--json"))
    run("release", "stable", added["target"], "--percent", "100", "--yes", *at, *online)
    print(f"{added['target']}: {added['length']} bytes, released to every board of the channel stable")


if __name__ == "__main__":
    main(*sys.argv[1:])
