"""Settings: every setting's type, default, meaning, allowed values and resume rule, in frozen dataclasses.

schema.py        what a setting is; reads and checks blocks
blocks.py        the settings that all methods have (a method's own lie beside the method)
identity.py      which settings decide a run's result
outside.py       methods, data sets and backbones in the user's own files
config_file.py   what config files are written with
epochs.py        schedules for another number of epochs
command_line.py  --config=FILE:WORDS --config.KEY=VALUE
reference.py     the settings as text and Markdown
"""

from ltjax.settings.blocks import (
    CheckpointSettings,
    DataSettings,
    EvaluationSettings,
    FeatureSettings,
    GradientSettings,
    ModelSettings,
    OptimizerSettings,
    ScheduleSettings,
    Settings,
    StageOptimizer,
)
from ltjax.settings.reference import markdown
from ltjax.settings.schema import Block, Check, setting

__all__ = [
    "Block",
    "Check",
    "CheckpointSettings",
    "DataSettings",
    "EvaluationSettings",
    "FeatureSettings",
    "GradientSettings",
    "ModelSettings",
    "OptimizerSettings",
    "ScheduleSettings",
    "Settings",
    "StageOptimizer",
    "markdown",
    "setting",
]
