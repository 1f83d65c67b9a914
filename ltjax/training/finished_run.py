"""A finished run, opened by evaluate, predict and the like: its config, last stage and trained variables.

``open_model`` needs the workdir alone; ``open_finished`` adds the test images.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

from ltjax.data import Data
from ltjax.errors import InputError
from ltjax.methods.configure import from_json
from ltjax.methods.stage import AnyStage, Tree
from ltjax.settings import Settings
from ltjax.settings.user_paths import looked_for
from ltjax.training.execution import mesh as meshes
from ltjax.training.execution.seeds import split_seeds
from ltjax.training.open_stage import owner_of, shape_of_state
from ltjax.training.prepare import build_data, make_stages, prepare, stage_steps
from ltjax.training.step.state import variables_of
from ltjax.training.workdir.checkpoint import Checkpoints, abstract, checkpoints
from ltjax.training.workdir.checksums import host_arrays, listed, not_finite
from ltjax.training.workdir.data_record import read_data_record, split_difference
from ltjax.training.workdir.identity import RESULTS, absolute, check_path
from ltjax.training.workdir.json_files import Record, read_object
from ltjax.training.workdir.model_record import ModelRecord, read_model_record, record_of


class Finished(NamedTuple):
    config: Settings
    data: Data  # of open_model without images, of open_finished with the test images
    stage: AnyStage  # the restored one, with the run's network and predict
    variables: Tree  # with several seeds all arrays have a leading seed axis
    mesh: Any
    results: Record
    model: ModelRecord


def read_config(workdir: str, key: str = "--run") -> Settings:
    """The config that a workdir was trained with. Needs no device and no data."""
    path = absolute(workdir) / "config.json"
    check_path(str(path.parent), key)
    if not path.exists():
        raise InputError(
            f"{key}={workdir} has no config.json{looked_for(workdir)}, so it is not the workdir of a run; correct the "
            "path"
        )
    stored = read_object(path)
    if stored is None:
        raise InputError(f"{path}: is damaged; run its training command again, which writes it again")
    if "init_from" not in stored:
        raise InputError(f"{path}: was written by an earlier ltjax, and this one cannot read it; train the run again")
    return from_json(stored)


def open_model(
    workdir: str, changes: Mapping[str, Any], key: str = "--run", stage_name: str = "", several_labels: bool = False
) -> Finished:
    """Restores the last checkpoint of the last stage from the workdir alone.

    The workdir of an earlier version has no model.json: its data is built again.

    Args:
      workdir: a run's folder; may be gs://.
      changes: settings to replace that do not affect results, such as {"evaluation.batch_size": 100}.
      key: the flag that named the workdir, for errors.
      stage_name: the stage to restore, if the run has one of this name; otherwise it is the last one.
      several_labels: whether the caller knows what to do with a network of several labels an image.

    Raises:
      InputError: no run, an unfinished run, damaged or diverged weights; a network of several labels that the caller
        does not take.
    """
    config = read_config(workdir, key).replaced(changes)
    folder = absolute(workdir)
    if not (folder / "results.json").exists():
        raise InputError(f"{key}={workdir}: is not finished; run its training command again to resume it")
    model = read_model_record(folder)
    if model is None:
        setup = prepare(config)
        data, stages, mesh = setup.data, setup.stages, setup.mesh
        model = record_of(config, data, setup.fingerprint)
    else:
        data = model.data()
        stages, mesh = make_stages(config, data), meshes.data_mesh()
    if model.several_labels and not several_labels:
        raise InputError(
            f"{key}={workdir}: its images have several labels, which this command does not take; ltjax report, "
            "evaluate and predict, and ltjax.load, do"
        )
    stage = next((stage for stage in stages if stage.name == stage_name), stages[-1])
    with checkpoints(folder / "checkpoints" / stage.name, keep=None) as saved:
        extras = split_seeds(saved.extras(), config.num_seeds)[0]
        shape = shape_of_state(data, stage, extras, config.num_seeds)
        if stage.updates.frozen_once:
            saved.keep_apart(stage.updates, meshes.put_replicated(_frozen(saved), mesh))
        target = abstract(shape, meshes.replicated(mesh))
        restored = saved.restore(target, owner_of(folder, model.fingerprint))
        damaged = saved.damaged
    steps = stage_steps(stage, config, data)
    if restored is None or restored.step != steps:
        there = "none" if restored is None else f"step {restored.step}"
        raise InputError(
            f"{folder}/checkpoints/{stage.name}/{steps} cannot be read ({damaged.get(steps, 'it is missing')}; last "
            f"good step: {there}); copy the folder again, or remove results.json and run the training command again, "
            "which trains the steps after the last good one"
        )
    variables = variables_of(restored.state)
    broken = not_finite(host_arrays(variables))
    if broken:
        raise InputError(
            f"{key}={workdir}: its network is not finite ({listed(broken)}), so its training diverged; train it again "
            "in another --workdir with a smaller config.optimizer.learning_rate"
        )
    results = read_object(folder / "results.json")
    if results is None or not results.keys() >= RESULTS:
        raise InputError(f"{folder}/results.json: is damaged; run the training command again, which makes it again")
    return Finished(config, data, stage, variables, mesh, results, model)


def _frozen(saved: Checkpoints) -> Tree:
    """The frozen parameters, which step 0 holds."""
    start = saved.restore_start()
    if start is None:
        raise InputError(
            f"{saved.folder}/0 cannot be read, which holds the frozen weights; copy the folder again, or remove "
            "results.json and run the training command again, which makes them again"
        )
    return start["weights"]


def open_finished(
    workdir: str, changes: Mapping[str, Any], key: str = "--run", stage_name: str = "", several_labels: bool = False
) -> Finished:
    """``open_model``, with the run's images, built again; the test images are compared with those of the run.

    Args:
      changes: may have {"data.dir": "/elsewhere"} for data that was moved.

    Raises:
      InputError: as ``open_model``, or if the test images are not there, or others than those of the run.
    """
    finished = open_model(workdir, changes, key, stage_name, several_labels)
    model, folder = finished.model, absolute(workdir)
    try:
        built = build_data(finished.config)
    except InputError as error:
        raise InputError(f"{key}={workdir}: its test images are needed (--data-dir, if they moved): {error}") from error
    other = split_difference(folder, built, finished.config.data.verify, built.split)
    if built.class_names != model.class_names or built.num_classes != len(model.class_counts):
        other = f"other classes ({built.num_classes}; the run has {len(model.class_counts)})"
    elif read_data_record(folder) is None and built.fingerprint != model.train_index_sha256:
        other = f"other training images ({built.fingerprint[:12]}, those of the run {model.train_index_sha256[:12]})"
    if other is not None:
        raise InputError(
            f"{key}={workdir}: the data is not what the run was evaluated on: {other}; restore the data, or name its "
            "place with --data-dir"
        )
    data = dataclasses.replace(finished.data, test=built.test, split=built.split, validation=built.validation)
    return finished._replace(data=data)
