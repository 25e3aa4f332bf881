"""Shows that a killed rescore of many drawn crops goes on: each exactly once, with the verdicts of `classify`.

    python -m tests.tools.rescore_run --crops 200000

Runs Ray Data on this machine's cores, kills it half way, goes on, and compares the verdicts with those of
`pitcore classify` and the time with that of a plain loop. --nodes 2 runs it on a cluster of two Ray nodes with one core
each on this machine; --plain leaves Ray out of it. --tiny judges with a network that takes no time, so that reading and
counting are measured. The exit code is 1 if a crop is missing, came twice, or has another verdict, or if a node had no
work.
"""

import argparse
import contextlib
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
PITCORE = "from pitcore.cli.main import main; main()"


def draw(folder, count):
    """Draw crops to a folder. Return their files."""
    folder.mkdir()
    files = [folder / f"{index:08d}.png" for index in range(min(count, DRAWN))]
    for index, file in enumerate(files):
        file.write_bytes(encode_crop(render_crop(11, index)[0]))
    return files


def write_archive(folder, drawn, count):
    """Write an archive as `pull` does: crop n is the drawn one n modulo their number."""
    pictures = [file.read_bytes() for file in drawn]
    folder.mkdir()
    for first in range(0, count, SHARD):
        names = [f"{index:08d}.png" for index in range(first, min(count, first + SHARD))]
        table = {
            "sha256": [hashlib.sha256(name.encode()).hexdigest() for name in names],
            "name": names,
            "png": [pictures[int(name[:8]) % len(pictures)] for name in names],
        }
        pq.write_table(pa.table(table), folder / f"{first:08d}.parquet")


def as_classify(drawn, bundle, count):
    """Return the lines of `pitcore classify` for the whole archive, as bytes."""
    words = [sys.executable, "-c", PITCORE, "classify", drawn[0].parent, "--json", "--bundle", bundle]
    said = subprocess.run(list(map(str, words)), check=True, stdout=subprocess.PIPE, text=True).stdout
    lines = [line for line in said.splitlines() if line.startswith("{")]
    parts = [line.split(json.dumps(str(file)), 1) for line, file in zip(lines, drawn, strict=True)]
    found = (f'"{index:08d}.png"'.join(parts[index % len(parts)]) for index in range(count))
    return "".join(f"{line}\n" for line in found).encode()


@contextlib.contextmanager
def cluster(nodes):
    """Run Ray nodes with one core each on this machine. Yield the options of the command that uses them."""
    from ray.cluster_utils import Cluster  # noqa: PLC0415  only with --nodes

    running = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        for _ in range(nodes - 1):
            running.add_node(num_cpus=1)
        yield ["--address", running.address, "--workers", nodes]
    finally:
        running.shutdown()


def start(archive, output, bundle, *more):
    """Start the command."""
    words = ["rescore", archive, "--bundle", bundle, "--output", output, "--point", "strict", *more]
    command = [sys.executable, "-m", "pitcore_tools", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def ended(run):
    """Return what a run printed; end with it if the run failed."""
    said, _ = run.communicate()
    if run.returncode:
        sys.exit(f"exit code {run.returncode}:\n{said}")
    return said


def pieces(output):
    """Return the results of pieces that are on the disk."""
    return list((output / "pieces").glob("*.msgpack"))


def killed_and_resumed(archive, output, bundle, half, more):
    """Kill a run when ``half`` pieces are done, and run it again. Return the pieces done by then, and the last line."""
    run = start(archive, output, bundle, *more)
    while run.poll() is None and len(pieces(output)) < half:
        time.sleep(0.05)
    run.kill()
    run.communicate()
    kept = len(pieces(output))
    return kept, last_line(ended(start(archive, output, bundle, *more)))


def last_line(said):
    """Return the last line of what a run printed."""
    return said.rstrip().rsplit("\n", 1)[-1].strip()


def main():
    """Print what was found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--crops", type=int, default=5000)
    parser.add_argument("--nodes", type=int, help="Ray nodes on this machine, one core each")
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--tiny", action="store_true")
    chosen = parser.parse_args()
    more = ["--plain"] if chosen.plain else []
    with contextlib.ExitStack() as open_here:
        place = Path(open_here.enter_context(tempfile.TemporaryDirectory()))
        archive, output = place / "archive", place / "out"
        bundle = write_tiny_bundle(place / "tiny") if chosen.tiny else DEFAULT_BUNDLE
        drawn = draw(place / "drawn", chosen.crops)
        write_archive(archive, drawn, chosen.crops)
        if chosen.nodes:
            more += open_here.enter_context(cluster(chosen.nodes))
        kept, resumed = killed_and_resumed(archive, output, bundle, max(1, chosen.crops // 512 // 2), more)
        plain = last_line(ended(start(archive, place / "plain", bundle, "--plain")))
        lines = (output / "verdicts.jsonl").read_bytes()
        names = [json.loads(line)["path"] for line in lines.splitlines()]
        equal = lines == as_classify(drawn, bundle, chosen.crops)
        alike = lines == (place / "plain" / "verdicts.jsonl").read_bytes()
        nodes = json.loads((output / "report.json").read_text())["nodes"]
    once = len(names) == len(set(names)) == chosen.crops
    shared = len(nodes) >= (chosen.nodes or 1)
    click.echo(f"killed with {kept} pieces done; {len(names)} lines, each once: {once}")
    click.echo(f"equal to classify: {equal}; equal to the plain loop: {alike}")
    click.echo(f"crops by node: {', '.join(map(str, nodes.values()))}")
    click.echo(f"resumed: {resumed}; plain loop: {plain}")
    sys.exit(not (once and equal and alike and shared))


if __name__ == "__main__":
    main()
