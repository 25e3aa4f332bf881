"""Shows that a killed rescore of many drawn crops goes on: each exactly once, with the verdicts of `classify`.

    python -m tests.tools.rescore_run --crops 200000

Runs Ray Data on this machine's cores, kills it half way, goes on, and compares with a plain loop; --plain leaves Ray
out of it. --tiny judges with a network that takes no time, so that reading and counting are measured. The exit code
is 1 if a crop is missing, came twice, or has another verdict.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import pyarrow as pa
import pyarrow.parquet as pq

from pitcore.camera.crops import encode_crop
from pitcore.emulator.single import render_crop
from pitcore.model_card import DEFAULT_BUNDLE
from tests.conftest import write_tiny_bundle

SHARD = 4096
DRAWN = 2000  # different ones; then they repeat, under another name


def write_archive(folder, count):
    """Draw crops and write them as `pull` does."""
    drawn = [encode_crop(render_crop(11, index)[0]) for index in range(min(count, DRAWN))]
    folder.mkdir()
    for first in range(0, count, SHARD):
        names = [f"{index:08d}.png" for index in range(first, min(count, first + SHARD))]
        table = {
            "sha256": [hashlib.sha256(name.encode()).hexdigest() for name in names],
            "name": names,
            "png": [drawn[int(name[:8]) % len(drawn)] for name in names],
        }
        pq.write_table(pa.table(table), folder / f"{first:08d}.parquet")


def start(archive, output, bundle, *more):
    """Start the command."""
    words = ["rescore", archive, "--bundle", bundle, "--output", output, *more]
    command = [sys.executable, "-m", "pitcore_tools", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def ended(run):
    """Return what a run printed; end with it if the run failed."""
    said, _ = run.communicate()
    if run.returncode:
        sys.exit(f"exit code {run.returncode}:\n{said}")
    return said


def main():
    """Print what was found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--crops", type=int, default=5000)
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--tiny", action="store_true")
    chosen = parser.parse_args()
    more = ["--plain"] if chosen.plain else []
    with tempfile.TemporaryDirectory() as place:
        archive, output = Path(place) / "archive", Path(place) / "out"
        bundle = write_tiny_bundle(Path(place) / "tiny") if chosen.tiny else DEFAULT_BUNDLE
        write_archive(archive, chosen.crops)
        half = max(1, chosen.crops // 512 // 2)
        run = start(archive, output, bundle, *more)
        while run.poll() is None and len(list((output / "pieces").glob("*"))) < half:
            time.sleep(0.05)
        run.kill()
        run.communicate()
        kept = len(list((output / "pieces").glob("*.msgpack")))
        said = ended(start(archive, output, bundle, *more))
        plain = ended(start(archive, Path(place) / "plain", bundle, "--plain"))
        lines = (output / "verdicts.jsonl").read_bytes()
        names = [json.loads(line)["path"] for line in lines.splitlines()]
        equal = lines == (Path(place) / "plain" / "verdicts.jsonl").read_bytes()
    once = len(names) == len(set(names)) == chosen.crops
    speeds = [text.rstrip().rsplit("\n", 1)[-1].strip() for text in (said, plain)]
    click.echo(
        f"killed with {kept} pieces done; {len(names)} lines, each once: {once}; equal to the plain loop: {equal}"
    )
    click.echo(f"resumed: {speeds[0]}; plain loop: {speeds[1]}")
    sys.exit(not (once and equal))


if __name__ == "__main__":
    main()
