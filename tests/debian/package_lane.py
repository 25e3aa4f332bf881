"""Tests that the Debian package installs, works and can be removed completely: `make test-deb`.

    python tests/debian/package_lane.py                 both architectures
    python tests/debian/package_lane.py --arch amd64    one

Each in a clean root without a network: installed by dpkg, `pitcore doctor` and `pitcore demo` run as the service's
user, its NumPy seen by nobody else, installed over itself, removed, purged; then the files are those from before. arm64
runs under qemu-user as a Cortex-A76: no time printed for it says anything about a board.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from pathlib import Path

from roots import copy_of, emulate_arm64, mounted, need, package, run_in

# What dpkg and the account tools themselves keep: lists, backups and locks. The accounts are compared by content.
BOOKKEEPING = ("var/lib/dpkg/", "var/log/dpkg.log", "var/cache/ldconfig", "etc/.pwd.lock")
MOUNTED = ("proc", "sys", "dev")
ACCOUNTS = ("etc/passwd", "etc/group", "etc/shadow", "etc/gshadow")
FRAMES = {"amd64": 20, "arm64": 2}


def main() -> None:
    """Run the lane and exit with 1 if anything is wrong."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--arch", default="amd64,arm64", help="which ones")
    options = asked.parse_args()
    need({"debootstrap": "debootstrap", "unshare": "util-linux"})
    begin = time.monotonic()
    failures = [fault for arch in options.arch.split(",") for fault in Lane(arch).run()]
    print(f"{'FAIL: ' + '; '.join(failures) if failures else 'all pass'}, {time.monotonic() - begin:.0f} s")
    sys.exit(1 if failures else 0)


class Lane:
    """One architecture."""

    def __init__(self, arch: str) -> None:
        self.arch = arch
        self.failures: list[str] = []

    def run(self) -> list[str]:
        """Run every step; return what failed."""
        if self.arch == "arm64":
            emulate_arm64()
        with copy_of(self.arch, f"package-{self.arch}") as root, mounted(root, self.arch):
            shutil.copy(package(self.arch), root / "root")
            deb = f"/root/{package(self.arch).name}"
            before, accounts = files_of(root), accounts_of(root)
            self.step(root, "install", ["dpkg", "-i", deb])
            self.step(root, "version", ["pitcore", "--version"])
            self.step(root, "disabled", ["sh", "-c", 'test "$(systemctl is-enabled pitcore)" = disabled'])
            self.step(root, "own numpy", ["sh", "-c", "! python3 -c 'import numpy' 2>/dev/null"])
            user = ["setpriv", "--reuid=pitcore", "--regid=pitcore", "--init-groups", "--reset-env", "sh", "-c"]
            self.step(root, "doctor", [*user, "cd && pitcore doctor"])
            checks = json.loads(self.step(root, "doctor --json", [*user, "cd && pitcore doctor --json"]))["checks"]
            print("\n".join(f"{'':22}{one['status']:5} {one['name']:14} {one['found']}" for one in checks))
            processor = next(one["found"] for one in checks if one["name"] == "processor")
            self.expect("kernel", f"by {best_kernel(self.arch)}," in processor, processor)
            frames = FRAMES[self.arch]
            said = self.step(root, "demo", [*user, f"cd && pitcore demo --frames {frames} --out demo"])
            print("\n".join(f"{'':22}{line}" for line in said.splitlines()[:4]))
            lines = (root / "var/lib/pitcore/demo/verdicts.jsonl").read_text().splitlines()
            self.expect("verdicts", len(lines) > 5, f"{len(lines)} lines")
            self.step(root, "picture", ["test", "-s", "/var/lib/pitcore/demo/belt.png"])
            (root / "etc/pitcore/board.toml").write_text("# mine\n")
            self.step(root, "install again", ["dpkg", "-i", "--force-confold", deb])
            kept = (root / "etc/pitcore/board.toml").read_text() == "# mine\n"
            self.expect("config kept", kept, "a changed board.toml outlives an upgrade")
            self.step(root, "enable", ["systemctl", "enable", "pitcore"])
            self.step(root, "remove", ["dpkg", "--remove", "pitcore"])
            left = sorted(files_of(root) - before)
            print(f"{'':22}left after removal: {', '.join(left)}")
            self.step(root, "purge", ["dpkg", "--purge", "pitcore"])
            left = sorted(files_of(root) ^ before)
            self.expect("no trace", not left, ", ".join(left[:20]) or f"the same {len(before)} files as before")
            self.expect("accounts", accounts_of(root) == accounts, "users and groups as before")
        return self.failures

    def step(self, root: Path, name: str, command: list[str]) -> str:
        """Run a command in the root; print and note what came of it."""
        begin = time.monotonic()
        done = run_in(root, command, timeout=3000)
        lines = (done.stdout + done.stderr).strip().splitlines()
        self.expect(name, done.returncode == 0, f"{lines[-1] if lines else ''} ({time.monotonic() - begin:.0f} s)")
        if done.returncode != 0:
            print("\n".join(lines[-30:]))
        return done.stdout

    def expect(self, name: str, good: bool, said: str) -> None:  # noqa: FBT001  its one argument besides the texts
        """Print a line, and note a failure."""
        print(f"{self.arch:6}{name:16}{'pass' if good else 'FAIL'}  {said}", flush=True)
        if not good:
            self.failures.append(f"{self.arch} {name}")


def best_kernel(arch: str) -> str:
    """Return the search kernel that this processor should run."""
    if arch == "arm64":
        return "neon"
    return "avx2" if "avx2" in Path("/proc/cpuinfo").read_text(encoding="ascii").split() else "sse2"


def files_of(root: Path) -> set[str]:
    """Return everything in a root but the bookkeeping, folders with a slash."""
    found: set[str] = set()
    for place, folders, files in os.walk(root):
        here = Path(place).relative_to(root)
        names = {*(f"{here / name}/" for name in folders), *(str(here / name) for name in files)}
        found |= {one for one in names if not one.startswith(BOOKKEEPING) and not one.rstrip("-").endswith(ACCOUNTS)}
        folders[:] = [name for name in folders if str(here / name) not in MOUNTED]
    return found


def accounts_of(root: Path) -> list[str]:
    """Return users and groups."""
    return [(root / name).read_text() for name in ACCOUNTS]


if __name__ == "__main__":
    main()
