"""A publisher at work: folders, and a terminal."""

import json

from click.testing import CliRunner

from pitcore_tools.cli.package import package
from tests.conftest import tiny_card, write_card, write_tiny_bundle

PHRASE = "correct horse battery"


class Desk:
    """A publisher at work: folders, and a terminal."""

    def __init__(self, folder):
        self.folder, self.repository, self.keys = folder, folder / "repository", folder / "keys"
        self.phrase = folder / "phrase"
        self.phrase.write_text(PHRASE + "\n")

    def run(self, *arguments, keys=("keys",), **options):
        command = [*map(str, arguments), "--repository", str(self.repository)]
        for name in keys:
            command += ["--keys", str(self.folder / name)]
        if keys:
            command += ["--passphrase-file", str(self.phrase)]
        result = CliRunner().invoke(package, command, **options)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    def init(self, *more):
        return self.run("init", "--channel", "stable", *more)

    def bundle(self, version, **options):
        directory = self.folder / f"bundle-{version}"
        write_tiny_bundle(directory, **options)
        write_card(directory, tiny_card(directory) | {"version": version})
        return directory

    def add(self, version, *more, **options):
        directory = self.folder / f"bundle-{version}"
        return self.run("add", directory if directory.exists() else self.bundle(version), "--json", *more, **options)

    def files(self):
        return {path: path.read_bytes() for path in self.repository.rglob("*") if path.is_file()}

    def verify(self, *more):
        return json.loads(self.run("verify", "--json", *more, keys=()).stdout)
