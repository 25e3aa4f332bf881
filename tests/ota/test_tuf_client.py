"""The client command line that the update framework's conformance suite drives, driven as that suite drives it."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from tests.ota.server import serving

KINDS = {"root": Root, "timestamp": Timestamp, "snapshot": Snapshot, "targets": Targets}


class Repository:
    """A small repository of the framework that knows nothing of pitcore."""

    def __init__(self, directory, *, consistent=True):
        self.directory, self.signer = directory, CryptoSigner.generate_ecdsa()
        self.signed = {role: kind() for role, kind in KINDS.items()}
        self.signed["root"].consistent_snapshot = consistent
        for role in KINDS:
            self.signed["root"].add_key(self.signer.public_key, role)
        self.publish()

    def put(self, name, content, algorithm="sha256"):
        target = TargetFile.from_data(name, content, [algorithm])
        self.signed["targets"].targets[name] = target
        consistent = self.signed["root"].consistent_snapshot
        path = self.directory / "targets" / (target.get_prefixed_paths()[0] if consistent else name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        self.publish("targets", "snapshot", "timestamp")
        return path

    def delegate(self, role):
        delegated = DelegatedRole(role, [], 1, terminating=False, paths=["*"])
        self.signed["targets"].delegations = Delegations({}, {role: delegated})
        self.signed["targets"].add_key(self.signer.public_key, role)
        self.signed[role] = Targets()
        self.publish("targets", "snapshot", "timestamp")

    def publish(self, *next_version, days=1000):
        for role in next_version:
            self.signed[role].version += 1
        for role, signed in self.signed.items():
            if isinstance(signed, Targets):
                self.signed["snapshot"].meta[f"{role}.json"] = MetaFile(signed.version)
        self.signed["timestamp"].snapshot_meta = MetaFile(self.signed["snapshot"].version)
        for role, signed in self.signed.items():
            signed.expires = datetime.now(UTC).replace(microsecond=0) + timedelta(days=days)
            md = Metadata(signed)
            md.sign(self.signer)
            plain = role == "timestamp" or (role != "root" and not self.signed["root"].consistent_snapshot)
            name = f"{quote(role, '')}.json" if plain else f"{signed.version}.{quote(role, '')}.json"
            (self.directory / "metadata").mkdir(exist_ok=True)
            (self.directory / "metadata" / name).write_bytes(md.to_bytes())


class Client:
    """The command, and the directories that the suite gives it."""

    def __init__(self, folder, site):
        self.metadata, self.targets, self.site = folder / "client", folder / "downloads", site
        self.metadata.mkdir()
        self.targets.mkdir()

    def run(self, *arguments):
        program = [sys.executable, "-m", "tests.ota.tuf_client"]
        command = [*program, "--metadata-dir", self.metadata, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode

    def init(self, root):
        path = self.metadata.with_name("initial_root.json")
        path.write_bytes(root)
        return self.run("init", path)

    def refresh(self):
        return self.run("--metadata-url", f"{self.site.url}/metadata", "refresh")

    def download(self, name):
        places = ["--target-dir", self.targets, "--target-base-url", f"{self.site.url}/targets"]
        return self.run("--metadata-url", f"{self.site.url}/metadata", "--target-name", name, *places, "download")

    def downloaded(self):
        return [path.read_bytes() for path in sorted(self.targets.glob("**/*")) if path.is_file()]

    def trusted(self):
        return {
            path.name.removesuffix(".json"): json.loads(path.read_bytes())["signed"]["version"]
            for path in self.metadata.glob("*.json")
        }


@pytest.fixture
def repository(request, tmp_path):
    (tmp_path / "repository").mkdir()
    return Repository(tmp_path / "repository", consistent=getattr(request, "param", True))


@pytest.fixture
def client(repository, tmp_path):
    with serving(repository.directory) as site:
        yield Client(tmp_path, site)


@pytest.fixture
def root(repository):
    return (repository.directory / "metadata" / "1.root.json").read_bytes()


def test_init_sends_no_request_and_refresh_one_for_each_role(client, root):
    assert client.init(root) == 0
    assert client.site.requests == []
    assert client.refresh() == 0
    asked = [path.removeprefix("metadata/").removeprefix("1.") for path, _ in client.site.requests]
    assert asked == ["2.root.json", "timestamp.json", "snapshot.json", "targets.json"]
    assert client.trusted() == {"root": 1, "timestamp": 1, "snapshot": 1, "targets": 1}


def test_a_refresh_before_init_and_one_without_a_url_end_with_1(client):
    assert client.refresh() == 1
    assert client.run("refresh") == 1


@pytest.mark.parametrize("damage", ["unsigned", "not a root", "empty"])
def test_a_wrong_first_root_sends_no_request(client, root, damage):
    content = json.loads(root)
    if damage == "unsigned":
        content["signatures"][0]["sig"] = "00" * 70
    elif damage == "not a root":
        del content["signed"]["version"]
    client.init(json.dumps(content).encode() if damage != "empty" else b"")
    assert client.refresh() == 1
    assert client.site.requests == []


@pytest.mark.parametrize("repository", [True, False], ids=["hashed names", "plain names"], indirect=True)
def test_a_file_comes_once_and_again_when_it_changes(client, repository, root):
    client.init(root)
    name = "path/to/a/file.txt"
    repository.put(name, b"first")
    assert client.download(name) == 0
    asked = sum("targets/" in path for path, _ in client.site.requests)
    assert client.download(name) == 0
    assert sum("targets/" in path for path, _ in client.site.requests) == asked == 1
    repository.put(name, b"second", algorithm="sha512")
    assert client.download(name) == 0
    assert client.downloaded() == [b"second"]


def test_a_substituted_file_never_takes_the_place_of_the_good_one(client, repository, root):
    client.init(root)
    repository.put("one", b"good")
    assert client.download("one") == 0
    repository.put("one", b"better").write_bytes(b"evil!!")
    assert client.download("one") == 1
    assert client.downloaded() == [b"good"]
    assert client.download("never listed") == 1
    assert client.downloaded() == [b"good"]


def test_an_empty_file_comes_too(client, repository, root):
    client.init(root)
    repository.put("nothing", b"")
    assert client.download("nothing") == 0
    assert client.downloaded() == [b""]


@pytest.mark.parametrize("role", ["?", "#", "/delegatedrole", "../delegatedrole"])
def test_the_name_of_a_role_reaches_neither_another_url_nor_another_file(client, repository, root, role):
    client.init(root)
    repository.delegate(role)
    assert client.download("whatever") == 1
    assert f"metadata/1.{quote(role, '')}.json" in client.site.raw
    assert len(client.trusted()) == 5
    assert {path.name for path in client.metadata.parent.iterdir()} == {
        "client",
        "downloads",
        "initial_root.json",
        "repository",
    }


def test_expired_metadata_end_with_1_and_are_not_passed_on(client, repository, root):
    client.init(root)
    assert client.refresh() == 0
    repository.publish("timestamp", days=-1)
    assert client.refresh() == 1
    repository.publish("timestamp")
    assert client.refresh() == 0


def test_an_older_timestamp_ends_with_1_and_the_newer_one_stays(client, repository, root):
    client.init(root)
    repository.publish("timestamp")
    assert client.refresh() == 0
    repository.signed["timestamp"].version = 1
    repository.publish()
    assert client.refresh() == 1
    assert client.trusted()["timestamp"] == 2


@pytest.mark.parametrize("role", ["root", "timestamp", "snapshot", "targets"])
def test_a_file_emptied_by_a_power_cut_is_fetched_again(client, root, role):
    client.init(root)
    assert client.refresh() == 0
    (client.metadata / f"{role}.json").write_bytes(b"")
    assert client.refresh() == 0
    assert client.trusted()[role] == 1
