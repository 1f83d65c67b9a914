"""From a config to what a run is made of: data, the method's stages, the mesh, and the fingerprint of all."""

import dataclasses
import json
import zlib
from typing import Any

from ltjax.data import Data, build
from ltjax.data.augment.registry import named, size_in
from ltjax.errors import InputError, choose
from ltjax.methods import METHODS
from ltjax.methods.stage import Features, Previous, Stage, Start
from ltjax.training.execution import mesh as meshes
from ltjax.training.execution.inputs import check_stands_still
from ltjax.training.step.batch_size_scaling import scaled_rate
from ltjax.training.step.schedules import make_schedule
from ltjax.training.workdir.identity import identity


def steps_per_epoch(stage: Stage, config: Any, data: Data) -> int:
    """Whole batches in an epoch: the last, smaller one is dropped."""
    return (stage.epoch_size or len(data.train)) // config.batch_size


def stage_steps(stage: Stage, config: Any, data: Data) -> int:
    return stage.epochs * steps_per_epoch(stage, config, data)


def prepare(config: Any) -> tuple[Data, list[Stage], Any, str]:
    """The data, the method's stages, the mesh, and the fingerprint of data and config: nothing is written yet."""
    choose(METHODS, config.method, "config.method")
    data, mesh = build(config.data), meshes.data_mesh()
    stages = make_stages(config, data)
    for stage in stages:
        check_stands_still(stage, data.image_shape)
        if stage.epochs:
            size = stage.epoch_size or len(data.train)
            meshes.check_batch(config.batch_size, size, mesh, micro_batches=config.micro_batches)
            check_norm_group(config)
            make_schedule(stage.optimizer, stage.epochs, steps_per_epoch(stage, config, data))
    settings = json.dumps(identity(config), sort_keys=True)
    return data, stages, mesh, f"{data.fingerprint[:32]}-{zlib.crc32(settings.encode()):08x}"


def make_stages(config: Any, data: Data) -> list[Stage]:
    """The stages that a run of this config on this data has, whatever devices it gets."""
    method = choose(METHODS, config.method, "config.method")
    check_size(config.data.augment, data)
    stages = [scaled(stage, config) for stage in method(config, data)]
    if config.init_from:
        stages[0] = dataclasses.replace(stages[0], epochs=0, init=_taken_over)
    check_groups(config.evaluation, data)
    return stages


def scaled(stage: Stage, config: Any) -> Stage:
    """The method's stage in this run: its rate for the run's batch size, its batches in config.micro_batches parts.

    Raises:
      InputError: when batches are to be split that the stage's objective takes as a whole.
    """
    parts = config.micro_batches
    if parts > 1 and stage.epochs and stage.whole_batch:
        raise InputError(
            f"config.micro_batches: {parts} parts of a batch are not the same as the batch in stage '{stage.name}': "
            f"{stage.whole_batch}; use 1 (config.model.remat=true saves memory, too)"
        )
    return dataclasses.replace(scaled_rate(stage, config), micro_batches=parts)


def check_norm_group(config: Any) -> None:
    """Raises InputError unless what the network sees at a time is made of whole groups of config.model.norm_group."""
    group, part = config.model.norm_group, config.batch_size // config.micro_batches
    if group and part % group:
        what = "config.batch_size / config.micro_batches" if config.micro_batches > 1 else "config.batch_size"
        raise InputError(f"config.model.norm_group: {group} is no divisor of {what} = {part}; use one, or 0")


def check_size(augment: str, data: Data) -> None:
    """Raises InputError unless training and evaluation see pictures of one size."""
    named(augment)
    size = size_in(augment)
    if size and data.image_shape[:2] != (size, size):
        height, width = data.image_shape[:2]
        raise InputError(
            f"config.data.augment: '{augment}' makes pictures of {size} x {size} pixels, those of the evaluation have "
            f"{width} x {height}; make both the same"
        )


def _taken_over(key: Any, previous: Previous | None, features: Features) -> Start:
    """The first stage of a run with config.init_from: what the other run ended with, as it is."""
    del key, features
    assert previous is not None
    return Start(previous.variables)


def check_groups(settings: Any, data: Data) -> None:
    """Raises InputError when groups by class index are asked for that this data set has too few classes for."""
    if settings.shots == "index" and max(settings.index_boundaries) > data.num_classes:
        raise InputError(
            f"config.evaluation.index_boundaries: {tuple(settings.index_boundaries)} is not possible with the "
            f"{data.num_classes} classes of {data.name}; two rising class indices up to that"
        )
