"""Checks that pitcore gives the same verdicts on emulated boards as on this machine: `make test-arm`.

    python tests/arm/lane.py                    every check on every machine
    python tests/arm/lane.py --crops 1000       the same, with more crops

Installs the aarch64 wheel with pip in an arm64 root. On an emulated Cortex-A76 and Cortex-A72 it runs the native tests,
the parity, session, denormal and decision tests and the demo; on an x86-64 without VNNI the session tests. On all three
it classifies crops, replays a recording, and compares every verdict with this machine's, byte for byte. On each of
them and on this machine, 1 to 4 workers must give the same verdicts. Emulation is slow: no time printed here says
anything about a board.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import zip_longest
from pathlib import Path

import numpy as np
from machines import ARM_CORES, Machine, arm_core, haswell, this_machine
from PIL import Image

from pitcore.emulator.single import render_crop

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "arm"
ROOT_FS, SITE, WHEELS, WORK = BUILD / "root", BUILD / "site", BUILD / "wheels", BUILD / "work"
NATIVE = BUILD / "native"
PLATFORMS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014")
WORKERS, SHARED, FEW = (1, 2, 3, 4), "workers", 13  # crops: no number of workers divides them evenly
TESTED = ("tests/inference", "tests/preprocess", "tests/decision", "tests/belt")


def main() -> None:
    """Run the lane and exit with 1 if anything differs."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--crops", type=int, default=50, help="crops to classify: real ones where there are any (50)")
    asked.add_argument("--frames", type=int, default=30, help="frames to replay (30)")
    asked.add_argument("--machines", default="cortex-a76,cortex-a72,haswell", help="which ones")
    options = asked.parse_args()
    begin = time.monotonic()

    shutil.rmtree(WORK, ignore_errors=True)
    # Everything runs from here, so that the installed package is imported and not a checkout.
    shutil.copytree(ROOT / "tests", WORK / "tests", ignore=shutil.ignore_patterns("__pycache__", "arm"))
    shutil.copy(ROOT / "pyproject.toml", WORK)
    lay_out_arm64()
    build_native_tests()
    make_crops(WORK / "crops", options.crops)
    here = this_machine()
    pitcore(here, "record", WORK / "recording", "--frames", str(options.frames))
    judge(here)

    machines = [machine_of(name) for name in options.machines.split(",")]
    passed = [check(here)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        passed += pool.map(check, machines)
    print(f"{sum(passed)} of {len(passed)} machines pass, {time.monotonic() - begin:.0f} s")
    sys.exit(0 if all(passed) else 1)


def machine_of(name: str) -> Machine:
    """Return a machine by name."""
    if name == "haswell":
        return haswell()
    if name not in ARM_CORES:
        sys.exit(f"arm lane: no machine {name!r}; known are haswell, {', '.join(ARM_CORES)}")
    return arm_core(name, ROOT_FS, SITE)


def check(machine: Machine) -> bool:
    """Run every check on one machine; print a line for each; return whether all passed."""
    checks = [("unit tests", unit_tests), ("verdicts", verdicts)]
    if machine == this_machine():
        checks = [("workers", workers)]
    if machine.name in ARM_CORES:
        checks = [("native tests", native_tests), *checks, ("demo", demo)]
    passed = True
    for name, run in checks:
        begin = time.monotonic()
        good, said = run(machine)
        print(
            f"{machine.name:11} {name:13} {'pass' if good else 'FAIL'}  {said}  ({time.monotonic() - begin:.0f} s)",
            flush=True,
        )
        passed = passed and good
    return passed


def native_tests(machine: Machine) -> tuple[bool, str]:
    """Run the C++ core's own tests."""
    done = start([*machine.native, str(NATIVE / "tests" / "native" / "pitcore_native_tests")], machine)
    return done.returncode == 0, last_line(done)


def unit_tests(machine: Machine) -> tuple[bool, str]:
    """Run the Python tests of what depends on the processor: without VNNI that is the session alone."""
    tested = TESTED if machine.name in ARM_CORES else TESTED[:1]
    command = [*machine.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tested]
    done = start(command, machine)
    return done.returncode == 0, last_line(done)


def verdicts(machine: Machine) -> tuple[bool, str]:
    """Judge crops and a recording, and compare with this machine's verdicts byte for byte."""
    judge(machine)
    return compare(machine, ("classify", "replay", *map(shared, WORKERS)))


def workers(machine: Machine) -> tuple[bool, str]:
    """Compare the verdicts of several workers with those of one worker, on this machine."""
    return compare(machine, tuple(map(shared, WORKERS[1:])))


def compare(machine: Machine, kinds: tuple[str, ...]) -> tuple[bool, str]:
    """Compare verdicts of a machine with this machine's, those of several workers with those of one worker here."""
    said, equal = [], True
    for kind in kinds:
        reference = verdict_file(this_machine(), shared(1) if kind.startswith(SHARED) else kind).read_bytes()
        mine = verdict_file(machine, kind).read_bytes()
        pairs = list(zip_longest(reference.splitlines(), mine.splitlines()))
        equal = equal and mine == reference and bool(pairs)
        different = [pair for pair in pairs if pair[0] != pair[1]]
        said.append(f"{kind}: {len(pairs)} verdicts, {len(different)} differ")
        said += [
            f"\n  here  {(one or b'').decode()}\n  there {(other or b'').decode()}" for one, other in different[:3]
        ]
    return equal, "; ".join(said)


def demo(machine: Machine) -> tuple[bool, str]:
    """Run the main job as a new user does."""
    out = WORK / f"{machine.name}-demo"
    told = pitcore(machine, "demo", "--frames", "2", "--out", out)
    with Image.open(out / "belt.png") as picture:
        picture.load()
    counted = next(line for line in told.splitlines() if line.startswith("missed"))
    return counted.startswith("missed 0, judged twice 0"), counted


def judge(machine: Machine) -> None:
    """Write the verdicts of one machine."""
    listed = pitcore(machine, "classify", WORK / "crops", "--json")
    verdict_file(machine, "classify").write_text(listed)
    pitcore(machine, "replay", WORK / "recording", "--out", verdict_file(machine, "replay"))
    few = sorted((WORK / "crops").iterdir())[:FEW]
    for workers in WORKERS:
        listed = pitcore(machine, "classify", *few, "--json", "--workers", str(workers))
        verdict_file(machine, shared(workers)).write_text(listed)


def shared(workers: int) -> str:
    """Return the name of the verdicts of a few crops that several workers shared."""
    return f"{SHARED}-{workers}"


def verdict_file(machine: Machine, kind: str) -> Path:
    """Return where a machine's verdicts are kept."""
    return WORK / f"{machine.name.replace(' ', '-')}-{kind}.jsonl"


def pitcore(machine: Machine, *arguments: str | Path) -> str:
    """Run the installed program on a machine; return what it prints. Ends the lane if it fails."""
    program = "from pitcore.cli.main import main; main()"
    done = start([*machine.python, "-c", program, *map(str, arguments)], machine)
    if done.returncode != 0:
        sys.exit(
            f"arm lane: pitcore {arguments[0]} on {machine.name} ended with {done.returncode}:\n{done.stderr[-2000:]}"
        )
    return done.stdout


def start(command: list[str], machine: Machine) -> subprocess.CompletedProcess[str]:
    """Run a command with a machine's environment."""
    environment = os.environ | machine.environment | {"PITCORE_TEST_PYTHON": json.dumps(machine.python)}
    return subprocess.run(command, cwd=WORK, env=environment, capture_output=True, text=True, check=False)


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    """Return the summary, or after a failure the end of the output."""
    lines = (done.stdout.strip() or done.stderr.strip()).splitlines()
    return lines[-1] if done.returncode == 0 and lines else "\n" + "\n".join(lines[-30:])


def make_crops(folder: Path, count: int) -> None:
    """Select real crops evenly from all; without real crops draw procedural ones."""
    place = Path(os.environ.get("PITCORE_DATA", ROOT.parent / "shared" / "cherries")) / "train"
    real = sorted(place.rglob("*.png"))
    chosen = real[:: max(1, len(real) // count)][:count]
    folder.mkdir(parents=True)
    for path in chosen:
        shutil.copy(path, folder / f"real_{path.name}")
    if not chosen:
        print(f"no real crops below {place}; procedural ones only")
    for index in range(count - len(chosen)):
        pixels, _ = render_crop(1, index)
        rgb = np.zeros((*pixels.shape[:2], 3), np.uint8)
        rgb[..., 0], rgb[..., 2] = pixels[..., 0], pixels[..., 1]
        Image.fromarray(rgb).save(folder / f"drawn_{index:05}.png")


def lay_out_arm64() -> None:
    """Unpack Debian's arm64 Python, and let its pip install the wheel with its dependencies."""
    if not (ROOT_FS / "usr/bin/python3.11").exists():
        step("arm64 root")
        run_here(["tools/wheels/debian.sh", "--with-needs", "bookworm", "arm64", ROOT_FS, "python3.11", "libstdc++6"])
    wheel = next((ROOT / "dist").glob("pitcore-*-cp311-*_aarch64.whl"), None)
    if wheel is None:
        sys.exit("arm lane: no aarch64 wheel in dist/; tools/wheels/build.sh 3.11 aarch64")
    stamp = SITE / f".{wheel.name}.{wheel.stat().st_mtime_ns}"
    if stamp.exists():
        return
    step("aarch64 wheels")
    platforms = [word for name in PLATFORMS for word in ("--platform", f"{name}_aarch64")]
    target = [*platforms, "--python-version", "3.11", "--implementation", "cp", "--only-binary", ":all:"]
    needs = ["pip", "pytest", "onnx"]
    shutil.rmtree(WHEELS, ignore_errors=True)
    run_here([sys.executable, "-m", "pip", "download", "-q", *target, "-d", WHEELS, wheel, *needs])
    step("pip install in the arm64 root")
    shutil.rmtree(SITE, ignore_errors=True)
    core = arm_core("cortex-a76", ROOT_FS, SITE)
    own_pip = next(WHEELS.glob("pip-*.whl")) / "pip"
    offline = ["--no-index", "--find-links", str(WHEELS), "--target", str(SITE), "--no-compile", "-q"]
    done = start([*core.python, str(own_pip), "install", *offline, "pitcore", *needs], core)
    if done.returncode != 0:
        sys.exit(f"arm lane: pip could not install {wheel.name}:\n{done.stderr[-2000:]}")
    stamp.touch()


def build_native_tests() -> None:
    """Cross compile the C++ core's own tests."""
    toolchain = f"-DCMAKE_TOOLCHAIN_FILE={ROOT / 'tools/wheels/aarch64.cmake'}"
    tools = Path(sys.executable).parent
    step("native tests")
    run_here(
        [
            *(tools / "cmake", "-S", ROOT, "-B", NATIVE, "-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={tools / 'ninja'}"),
            *("-DCMAKE_BUILD_TYPE=Release", "-DPITCORE_TESTS=ON", toolchain, "--log-level=WARNING"),
        ]
    )
    run_here([tools / "cmake", "--build", NATIVE, "--", "--quiet"])


def step(name: str) -> None:
    """Print the present step."""
    print(f"-- {name}", flush=True)


def run_here(command: list[str | Path]) -> None:
    """Run a command of this machine's; end the lane if it fails."""
    environment = os.environ | {"PITCORE_BUILD_PYTHON": sys.executable}
    if subprocess.run([str(word) for word in command], cwd=ROOT, env=environment, check=False).returncode != 0:
        sys.exit(f"arm lane: this failed: {' '.join(map(str, command))}")


if __name__ == "__main__":
    main()
