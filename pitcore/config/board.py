"""Defines the whole configuration, and checks that its sections fit together."""

from __future__ import annotations

import hashlib
import math
from typing import Any, Literal

import msgspec

from pitcore.config import travel
from pitcore.config.actuation import ActuationConfig, ModbusConfig
from pitcore.config.calibration import AlignmentConfig, CalibrationConfig
from pitcore.config.capture import CaptureConfig
from pitcore.config.control import ControlConfig
from pitcore.config.hawkbit import HawkbitConfig
from pitcore.config.line import DriftConfig, FailsafeConfig, LineConfig, ReferenceConfig
from pitcore.config.outputs import MetricsConfig, MqttConfig
from pitcore.config.page import PageConfig
from pitcore.config.section import Section
from pitcore.config.shadow import ShadowConfig
from pitcore.config.sources import CameraSourceConfig, EmulatedSourceConfig, SourceConfig
from pitcore.config.stages import (
    ActionsConfig,
    BeltConfig,
    DecisionConfig,
    FrameConfig,
    ModelConfig,
    RuntimeConfig,
    SegmentationConfig,
    SinkConfig,
)
from pitcore.config.update import UpdateConfig


class Config(Section, frozen=True):
    """The whole configuration. See the sections."""

    schema: Literal["pitcore.config/1"] = "pitcore.config/1"
    frame: FrameConfig = msgspec.field(default_factory=FrameConfig)
    belt: BeltConfig = msgspec.field(default_factory=BeltConfig)
    source: SourceConfig = msgspec.field(default_factory=EmulatedSourceConfig)
    segmentation: SegmentationConfig = msgspec.field(default_factory=SegmentationConfig)
    decision: DecisionConfig = msgspec.field(default_factory=DecisionConfig)
    actions: ActionsConfig = msgspec.field(default_factory=ActionsConfig)
    model: ModelConfig = msgspec.field(default_factory=ModelConfig)
    runtime: RuntimeConfig = msgspec.field(default_factory=RuntimeConfig)
    sink: SinkConfig = msgspec.field(default_factory=SinkConfig)
    control: ControlConfig = msgspec.field(default_factory=ControlConfig)
    update: UpdateConfig = msgspec.field(default_factory=UpdateConfig)
    hawkbit: HawkbitConfig = msgspec.field(default_factory=HawkbitConfig)
    calibration: CalibrationConfig = msgspec.field(default_factory=CalibrationConfig)
    alignment: AlignmentConfig = msgspec.field(default_factory=AlignmentConfig)
    line: LineConfig = msgspec.field(default_factory=LineConfig)
    drift: DriftConfig = msgspec.field(default_factory=DriftConfig)
    failsafe: FailsafeConfig = msgspec.field(default_factory=FailsafeConfig)
    actuation: ActuationConfig = msgspec.field(default_factory=ActuationConfig)
    modbus: ModbusConfig = msgspec.field(default_factory=ModbusConfig)
    metrics: MetricsConfig = msgspec.field(default_factory=MetricsConfig)
    mqtt: MqttConfig = msgspec.field(default_factory=MqttConfig)
    page: PageConfig = msgspec.field(default_factory=PageConfig)
    capture: CaptureConfig = msgspec.field(default_factory=CaptureConfig)
    shadow: ShadowConfig = msgspec.field(default_factory=ShadowConfig)

    def __post_init__(self) -> None:
        self._check_timing()
        if isinstance(self.source, CameraSourceConfig):
            self.source.check_fits(self.frame, self.runtime)
        planes = len(self.frame.planes)
        lists: dict[str, tuple[Any, ...]] = {
            "segmentation.background": self.segmentation.background,
            "segmentation.threshold": self.segmentation.threshold,
            "segmentation.polarity": self.segmentation.polarity,
            "decision.min_plane_mean": self.decision.min_plane_mean,
            "decision.max_plane_mean": self.decision.max_plane_mean,
        }
        for key, values in lists.items():
            if len(values) != planes:
                raise ValueError(f"{key} has {len(values)} values, but frame.planes names {planes} planes")
        if self.decision.min_area_px < self.segmentation.min_area_px:
            raise ValueError(
                f"decision.min_area_px = {self.decision.min_area_px} is below segmentation.min_area_px = "
                f"{self.segmentation.min_area_px}: things between them are not judged at all; lower both"
            )
        if self.shift_px != (0, 0) and planes != 2:
            raise ValueError(f"alignment is of two planes, but frame.planes names {planes}: leave it out")
        if self.capture.enabled and planes != 2:
            raise ValueError(f"capture keeps crops of two planes, but frame.planes names {planes}: disable it")
        for strip in self.line.reference:
            self._check_reference(strip)
        self._check_calibration()
        self._check_actuation()

    def _check_timing(self) -> None:
        """Refuse a frame rate that shows no cherry, or that the time-out would take for a camera that failed."""
        misfit = travel.misfit(self)
        if misfit:
            raise ValueError(misfit)
        if not isinstance(self.source, EmulatedSourceConfig):  # cameras have their own patience, or another rate
            return
        frames_per_s, patience_s = self.source.frames_per_s, self.runtime.capture_timeout_s
        if patience_s * frames_per_s <= 1.0:
            raise ValueError(
                f"runtime.capture_timeout_s = {patience_s:g} is no longer than a frame's {1 / frames_per_s:g} s at "
                f"source.frames_per_s = {frames_per_s:g}: the belt would count as failed; give it "
                f"{math.ceil(20 / frames_per_s) / 10:g} s or more"
            )

    def _check_reference(self, strip: ReferenceConfig) -> None:
        """Refuse a strip that no plane shows, or that takes more than an edge of it."""
        if strip.plane not in self.frame.planes:
            raise ValueError(f"line.reference: no plane {strip.plane}; frame.planes are {', '.join(self.frame.planes)}")
        misfit = strip.misfit(self.frame.height_px, self.frame.width_px)
        if misfit:
            raise ValueError(f"line.reference of plane {strip.plane}: {misfit}")

    def _check_calibration(self) -> None:
        """Refuse values that were measured on other frames."""
        values = self.calibration.values
        if values is None:
            return
        have = (tuple(values.planes), values.height_px, values.width_px)
        want = (tuple(self.frame.planes), self.frame.height_px, self.frame.width_px)
        if have != want:
            raise ValueError(
                f"calibration was measured on {_shown(*have)}, but [frame] says {_shown(*want)}; correct [frame], or "
                "calibrate again"
            )

    def _check_actuation(self) -> None:
        """Refuse valves that cannot do the configured actions."""
        if self.actuation.kind != "none" and self.source.belt == "recorded":
            raise ValueError('a recording cannot drive valves: set actuation.kind = "none"')
        if self.actuation.kind == "gpio" and self.source.belt == "emulated":
            raise ValueError('an emulated belt has no encoder: set actuation.kind = "simulated", or use a camera')
        misfit = self.actuation.misfit(
            height_px=self.frame.height_px,
            width_px=self.frame.width_px,
            px_per_tick=self.px_per_tick,
            actions=self._wanted_actions(),
        )
        if misfit:
            raise ValueError(misfit)

    def _wanted_actions(self) -> dict[str, str]:
        """Return every possible action and the keys that request it. A fail-safe needs a valve too."""
        rejecting = [
            f"failsafe.{name}"
            for name, rule in msgspec.structs.asdict(self.failsafe).items()
            if rule in {"reject", "by_light"}
        ]
        if self.actuation.fail_safe == "reject":
            rejecting.append("actuation.fail_safe")
        wanted = {"reject": ", ".join(rejecting)} if rejecting else {}
        return wanted | dict.fromkeys(msgspec.structs.astuple(self.actions), "[actions]")

    @property
    def px_per_tick(self) -> float:
        """Return the belt scale in use: the calibrated one, otherwise that of [belt]."""
        values = self.calibration.values
        return self.belt.px_per_tick if values is None or values.belt is None else values.belt.px_per_tick

    @property
    def shift_px(self) -> tuple[int, int]:
        """Return the alignment in use: the calibrated one, otherwise that of [alignment]."""
        values = self.calibration.values
        return (self.alignment if values is None or values.alignment is None else values.alignment).shift_px

    @property
    def sha256(self) -> str:
        """Return the hash of every value, including defaults: equal configurations have equal hashes."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()


def _shown(planes: tuple[str, ...], height_px: int, width_px: int) -> str:
    """Return planes and size of a frame as a message gives them: ``top + bottom, 500x2464 px``."""
    return f"{' + '.join(planes)}, {height_px}x{width_px} px"
