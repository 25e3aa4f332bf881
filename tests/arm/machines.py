"""The machines that pitcore must agree on, each as a command that starts its Python.

Emulated ones run under qemu-user. An Arm core needs a root of its own, because ONNX Runtime reads ``/proc/cpuinfo`` and
``/sys/devices/system/cpu`` to learn what it runs on, and would otherwise see this machine's.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

CPUINFO = """processor\t: 0
BogoMIPS\t: 108.00
Features\t: {features}
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: {variant}
CPU part\t: {part}
CPU revision\t: {revision}

"""
ARM_CORES = {
    # Raspberry Pi 5: has the int8 dot product (asimddp).
    "cortex-a76": {
        "features": "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop "
        "asimddp",
        "variant": "0x4",
        "part": "0xd0b",
        "revision": "1",
    },
    # Raspberry Pi 4: has not, and dies of any instruction newer than ARMv8.0.
    "cortex-a72": {"features": "fp asimd evtstrm crc32 cpuid", "variant": "0x0", "part": "0xd08", "revision": "3"},
}


@dataclass(frozen=True)
class Machine:
    """How to start programs on a machine.

    Attributes:
        name: for reports.
        python: command that starts its Python.
        native: command that starts a program built for it.
        environment: variables to add.
    """

    name: str
    python: list[str]
    native: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)


def this_machine() -> Machine:
    """The reference, by which the others are judged."""
    return Machine("this machine", [sys.executable])


def haswell() -> Machine:
    """An x86-64 without VNNI, running this very Python."""
    emulator = [_emulator("x86_64"), "-cpu", "Haswell"]
    return Machine("haswell", [*emulator, sys.executable], emulator, {"PITCORE_TEST_WITHOUT_VNNI": "1"})


def arm_core(name: str, root: Path, site: Path) -> Machine:
    """An Arm core over a copy of the arm64 root, whose files are shared by hard links.

    Args:
        name: key of ``ARM_CORES``.
        root: unpacked Debian packages.
        site: where pip installed pitcore and what it needs.
    """
    own = root.with_name(f"{root.name}-{name}")
    if not own.exists():
        shutil.copytree(root, own, symlinks=True, copy_function=_link)
    for place, content in _system_files(name).items():
        (own / place).parent.mkdir(parents=True, exist_ok=True)
        (own / place).write_text(content)
    emulator = [_emulator("aarch64"), "-cpu", name, "-L", str(own)]
    environment = {"PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHOME": ""}
    return Machine(name, [*emulator, str(own / "usr/bin/python3.11")], emulator, environment)


def _system_files(core: str) -> dict[str, str]:
    cpuinfo = CPUINFO.format(**ARM_CORES[core])
    return {
        "proc/cpuinfo": cpuinfo,
        "sys/devices/system/cpu/possible": "0\n",
        "sys/devices/system/cpu/present": "0\n",
        "sys/devices/system/cpu/online": "0\n",
    }


def _link(source: str, target: str) -> None:
    Path(target).hardlink_to(source)


def _emulator(machine: str) -> str:
    found = shutil.which(f"qemu-{machine}") or shutil.which(f"qemu-{machine}-static")
    if found is None:
        sys.exit(f"arm lane: no qemu-{machine} here; apt-get install qemu-user")
    return found
