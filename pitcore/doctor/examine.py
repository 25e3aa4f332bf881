"""Runs every check, in the order in which faults should be fixed."""

from __future__ import annotations

import time
from pathlib import Path

from pitcore.config import Config, Picamera2SourceConfig, UvcSourceConfig
from pitcore.doctor import devices, processor, software, system
from pitcore.doctor.check import Check, SystemRoot
from pitcore.doctor.load import check_load
from pitcore.machine import usable_cores
from pitcore.preprocess import _core

ORDER = ("ok", "skip", "warn", "fail")


def examine(config_path: Path | None, board: SystemRoot | None = None) -> list[Check]:
    """Run every check. Opens no camera and drives no line, so it may run beside the service.

    Args:
        config_path: configuration of the board; None takes the defaults.
        board: the board to check; None is this machine.
    """
    board = board or SystemRoot()
    config_check, config = software.check_config(config_path)
    settings = config or Config()
    cameras = camera_ids(settings)
    return [
        config_check,
        software.check_model(settings),
        processor.check_features(board, _core.active_kernel()),
        software.check_extras(settings, software.has_module),
        processor.check_workers(settings.runtime.workers, settings.runtime.threads, usable_cores()),
        check_load(settings),
        software.check_flush_to_zero(),
        processor.check_governor(board),
        processor.check_heat(board),
        processor.check_throttling(board),
        processor.check_clock_source(board),
        processor.check_time(board, time.time(), Path(__file__).stat().st_mtime),
        check_source(board, settings),
        software.check_picamera2(software.run_python, wanted=bool(cameras)),
        devices.check_camera_memory(board, camera_bytes(settings)),
        devices.check_permissions(board, devices.may_open),
        devices.check_gpio(board, devices.find_chips(), gpio_label(settings)),
        system.check_paths(settings),
        system.check_disk(settings, system.free_bytes),
        system.check_service(system.show_service()),
    ]


def check_source(board: SystemRoot, config: Config) -> Check:
    """Check the cameras of the configured source."""
    if isinstance(config.source, UvcSourceConfig):
        return devices.check_usb_camera(board, config.source.device)
    return devices.check_cameras(board, camera_ids(config))


def camera_ids(config: Config) -> tuple[str, ...]:
    """Return libcamera's ids of the configured cameras."""
    source = config.source
    return tuple(camera.id for camera in source.cameras) if isinstance(source, Picamera2SourceConfig) else ()


def camera_bytes(config: Config) -> int:
    """Return the approximate size in bytes of the buffers that libcamera allocates for a configuration."""
    source = config.source
    if not isinstance(source, Picamera2SourceConfig):
        return 0
    width_px, height_px = source.picture_for(config.frame.width_px, config.frame.height_px)
    # YUV420 takes 1.5 bytes a pixel; the sensor's raw frames take 2.
    return len(source.cameras) * source.buffers * width_px * height_px * 7 // 2


def gpio_label(config: Config) -> str | None:
    """Return the label of the GPIO chip that a configuration drives; None if it drives none."""
    return config.actuation.chip if config.actuation.kind == "gpio" else None


def worst(checks: list[Check]) -> str:
    """Return the worst status of the checks."""
    return max((check.status for check in checks), key=ORDER.index)
