"""Checks processor, clock and temperature, which determine the speed of verdicts. Only reads files."""

from __future__ import annotations

import re

from pitcore.doctor.check import Check, SystemRoot, fail, ok, skip, warn
from pitcore.machine import THERMAL, THROTTLE_BITS

ARM_PARTS = {"0xd03": "Cortex-A53", "0xd07": "Cortex-A57", "0xd08": "Cortex-A72", "0xd0b": "Cortex-A76"}
HOT_C, TOO_HOT_C = 75.0, 84.0  # a Pi 5 caps its clock at 85; source: raspberrypi.com, frequency management
FIRMWARE_WORD = "soc*/soc*:firmware/get_throttled"  # the bus is called soc, or soc@ and its address
NOW_BITS = 0xF  # bits of the firmware's throttle word for the present; the others are for the past
BAD_CLOCK_SOURCES = {"jiffies", "refined-jiffies", "acpi_pm", "hpet"}


def check_workers(workers: int, threads: int, cores: int) -> Check:
    """Check that the network runs on no more cores than there are, and that one is left for cameras and valves."""
    name, most = "workers", max(1, cores - 1)
    found = f"workers = {workers}, threads = {threads} on {cores} cores"
    over = [key for key, value in (("workers", workers), ("threads", threads)) if value > most]
    if not over:
        return ok(name, found)
    fix = f"set [runtime] {' and '.join(f'{key} = {most}' for key in over)}: one core is left for cameras and valves"
    return warn(name, f"{found}: frames are lost and valves open late", fix)


def check_features(board: SystemRoot, kernel: str) -> Check:
    """Check that the processor has an int8 dot product.

    Args:
        board: the board, for its ``/proc/cpuinfo``.
        kernel: name of the segmentation kernel in use, see ``csrc/src/kernel.cpp``.
    """
    name, text = "processor", board.text("/proc/cpuinfo") or ""
    words = set(" ".join(re.findall(r"^(?:Features|flags)\s*:(.*)$", text, re.MULTILINE)).split())
    part = re.search(r"^CPU part\s*:\s*(\S+)", text, re.MULTILINE)
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    what = model[1] if model else ARM_PARTS.get(part[1], f"Arm part {part[1]}") if part else "unknown processor"
    found = f"{what}, segmentation by {kernel}"
    if not words:
        return warn(name, f"{found}; /proc/cpuinfo names no features", "mount /proc; ONNX Runtime reads it too")
    if kernel == "scalar":
        return warn(name, found, "the search is slow here: use a 64-bit Arm, or an x86-64 with AVX2")
    if words & {"asimddp", "avx512_vnni", "avx_vnni"}:
        return ok(name, f"{found}, int8 dot product")
    if part is None:
        return warn(
            name,
            f"{found}, no int8 dot product (VNNI)",
            "verdicts are the same here, but the network takes about six times as long as with VNNI, so this machine's "
            "times do not hold for others: measure on an Intel from Ice Lake on, or an AMD from Zen 4 on",
        )
    return warn(
        name,
        f"{found}, no int8 dot product",
        "the network takes about four times as long as on a Pi 5: check with `pitcore-bench` that it keeps "
        "up with the belt",
    )


def check_governor(board: SystemRoot) -> Check:
    """Check that the CPU frequency governor keeps the clock high, also without load."""
    name = "governor"
    files = board.find("/sys/devices/system/cpu", "cpu[0-9]*/cpufreq/scaling_governor")
    found = {path.read_text(encoding="ascii").strip() for path in files}
    if not found:
        return skip(name, "this machine does not change its clock")
    if found == {"performance"}:
        return ok(name, "performance")
    return warn(
        name,
        ", ".join(sorted(found)),
        "frames after a pause are slow: echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/"
        "scaling_governor; to keep it, put that line into a unit or /etc/rc.local",
    )


def check_heat(board: SystemRoot) -> Check:
    """Check the temperature of the processor."""
    name, milli = "temperature", board.number(str(THERMAL))
    if milli is None:
        return skip(name, "no thermal sensor")
    found = f"{milli / 1000:.0f} C"
    fix = "fit a heat sink or a fan, and keep the case out of the sun; then `pitcore-bench --seconds 600`"
    if milli / 1000 >= TOO_HOT_C:
        return fail(name, found, fix)
    return warn(name, found, fix) if milli / 1000 >= HOT_C else ok(name, found)


def check_throttling(board: SystemRoot) -> Check:
    """Check whether the firmware throttles the processor, or did since the board started."""
    name, files = "throttling", board.find("/sys/devices/platform", FIRMWARE_WORD)
    if not files:
        return skip(name, "no Raspberry Pi firmware")
    bits = int(files[0].read_text(encoding="ascii"), 16)
    if not bits:
        return ok(name, "none since the board started")
    found = ", ".join(word for bit, word in THROTTLE_BITS.items() if bits >> bit & 1)
    supply = "use the board's own power supply (5 V 5 A for a Pi 5) and a short cable"
    fix = supply if bits & 0x10001 else "fit a heat sink or a fan"
    return fail(name, found, fix) if bits & NOW_BITS else warn(name, found, f"{fix}; a restart clears the record")


def check_clock_source(board: SystemRoot) -> Check:
    """Check that the kernel's clock is precise enough for time stamps of frames and encoder edges."""
    name = "clock source"
    found = board.text("/sys/devices/system/clocksource/clocksource0/current_clocksource")
    if found is None:
        return skip(name, "the kernel does not say")
    if found in BAD_CLOCK_SOURCES:
        return warn(
            name, found, "time stamps are coarse or slow to take: remove clocksource= from the kernel's command line"
        )
    return ok(name, found)


def check_time(board: SystemRoot, now_s: float, built_s: float) -> Check:
    """Check that the wall clock is set. Updates and logs need it; verdicts do not.

    Args:
        board: the board, for its ``/run/systemd/timesync``.
        now_s: the wall clock, in seconds since 1970.
        built_s: a time that has certainly passed, such as the installation of pitcore.
    """
    name, fix = "wall clock", "connect the board to a time server: sudo timedatectl set-ntp true"
    if now_s < built_s:
        return fail(name, "before pitcore was installed", f"{fix}; until then updates look expired or not yet valid")
    if board.path("/run/systemd/timesync/synchronized").exists():
        return ok(name, "synchronised")
    if board.find("/run/chrony", "chronyd.pid") or board.find("/run", "ntpd.pid"):
        return ok(name, "synchronised by a time server's client")
    return warn(name, "nothing synchronises it", f"{fix}; without it, logs cannot be compared with those of the line")
