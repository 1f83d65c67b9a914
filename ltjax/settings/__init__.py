"""Settings: every setting's type, default, meaning, allowed values and resume rule, in frozen dataclasses.

schema.py        what a setting is; reading and checking blocks of settings
blocks.py        the settings that all methods share (a method's block is beside the method)
model.py         the block of the network among them
tuning.py        the block of what is trained in a pretrained backbone
ingredients.py   blocks of them for the batch and the loss, which not every method takes
optimizer.py     the block of the optimizer
run_only.py      blocks of them that say how a run is carried out and followed
identity.py      which settings determine a run's result
user_code.py     methods, data sets and backbones from the user's files
config_file.py   helpers for writing config files
epochs.py        scaling schedules to another number of epochs
command_line.py  --config=FILE:WORDS --config.KEY=VALUE
reference.py     the settings as text (--help-config) and Markdown (documentation)
"""

from ltjax.settings.blocks import (
    DataSettings,
    EvaluationSettings,
    GradientSettings,
    Settings,
)
from ltjax.settings.ingredients import LossSettings, MixSettings
from ltjax.settings.model import ModelSettings
from ltjax.settings.optimizer import OptimizerSettings, ScheduleSettings, StageOptimizer
from ltjax.settings.reference import markdown
from ltjax.settings.run_only import CheckpointSettings, FeatureSettings, TrackingSettings
from ltjax.settings.schema import Block, Check, setting
from ltjax.settings.tuning import TuningSettings

__all__ = [
    "Block",
    "Check",
    "CheckpointSettings",
    "DataSettings",
    "EvaluationSettings",
    "FeatureSettings",
    "GradientSettings",
    "LossSettings",
    "MixSettings",
    "ModelSettings",
    "OptimizerSettings",
    "ScheduleSettings",
    "Settings",
    "StageOptimizer",
    "TrackingSettings",
    "TuningSettings",
    "markdown",
    "setting",
]
