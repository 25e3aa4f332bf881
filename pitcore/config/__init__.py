"""Reads and checks a board's configuration: TOML, typed and bounded.

Every key has a default, so a short file is enough. An unknown key is refused. ``sources`` and ``stages`` hold the
sections, ``board`` the whole configuration, and ``load`` reads a file. Each stage documents its values.
"""

from pitcore.config.actuation import ActuationConfig, EncoderConfig, LaneConfig, ModbusConfig
from pitcore.config.board import Config
from pitcore.config.calibration import (
    AlignmentConfig,
    BeltScale,
    BoardCalibration,
    CalibrationConfig,
    PlaneCalibration,
    Step,
    read_calibration,
)
from pitcore.config.cameras import CameraConfig, Channel, Picamera2SourceConfig, UvcSourceConfig, VideoSourceConfig
from pitcore.config.capture import CaptureConfig
from pitcore.config.control import ControlConfig
from pitcore.config.emulate import emulated, other_speed
from pitcore.config.explain import explain
from pitcore.config.hawkbit import HawkbitConfig
from pitcore.config.installed import board_config
from pitcore.config.line import AlarmName, DriftConfig, FailSafe, FailsafeConfig, LineConfig, ReferenceConfig
from pitcore.config.load import calibration_path, decode_config, load_actuation, load_config, load_control
from pitcore.config.outputs import MetricsConfig, MqttConfig
from pitcore.config.page import PageConfig, ShiftConfig
from pitcore.config.safety import failsafe_of, weakened
from pitcore.config.shadow import ShadowConfig
from pitcore.config.sources import (
    CameraSourceConfig,
    DisturbanceConfig,
    EmulatedSourceConfig,
    ReplaySourceConfig,
    SourceConfig,
    SpotConfig,
)
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
from pitcore.config.thresholds import Operating, effective_thresholds, operating_point
from pitcore.config.update import UpdateConfig

__all__ = [
    "ActionsConfig",
    "ActuationConfig",
    "AlarmName",
    "AlignmentConfig",
    "BeltConfig",
    "BeltScale",
    "BoardCalibration",
    "CalibrationConfig",
    "CameraConfig",
    "CameraSourceConfig",
    "CaptureConfig",
    "Channel",
    "Config",
    "ControlConfig",
    "DecisionConfig",
    "DisturbanceConfig",
    "DriftConfig",
    "EmulatedSourceConfig",
    "EncoderConfig",
    "FailSafe",
    "FailsafeConfig",
    "FrameConfig",
    "HawkbitConfig",
    "LaneConfig",
    "LineConfig",
    "MetricsConfig",
    "ModbusConfig",
    "ModelConfig",
    "MqttConfig",
    "Operating",
    "PageConfig",
    "Picamera2SourceConfig",
    "PlaneCalibration",
    "ReferenceConfig",
    "ReplaySourceConfig",
    "RuntimeConfig",
    "SegmentationConfig",
    "ShadowConfig",
    "ShiftConfig",
    "SinkConfig",
    "SourceConfig",
    "SpotConfig",
    "Step",
    "UpdateConfig",
    "UvcSourceConfig",
    "VideoSourceConfig",
    "board_config",
    "calibration_path",
    "decode_config",
    "effective_thresholds",
    "emulated",
    "explain",
    "failsafe_of",
    "load_actuation",
    "load_config",
    "load_control",
    "operating_point",
    "other_speed",
    "read_calibration",
    "weakened",
]
