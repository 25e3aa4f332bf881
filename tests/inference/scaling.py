"""Compares one worker, two workers, and layers on two threads, with and without a busy process beside them.

``python -m tests.inference.scaling`` on a machine of two cores or more; about two minutes. All ways take turns.
"""

import multiprocessing
import os
import statistics
import time

import click
import msgspec
import numpy as np

from pitcore import machine
from pitcore.bench.load import Load
from pitcore.bench.run import measure
from pitcore.config import Config
from pitcore.inference.choice import open_bundle
from pitcore.inference.session import Session

CROPS, CALLS, ROUNDS = 24, 200, 5
WAYS = {"one worker": (1, 1), "layers on two threads": (1, 2), "two workers": (2, 1)}  # workers, threads
FRAMES, FRAMES_PER_S = 150, 20.0


def network_ms():
    """Return the median of a call with 24 crops, in ms, by way."""
    bundle = open_bundle(Config())
    sessions = {
        way: Session(bundle, capacity=CROPS, workers=workers, threads=threads)
        for way, (workers, threads) in WAYS.items()
    }
    crops = np.random.default_rng(0).integers(0, 255, next(iter(sessions.values())).batch.shape, dtype=np.uint8)
    times = {way: [] for way in WAYS}
    for session in sessions.values():
        session.batch[:] = crops
    for _ in range(CALLS):
        for way, session in sessions.items():
            started = time.perf_counter()
            session.run(CROPS)
            times[way].append(1000 * (time.perf_counter() - started))
    return {way: statistics.median(each) for way, each in times.items()}


def frame_ms(ways):
    """Return the median and the 99th percentile from frame to verdicts, in ms, by way, at 20 frames a second."""
    times = {way: [] for way in ways}
    for _ in range(ROUNDS):
        for way in ways:
            workers, threads = WAYS[way]
            base = Config()
            config = msgspec.structs.replace(base, runtime=msgspec.structs.replace(base.runtime, threads=threads))
            times[way].append(measure(config, Load(CROPS, FRAMES_PER_S, 0.0, FRAMES), workers).busy_ms)
    found = {way: np.concatenate(each) for way, each in times.items()}
    return {way: (float(np.median(each)), float(np.quantile(each, 0.99))) for way, each in found.items()}


def _keep_busy(core):
    os.sched_setaffinity(0, {core})
    while True:
        pass


def main():
    """Print every figure as it is found."""
    click.echo(f"{machine.facts()['processor']}, load {os.getloadavg()[0]:.1f}")
    alone = network_ms()
    for way, median in alone.items():
        click.echo(
            f"network, {CROPS} crops, {way}: median {median:.2f} ms, {alone['one worker'] / median:.2f} times",
        )
    quiet = frame_ms(WAYS)
    for way, (median, late) in quiet.items():
        gain = quiet["one worker"][0] / median
        click.echo(f"frame to verdicts, {way}: median {median:.2f} ms, p99 {late:.2f} ms, {gain:.2f} times")
    neighbour = multiprocessing.get_context("spawn").Process(
        target=_keep_busy, args=(max(os.sched_getaffinity(0)),), daemon=True
    )
    neighbour.start()
    try:
        busy = frame_ms(WAYS)
    finally:
        neighbour.kill()
    for way, (median, late) in busy.items():
        share = late / quiet["one worker"][1]
        click.echo(
            f"one core busy, {way}: median {median:.2f} ms, p99 {late:.2f} ms, {share:.2f} of one worker's undisturbed"
        )


if __name__ == "__main__":
    main()
