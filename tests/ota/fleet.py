"""Whole boards: `pitcore run` in a process of its own over an emulated belt, `pitcore update` as a user calls it."""

import json
import signal
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pitcore.control.remote import ask_status
from pitcore.errors import ControlError
from pitcore.ota.slots import Store
from tests.cli.forks import Forked
from tests.cli.program import program, run_pitcore
from tests.config_text import small_belt
from tests.conftest import write_card
from tests.ota.publisher import Publisher

PATIENCE_S = 240.0


class Today(Publisher):
    """The publisher of real boards, whose clock is right."""

    @property
    def now(self):
        return datetime.now(UTC) - timedelta(seconds=2)

    @now.setter
    def now(self, value):
        pass

    def bundle(self, version, *, stops_all=True, **options):
        """A bundle that stops every cherry, or one that lets every cherry pass, which the gate refuses."""
        is_new = not (self.folder / f"bundle-{version}").exists()
        directory = super().bundle(version, **options)
        if is_new:
            calibration = {"method": "platt", "slope": 1.0, "intercept": 100.0 if stops_all else -100.0}
            write_card(directory, json.loads((directory / "card.json").read_text()) | {"calibration": calibration})
        return directory


class RealBoard:
    """One board, and the supervisor that starts its service again when it dies.

    Args:
        place: its directory; a short path, because it holds a socket.
        url: of the repository.
        root: provisioned ``root.json``.
        options: of ``[update]``, beyond what makes a test quick.
    """

    def __init__(self, place: Path, url: str, root: bytes, **options):
        self.place, self.store = place, Store(place / "store")
        place.mkdir(parents=True, exist_ok=True)
        (place / "root.json").write_bytes(root)
        wanted = {
            "url": url,
            "root": str(place / "root.json"),
            "device_id": place.name,
            "gate_frames": 12,
            "gate_cherries": 100,
        }
        wanted |= {"gate_timeout_s": 240.0, "gate_max_infer_ms": 0.0, "gate_more_troubles": 0.5}
        wanted |= {
            "selftest_timeout_s": 240.0,
            "selftest_latency_ratio": 1e6,
        } | options  # on a machine that does other things too
        self.config = place / "board.toml"
        self.config.write_text(
            small_belt(frames_per_s=12.0, cherries_per_frame=10.0)
            + f'[model]\nstore = "{self.store.root}"\n[sink]\npath = "{self.verdicts}"\n'
            + f'[control]\nsocket = "{place / "s"}"\nstate_dir = "{place / "control"}"\n'
            + "[runtime]\nsub_batch = 4\n[update]\n"
            + "".join(f"{key} = {json.dumps(value)}\n" for key, value in wanted.items())
        )
        self.process, self.starts = None, 0

    @property
    def verdicts(self):
        return self.place / "v.jsonl"

    def start(self):
        with (self.place / "log").open("ab") as log:
            self.process = Forked(program(), ["run", "--config", self.config], stdout=log, stderr=log)
        self.starts += 1
        return self

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(PATIENCE_S) == 0, self.log
        return self

    def kill(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    @property
    def log(self):
        return (self.place / "log").read_text()

    def label(self):
        """Return the running model as the service reports it. Waits until the service answers."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                model = ask_status(self.place / "s").model
            except ControlError:
                assert time.monotonic() < deadline, self.log
                time.sleep(0.05)
            else:
                return f"{model.name}@{model.version}"

    def wait_for_cherries(self, count):
        """Wait until the running model judged so many."""
        deadline = time.monotonic() + PATIENCE_S
        while sum(ask_status(self.place / "s").since_model.network.values()) < count:
            assert time.monotonic() < deadline, self.log
            time.sleep(0.05)

    def update(self, command, *arguments):
        """Run one `pitcore update` to its end."""
        return run_pitcore("update", command, "--config", self.config, *arguments)

    def updated(self, command, *arguments):
        """Run one with ``--json``; return its answer, and exit code as ``code``."""
        done = self.update(command, "--json", *arguments)
        assert done.stdout, done.stderr
        return json.loads(done.stdout) | {"code": done.returncode, "told": done.stderr.splitlines()}

    def models_in_verdicts(self):
        """Versions that judged, in the order they first did."""
        lines = self.verdicts.read_text().rpartition("\n")[0].splitlines()
        seen = [json.loads(line).get("model", {}).get("version") for line in lines]
        return list(dict.fromkeys(version for version in seen if version))
