"""Checks configuration, model, flush-to-zero on the workers, and that picamera2 works with the installed NumPy."""

from __future__ import annotations

import base64
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort

from pitcore.config import Config, load_config, operating_point, weakened
from pitcore.config.mistakes import mistakes
from pitcore.doctor.check import Check, fail, ok, skip, warn
from pitcore.errors import ConfigError, PitcoreError
from pitcore.inference.choice import open_bundle
from pitcore.inference.session import Session, session_options
from pitcore.preprocess._core import FlushToZero

# y = x * one, x of any length. Made by tests/doctor/test_software.py, because a board cannot write networks.
MULTIPLY = base64.b64decode(
    "CAoSADpOChAKAXgKA29uZRIBeSIDTXVsEgNtdWxaEAoBeBILCgkIARIFCgMSAW5aEQoDb25lEgoKCAgBEgQKAggBYhAKAXkSCwoJ"
    "CAESBQoDEgFuQgQKABAR"
)
SUBNORMAL = np.float32(1e-40)
SIZE = 1_000_000  # large enough for ONNX Runtime to use several threads
TRIES = 5
IMPORT_S = 60.0
# For each extra of pyproject.toml that a configuration may need: its modules, and what pip calls their packages.
EXTRAS = {
    "page": {"starlette": "starlette", "uvicorn": "uvicorn"},
    "metrics": {"prometheus_client": "prometheus-client"},
    "mqtt": {"paho": "paho-mqtt"},
    "ota": {"securesystemslib": "securesystemslib", "tuf": "tuf", "urllib3": "urllib3", "zstandard": "zstandard"},
    "gpio": {"gpiod": "gpiod"},
    "video": {"av": "av"},
}
WANTED_BY = {
    "page": "[page]",
    "metrics": "[metrics]",
    "mqtt": "[mqtt]",
    "ota": "[update]",
    "gpio": "[actuation]",
    "video": "[source]",
}


def check_config(path: Path | None) -> tuple[Check, Config | None]:
    """Check a configuration file; None checks the defaults. Return the check, and the configuration if it is valid."""
    name = "configuration"
    try:
        config = load_config(path)
    except PitcoreError as error:
        return fail(name, str(error), f"correct it, then: pitcore config check {path}"), None
    where = "the defaults" if path is None else str(path)
    if found := mistakes(config):
        return fail(name, f"{where}: {found[0]}", f"correct it, then: pitcore config check {where}"), config
    if config.source.belt == "emulated" and path is not None:
        fix = "for the line, start from your board's file in /usr/share/pitcore/boards"
        return warn(name, f"{where} is valid, but its belt is emulated: no camera is checked", fix), config
    if less := weakened(config):
        return warn(
            name, f"{where} is valid, but less safe than by default: {less[0]}", f"pitcore config check {where}"
        ), config
    return ok(name, f"{where}, hash {config.sha256[:12]}"), config


def check_model(config: Config) -> Check:
    """Check every file of the model against its card, and run its golden vectors."""
    name = "model"
    try:
        bundle = open_bundle(config)
        operating_point(bundle.card, config.decision)
        runtime = config.runtime
        Session(bundle, capacity=runtime.max_cherries, threads=runtime.threads, workers=runtime.workers)
    except ConfigError as error:
        return fail(name, str(error), "correct this key of the configuration")
    except PitcoreError as error:
        return fail(name, str(error), _model_fix(config))
    return ok(name, f"{bundle.label}, {len(bundle.card.files)} files as its card says, golden vectors reproduced")


def _model_fix(config: Config) -> str:
    """Return what to do with a model that does not work: only one of `pitcore update` can be rolled back."""
    if config.model.store is not None:
        return "pitcore update rollback, or leave [model] out: the model that came with pitcore is good"
    if config.model.bundle is not None:
        return "copy this bundle again, or leave [model] bundle out: the model that came with pitcore is good"
    return "reinstall pitcore, since its own model is damaged: sudo apt install --reinstall ./pitcore_*.deb"


def wanted_extras(config: Config) -> list[str]:
    """Return the extras of pitcore that a configuration needs."""
    wanted = {
        "page": config.page.enabled,
        "metrics": config.metrics.enabled or config.metrics.textfile is not None,
        "mqtt": config.mqtt.enabled,
        "ota": config.update.url is not None or config.hawkbit.url is not None,
        "gpio": config.actuation.kind == "gpio",
    }
    source = [] if config.source.extra is None else [config.source.extra]
    return [extra for extra, is_wanted in wanted.items() if is_wanted] + source


def check_extras(config: Config, has_module: Callable[[str], bool]) -> Check:
    """Look for the Python packages of every extra that the configuration needs.

    Args:
        config: of the board.
        has_module: tells whether a module is installed; see ``has_module``.
    """
    name, wanted = "extras", wanted_extras(config)
    missing = {
        extra: [package for module, package in EXTRAS[extra].items() if not has_module(module)] for extra in wanted
    }
    missing = {extra: packages for extra, packages in missing.items() if packages}
    if not missing:
        return ok(name, f"all Python packages for {', '.join(wanted)}" if wanted else "none is needed")
    found = "; ".join(f"{WANTED_BY[extra]} needs {' and '.join(packages)}" for extra, packages in missing.items())
    said = f"{found}: not installed"
    fix = f"pip install 'pitcore[{','.join(missing)}]'"
    needed = {"gpio", config.source.extra}  # without the others the service runs
    return fail(name, said, fix) if needed & set(missing) else warn(name, f"{said}; the service runs without it", fix)


def has_module(name: str) -> bool:
    """Return whether a top-level module is installed, without importing it."""
    return importlib.util.find_spec(name) is not None


def check_flush_to_zero(threads: int = 2) -> Check:
    """Check that ONNX Runtime's workers flush subnormal numbers to zero.

    The session is created with flush-to-zero on, and multiplies subnormals while the calling thread does not flush.
    """
    name = "flush to zero"
    with FlushToZero():
        session = ort.InferenceSession(MULTIPLY, session_options(threads), providers=["CPUExecutionProvider"])
    x, one = np.full(SIZE, SUBNORMAL, np.float32), np.ones(1, np.float32)
    shares = []
    for _ in range(TRIES):  # on a busy machine the calling thread may do all the work
        (y,) = session.run(None, {"x": x, "one": one})
        shares.append(float((y.view(np.uint32) == 0).mean()))  # bits, because a flushing thread reads subnormals as 0
        if shares[-1] > 0.0:
            return ok(name, "ONNX Runtime's workers flush subnormals")
    if len(os.sched_getaffinity(0)) < 2:
        return skip(name, "one core: there are no workers")
    fix = (
        "subnormal weights may cost time here: `pitcore-tools inspect MODEL` finds them, `inspect --zero NEW "
        "GRAPH` writes a graph without; and send a report made with `pitcore support`"
    )
    return warn(name, f"no worker flushed in {TRIES} runs", fix)


def check_picamera2(run_python: Callable[[str], subprocess.CompletedProcess[str]], *, wanted: bool) -> Check:
    """Check that picamera2 can be imported together with the installed NumPy.

    Args:
        run_python: runs a line of Python in another process, see ``run_python``.
        wanted: True if the configuration needs picamera2.
    """
    name = "picamera2"
    done = run_python("import numpy, libcamera, picamera2; print(numpy.__version__)")
    if done.returncode == 0:
        return ok(name, f"loads beside numpy {done.stdout.strip()}")
    last = (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]
    if not wanted:
        return skip(name, "the configuration does not use it")
    if "No module named" in last:
        fix = (
            "sudo apt install python3-picamera2 python3-libcamera; in a virtual environment, make it again with "
            "--system-site-packages"
        )
    elif "numpy" in (done.stderr.lower()):
        fix = (
            "two builds of NumPy are installed: use the Debian package, which installs the right one, or in a virtual "
            "environment: pip install 'numpy<2'"
        )
    else:
        fix = "sudo apt install --reinstall python3-picamera2 python3-libcamera"
    return fail(name, last, fix)


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    """Run a line of Python in another process with this process's module path. The process may crash."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", code]
    try:
        return subprocess.run(  # noqa: S603  our own interpreter
            command, env=environment, capture_output=True, text=True, timeout=IMPORT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"not loaded within {IMPORT_S:g} s")
