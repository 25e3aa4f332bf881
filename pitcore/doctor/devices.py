"""Checks cameras, their memory, GPIO, and the permissions to use them."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from pitcore.doctor.check import Check, SystemRoot, fail, ok, skip, warn

SERVICE_USER = "pitcore"
GROUPS = ("video", "gpio")
HEAPS = ("vidbuf_cached", "linux,cma", "system")  # in the order in which libcamera tries them
GPIO_LABELS = {
    "Raspberry Pi 5": "pinctrl-rp1",
    "Raspberry Pi 4": "pinctrl-bcm2711",
    "Raspberry Pi Compute Module 4": "pinctrl-bcm2711",
}
PERSISTENCE = "pinctrl_*/parameters/persist_gpio_outputs"  # raspberrypi/linux#6117, #6150
REINSTALL = "sudo apt install --reinstall ./pitcore_*.deb"


def check_cameras(board: SystemRoot, wanted: tuple[str, ...]) -> Check:
    """Check that the kernel found a sensor for each configured camera.

    Args:
        board: the board, for its ``/sys/class/video4linux``.
        wanted: libcamera's ids of the configured cameras; each has the sensor's name and its bus address, as in
            ``/base/axi/pcie@1000120000/rp1/i2c@88000/imx296@1a``.
    """
    name = "cameras"
    names = [path.read_text(encoding="ascii").strip() for path in board.find("/sys/class/video4linux", "*/name")]
    sensors = sorted({text for text in names if len(text.split()) == 2 and "-" in text.split()[1]})
    found = ", ".join(sensors) or "none"
    if not wanted:
        return skip(name, f"the configuration has none; the kernel found {found}")
    free, missing = list(sensors), []
    for one in wanted:  # two cameras of the same kind need two sensors
        seen = next((text for text in free if _is_sensor(text, one)), None)
        if seen is None:
            missing.append(one)
        else:
            free.remove(seen)
    if not missing:
        return ok(name, found)
    return fail(
        name,
        f"{', '.join(missing)} of the configuration is not connected; the kernel found {found}",
        "switch the board off, seat the ribbon cable at both ends, start it and look at: rpicam-hello --list-cameras. "
        "If the camera is there under another id, put that into [source]; some need a dtoverlay= in "
        "/boot/firmware/config.txt",
    )


def _is_sensor(text: str, camera_id: str) -> bool:
    """Return True if the kernel's name (``imx296 10-001a``) and libcamera's id (``.../imx296@1a``) are one sensor."""
    driver, address = text.split()
    sensor, at, wanted = camera_id.rpartition("/")[2].partition("@")
    return driver == sensor and (not at or address.rpartition("-")[2].lstrip("0") == wanted.lstrip("0"))


def check_usb_camera(board: SystemRoot, device: str) -> Check:
    """Check that the device of a USB camera exists."""
    name = "cameras"
    if board.path(device).exists():
        return ok(name, device)
    found = [f"/dev/{path.name}" for path in board.find("/dev", "video*")]
    fix = "plug the camera in, and take a name from /dev/v4l/by-id into [source] device: those names do not change"
    return fail(name, f"{device} is not there; there is {', '.join(found) or 'no camera'}", fix)


def check_permissions(board: SystemRoot, may_open: Callable[[Path], bool]) -> Check:
    """Check that the present user and the service's user may use the devices.

    Args:
        board: the board, for its ``/dev`` and ``/etc/group``.
        may_open: returns True if this process may read and write a device.
    """
    name = "permissions"
    patterns = ("video*", "media*", "dma_heap/*", "gpiochip*", "vcio")
    devices = [path for pattern in patterns for path in board.find("/dev", pattern) if _is_device(path)]
    if not devices:
        return skip(name, "no camera or GPIO devices here")
    barred = sorted("/" + path.relative_to(board.root).as_posix() for path in devices if not may_open(path))
    if barred:
        return fail(
            name,
            f"no access to {', '.join(barred[:4])}{' ...' if len(barred) > 4 else ''}",
            f"sudo usermod -aG {','.join(GROUPS)} $USER, log in again; or run it as the service's user: "
            f"sudo -u {SERVICE_USER} pitcore doctor. If this does not help, the udev rules are missing: {REINSTALL}",
        )
    outside = [group for group in GROUPS if SERVICE_USER not in _members(board, group)]
    if _has_user(board) and outside:
        return fail(
            name,
            f"the service's user {SERVICE_USER} is not in {', '.join(outside)}",
            f"sudo usermod -aG {','.join(outside)} {SERVICE_USER} && sudo systemctl restart pitcore",
        )
    return ok(name, f"{len(devices)} devices may be opened")


def _is_device(path: Path) -> bool:
    mode = path.stat().st_mode
    return stat.S_ISCHR(mode) or stat.S_ISREG(mode)  # a copy of a board has files in place of devices


def _members(board: SystemRoot, group: str) -> list[str]:
    lines = (line.split(":") for line in (board.text("/etc/group") or "").splitlines())
    return next((fields[3].split(",") for fields in lines if fields[0] == group and len(fields) == 4), [])


def _has_user(board: SystemRoot) -> bool:
    return any(line.startswith(f"{SERVICE_USER}:") for line in (board.text("/etc/passwd") or "").splitlines())


def may_open(path: Path) -> bool:
    """Return True if this process may read and write a device."""
    return os.access(path, os.R_OK | os.W_OK)


def check_camera_memory(board: SystemRoot, needed_bytes: int) -> Check:
    """Check that there is enough contiguous memory for the cameras' buffers.

    Args:
        board: the board, for its ``/proc/meminfo`` and ``/dev/dma_heap``.
        needed_bytes: size of the cameras' buffers; 0 if no camera is configured.
    """
    name = "camera memory"
    lines = dict(line.split(":", 1) for line in (board.text("/proc/meminfo") or "").splitlines() if ":" in line)
    total_kb, free_kb = (int(lines[key].split()[0]) if key in lines else 0 for key in ("CmaTotal", "CmaFree"))
    heaps = [heap for heap in HEAPS if board.path(f"/dev/dma_heap/{heap}").exists()]
    if not needed_bytes:
        return skip(name, f"the configuration has no camera; {total_kb // 1024} MB reserved")
    if not heaps:
        return fail(
            name,
            "no heap in /dev/dma_heap",
            "libcamera cannot allocate: use the kernel of Raspberry Pi OS, and dtoverlay=vc4-kms-v3d in "
            "/boot/firmware/config.txt",
        )
    needed_mb = -(-needed_bytes // 1024**2)
    found = f"{free_kb // 1024} of {total_kb // 1024} MB free, the cameras take about {needed_mb}, heap {heaps[0]}"
    if total_kb // 1024 < needed_mb:
        size_mb = next(size for size in (128, 256, 320, 512, 1 << 20) if size >= needed_mb)
        fix = f"dtoverlay=vc4-kms-v3d,cma-{size_mb} in /boot/firmware/config.txt, and restart"
        return fail(name, found, fix)
    if free_kb // 1024 < needed_mb:
        return warn(name, found, "if the service does not run, something else holds it: close programs that show video")
    return ok(name, found)


def check_gpio(board: SystemRoot, chips: dict[str, str], wanted: str | None) -> Check:
    """Check that the GPIO chip exists, by its label, because the numbers of chips change between kernels.

    Args:
        board: the board.
        chips: path of each chip by label, see ``find_chips``.
        wanted: the configured label; None if the configuration drives no lines.
    """
    name = "gpio"
    found = ", ".join(f"{label} ({path})" for label, path in sorted(chips.items())) or "no chip"
    label = wanted or next(
        (label for model, label in GPIO_LABELS.items() if (board.model or "").startswith(model)), None
    )
    if label is None:
        return skip(name, f"the configuration drives no lines; {found}")
    if label in chips:
        kept = [path for path in board.find("/sys/module", PERSISTENCE) if path.read_text().strip() == "Y"]
        if wanted and kept:
            return warn(
                name,
                f"{label} is {chips[label]}; this kernel leaves a line driven after its program is killed",
                "add dtparam=strict_gpiod to /boot/firmware/config.txt and restart: the kernel then shuts "
                "its valve at once",
            )
        return ok(name, f"{label} is {chips[label]}")
    fix = (
        "take the label from `gpiodetect` into the configuration"
        if chips
        else f"install python3-libgpiod, or reinstall pitcore ({REINSTALL}), and use a kernel with GPIO character "
        "devices (CONFIG_GPIO_CDEV)"
    )
    return (fail if wanted else warn)(name, f"no chip is labelled {label}; there is {found}", fix)


def find_chips() -> dict[str, str]:
    """Return the path of each GPIO chip by its label; empty if gpiod is not installed or no chip can be opened."""
    try:
        import gpiod  # noqa: PLC0415  an extra
    except ImportError:
        return {}
    chips: dict[str, str] = {}
    for path in sorted(Path("/dev").glob("gpiochip*")):
        try:
            with gpiod.Chip(str(path)) as chip:
                chips.setdefault(chip.get_info().label, str(path))
        except OSError:  # no access: `check_permissions` reports it
            continue
    return chips
