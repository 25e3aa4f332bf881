"""Clean Debian 12 roots: made once by debootstrap and kept below build/, each use gets a copy of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "arm"))
from machines import ARM_CORES, CPUINFO  # noqa: E402  the cores that the Arm lane emulates

CACHE = ROOT / "build" / "roots"
MIRROR = "http://deb.debian.org/debian"
PACKAGES = "systemd,systemd-sysv,dbus,udev,python3,libstdc++6"  # dependencies, and a bus for systemctl


def clean_root(arch: str) -> Path:
    """Return the kept root of an architecture, made if it is not there yet."""
    root, whole = CACHE / arch, CACHE / f"{arch}.whole"
    if whole.exists():
        return root
    print(f"-- debootstrap {arch}: minutes, once", flush=True)
    shutil.rmtree(root, ignore_errors=True)
    CACHE.mkdir(parents=True, exist_ok=True)
    foreign = ["--foreign"] if arch == "arm64" else []
    run(
        [
            "debootstrap",
            "--arch",
            arch,
            *foreign,
            "--variant=minbase",
            f"--include={PACKAGES}",
            "bookworm",
            root,
            MIRROR,
        ]
    )
    if foreign:
        done = run_in(root, ["/debootstrap/debootstrap", "--second-stage"], offline=False)
        if done.returncode != 0:
            sys.exit(f"debootstrap: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    shutil.rmtree(root / "var/cache/apt/archives", ignore_errors=True)
    whole.touch()
    return root


def emulate_arm64() -> None:
    """Have the kernel start programs for arm64 under qemu-user; once a boot."""
    binfmt = Path("/proc/sys/fs/binfmt_misc")
    if not (binfmt / "status").exists():
        run(["mount", "-t", "binfmt_misc", "binfmt_misc", binfmt])
    if not (binfmt / "qemu-aarch64").exists():
        need({"update-binfmts": "binfmt-support qemu-user-static"})
        run(["update-binfmts", "--enable", "qemu-aarch64"])


@contextmanager
def copy_of(arch: str, name: str):
    """Lend a copy of a clean root."""
    copy = CACHE.parent / "lanes" / name
    shutil.rmtree(copy, ignore_errors=True)
    copy.parent.mkdir(parents=True, exist_ok=True)
    run(["cp", "-a", clean_root(arch), copy])
    try:
        yield copy
    finally:
        shutil.rmtree(copy, ignore_errors=True)


@contextmanager
def mounted(root: Path, arch: str):
    """Give a root /proc, and on an emulated machine the processor that its programs should see."""
    run(["mount", "-t", "proc", "proc", root / "proc"])
    mounts = [root / "proc"]
    try:
        if arch == "arm64":
            cpuinfo = CACHE / "cpuinfo-arm64"
            cpuinfo.write_text(CPUINFO.format(**ARM_CORES["cortex-a76"]))
            run(["mount", "--bind", cpuinfo, root / "proc/cpuinfo"])
            mounts.append(root / "proc/cpuinfo")
            cpus = root / "sys/devices/system/cpu"  # a plain folder: nothing of this machine's /sys is seen
            cpus.mkdir(parents=True, exist_ok=True)
            for name in ("possible", "present", "online"):
                (cpus / name).write_text("0\n")
        yield
    finally:
        for place in reversed(mounts):
            run(["umount", place])
        shutil.rmtree(root / "sys/devices", ignore_errors=True)


def run_in(root: Path, command: list[str], *, offline: bool = True, **options) -> subprocess.CompletedProcess[str]:
    """Run a command in a root: without any network, and with nothing of our environment."""
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8", "TERM": "dumb"}
    environment |= {"DEBIAN_FRONTEND": "noninteractive", "QEMU_CPU": "cortex-a76"}
    alone = ["unshare", "--net"] if offline else []
    whole = [*alone, "chroot", str(root), *command]
    return subprocess.run(whole, env=environment, capture_output=True, text=True, check=False, **options)


def package(arch: str) -> Path:
    """Return the built package."""
    found = sorted((ROOT / "dist").glob(f"pitcore_*_{arch}.deb"))
    if not found:
        sys.exit(f"no dist/pitcore_*_{arch}.deb; make deb")
    return found[-1]


def need(programs: dict[str, str]) -> None:
    """End with the fix if a program or the rights are missing."""
    if os.geteuid() != 0:
        sys.exit("this lane makes Debian roots: run it as root")
    for program, debian in programs.items():
        if shutil.which(program) is None:
            sys.exit(f"no {program} here: apt-get install {debian}")


def run(command) -> None:
    """Run a command of this machine's; end the lane if it fails."""
    done = subprocess.run([str(word) for word in command], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"this failed: {' '.join(map(str, command))}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
