"""A board's configuration: TOML, typed and bounded.

Unlike the model card, every key has a default, so that a short file suffices; an unknown key is refused.
This package reads and checks values: ``sources`` and ``stages`` hold the sections, ``board`` the whole, ``load`` the
way from a file. What they do stands with the stage they configure.
"""

from pitcore.config.board import Config
from pitcore.config.control import ControlConfig
from pitcore.config.load import decode_config, load_config
from pitcore.config.sources import EmulatedSourceConfig, ReplaySourceConfig, SourceConfig
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
from pitcore.config.thresholds import effective_thresholds
from pitcore.config.update import UpdateConfig

__all__ = [
    "ActionsConfig",
    "BeltConfig",
    "Config",
    "ControlConfig",
    "DecisionConfig",
    "EmulatedSourceConfig",
    "FrameConfig",
    "ModelConfig",
    "ReplaySourceConfig",
    "RuntimeConfig",
    "SegmentationConfig",
    "SinkConfig",
    "SourceConfig",
    "UpdateConfig",
    "decode_config",
    "effective_thresholds",
    "load_config",
]
