"""A finished run, opened by evaluate, predict and the like: its config, data, last stage and trained variables."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from ltjax.data import Data
from ltjax.errors import InputError
from ltjax.methods.configure import from_json
from ltjax.methods.stage import AnyStage, Tree
from ltjax.settings import Settings
from ltjax.training.execution import mesh as meshes
from ltjax.training.execution.seeds import split_seeds
from ltjax.training.open_stage import shape_of_state
from ltjax.training.prepare import prepare, stage_steps
from ltjax.training.workdir.checkpoint import abstract, checkpoints
from ltjax.training.workdir.identity import absolute
from ltjax.training.workdir.metrics_log import Record


class Finished(NamedTuple):
    config: Settings
    data: Data
    stage: AnyStage  # the restored one, with the run's predict
    variables: Tree
    mesh: Any
    results: Record


def read_config(workdir: str, key: str = "--run") -> Settings:
    """The config that a workdir was trained with. Needs no device and no data."""
    path = absolute(workdir) / "config.json"
    if not path.exists():
        raise InputError(f"{key}={workdir} has no config.json, so it is not the workdir of a run; correct the path")
    try:
        stored = json.loads(path.read_text())
    except ValueError:
        raise InputError(f"{path}: not valid JSON; the run cannot be read") from None
    if "init_from" not in stored:
        raise InputError(f"{path}: was written by an earlier ltjax, and this one cannot read it; train the run again")
    return from_json(stored)


def open_finished(workdir: str, changes: Mapping[str, Any], key: str = "--run", stage_name: str = "") -> Finished:
    """Builds the data again and restores the last checkpoint of the last stage.

    Args:
      workdir: a run's folder; may be gs://.
      changes: settings to replace that do not affect results, such as {"data.dir": "/elsewhere"}.
      key: the flag that named the workdir, for errors.
      stage_name: the stage to restore, if the run has one of this name; otherwise it is the last one.

    Raises:
      InputError: no run, an unfinished run, or other data than it was trained on.
    """
    config = read_config(workdir, key).replaced(changes)
    folder = absolute(workdir)
    if not (folder / "results.json").exists():
        raise InputError(f"{key}={workdir}: is not finished; run its training command again to resume it")
    data, stages, mesh, fingerprint = prepare(config)
    stage = next((stage for stage in stages if stage.name == stage_name), stages[-1])
    with checkpoints(folder / "checkpoints" / stage.name, keep=None) as saved:
        start = saved.restore_start()
        extras = start["extras"] if start is not None else {}
        extras = split_seeds(extras, config.num_seeds)[0]
        shape = shape_of_state(data, stage, extras, config.num_seeds)
        target = abstract(shape, meshes.replicated(mesh))
        restored = saved.restore(target, fingerprint)
    steps = stage_steps(stage, config, data)
    if restored is None or restored.step != steps:
        there = "none" if restored is None else f"step {restored.step}"
        raise InputError(f"{folder}/checkpoints/{stage.name}: step {steps} cannot be read (readable: {there})")
    variables = {"params": restored.state.params, **restored.state.model_state}
    return Finished(config, data, stage, variables, mesh, json.loads((folder / "results.json").read_text()))
