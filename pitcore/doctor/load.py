"""Checks that this machine keeps up with the belt: asks the running service, or else runs a short measurement."""

from __future__ import annotations

from pathlib import Path

from pitcore.config import Config
from pitcore.control.remote import ask_status
from pitcore.doctor.check import Check, ok, skip, warn
from pitcore.errors import NotRunningError, PitcoreError
from pitcore.loop.headroom import Headroom, measure_headroom
from pitcore.machine import usable_cores

NAME = "load"
FULL = 0.9  # share of the frame time: the belt is denser at times, and the queue has only two frames


def check_load(config: Config) -> Check:
    """Compare the cherries that this machine can judge with those that the belt brings.

    If the service runs, it is asked, because a measurement beside it would take its cores and give wrong figures.
    """
    try:
        status = ask_status(Path(config.control.socket))
    except NotRunningError:
        pass
    except PitcoreError as error:
        return skip(NAME, f"the running service does not report it: {error}")
    else:
        if status.headroom is None:
            return skip(NAME, "the service has judged too few frames to say")
        return judge_load(status.headroom, config.runtime.workers, usable_cores(), "the service")
    try:
        headroom = measure_headroom(config)
    except PitcoreError as error:
        return skip(NAME, f"not measured: {error}")
    if headroom is None:
        return skip(NAME, "a recording has no speed of its own")
    return judge_load(headroom, config.runtime.workers, usable_cores(), "this machine")


def judge_load(headroom: Headroom, workers: int, cores: int, who: str) -> Check:
    """Evaluate a headroom.

    Args:
        headroom: headroom of the service or of a short run.
        workers: number of workers that run the network.
        cores: number of cores.
        who: what was measured, for the message.
    """
    found = f"{who} {headroom}" if headroom.judges_per_s is not None else f"{who} takes {headroom}"
    if headroom.used <= FULL:
        return ok(NAME, found)
    if workers < cores - 1:
        fix = f"set [runtime] workers = {cores - 1}: one of {cores} cores is left for cameras and valves"
    else:
        fix = "reduce the load of the belt, or use a smaller model or a faster board"
    over = "frames are dropped, and their cherries are not judged" if headroom.used > 1 else "dense frames may be late"
    return warn(NAME, f"{found}; {over}", f"{fix}; the belt's load is [belt] cherries_per_s")
