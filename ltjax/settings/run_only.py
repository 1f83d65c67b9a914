"""Blocks of settings that say how a run is carried out, stored and followed. All of them may change on resume."""

import dataclasses

from ltjax.settings.schema import Block, Check, integer, not_negative, setting

TRACKERS = ("trackio", "wandb", "mlflow")
tracker_names = Check(lambda v: v in ("", *TRACKERS), "trackio, wandb, mlflow, or '' for none", TRACKERS)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FeatureSettings(Block):
    """Features of all images from a frozen network, computed once and stored for second stages."""

    dir: str = setting(
        "",
        "the folder of the features; '' = features/ in the workdir of the first stage (init_from) or of this run",
        run_only=True,
    )
    memory_mb: float = setting(
        1000.0, "size in MB above which the features are memory-mapped instead of loaded", not_negative, run_only=True
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckpointSettings(Block):
    """Checkpoints of the training state."""

    every_steps: int = setting(200, "training steps between checkpoints", integer(1), run_only=True)
    keep: int = setting(2, "number of checkpoints kept per stage", integer(1), run_only=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrackingSettings(Block):
    """The run's entry in the tracker."""

    project: str = setting("ltjax", "the tracker's project; in MLflow the experiment", run_only=True)
    name: str = setting("", "the run's name in the tracker; '' = the name of the workdir", run_only=True)
