"""From a config to what a run is made of: data, the method's stages, the mesh, and the fingerprint of all."""

import dataclasses
import json
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from ltjax.data import Data, build
from ltjax.data.augment.registry import find_transform, output_size
from ltjax.errors import InputError
from ltjax.methods import METHODS
from ltjax.methods.configure import find_method
from ltjax.methods.stage import AnyStage, ClosedForm, Features, Previous, Stage, Start, trained
from ltjax.settings import DataSettings, EvaluationSettings, Settings, StageOptimizer
from ltjax.settings.identity import identity
from ltjax.settings.schema import LARGEST
from ltjax.training.execution import mesh as meshes
from ltjax.training.execution.inputs import check_frozen
from ltjax.training.preprocessing import data_settings, preprocessing_of
from ltjax.training.step.batch_size_scaling import scaled_rate
from ltjax.training.step.optimizer import sharpened_classes
from ltjax.training.step.schedules import make_schedule


def steps_per_epoch(stage: AnyStage, config: Settings, data: Data) -> int:
    """Whole batches in an epoch: the last, smaller one is dropped."""
    size = stage.epoch_size if isinstance(stage, Stage) else None
    return (size or len(data.train)) // config.batch_size


def stage_steps(stage: AnyStage, config: Settings, data: Data) -> int:
    """The steps of a stage; a closed form has none."""
    return stage.epochs * steps_per_epoch(stage, config, data) if isinstance(stage, Stage) else 0


def stage_notes(stages: Sequence[AnyStage]) -> list[str]:
    """What the stages have to report before the first step."""
    return [note for stage in trained(stages) for note in stage.notes]


class Setup(NamedTuple):
    """What a run is made of."""

    data: Data
    stages: list[AnyStage]
    mesh: Any
    fingerprint: str  # of data and config; checkpoints belong to it


def prepare(config: Settings) -> Setup:
    """Builds the data and the method's stages and checks them against config and devices; writes nothing."""
    find_method(config.method)
    data, mesh = build_data(config), meshes.shared_by(meshes.data_mesh(), config.fsdp)
    stages = make_stages(config, data)
    for stage in trained(stages):
        check_frozen(stage, data.image_shape)
        size = stage.epoch_size or len(data.train)
        meshes.check_batch(config.batch_size, size, mesh, micro_batches=config.micro_batches)
        check_norm_group(config)
        check_steps(stage, stage_steps(stage, config, data), data, config)
        make_schedule(stage.optimizer, stage.epochs, steps_per_epoch(stage, config, data))
    settings = json.dumps(identity(config), sort_keys=True)
    return Setup(data, stages, mesh, f"{data.fingerprint[:32]}-{zlib.crc32(settings.encode()):08x}")


def build_data(config: Settings) -> Data:
    """The data set that config.data describes, as the published weights of config.model.backbone take images.

    Raises:
      InputError: also if its images have several labels, and the method learns from one.
    """
    data, weights = build(data_settings(config)), preprocessing_of(config)
    if data.train.label_sets is not None and not find_method(config.method).several_labels:
        taking = ", ".join(name for name, method in METHODS.items() if method.several_labels)
        raise InputError(
            f"config.method: {config.method} learns from one label an image, but those of config.data.name={data.name} "
            f"have several; use one of {taking}"
        )
    if weights is None or data.image_shape[2] != len(weights.mean):
        return data
    return dataclasses.replace(data, mean=weights.mean, std=weights.std)


def make_stages(config: Settings, data: Data) -> list[AnyStage]:
    """The stages that a run of this config on this data has, whatever devices it gets."""
    method = find_method(config.method)
    check_size(config.data.augment, data)
    stages = list(method(config, data))
    check_used(config, stages)
    if config.init_from:
        first = stages[0]
        stages[0] = ClosedForm(
            first.name, first.network, _taken_over, first.predict,
            views=first.views, report=first.report, updates=first.updates, prior=first.prior,
        )  # fmt: skip
    for stage in trained(stages):
        check_whole_batch(stage, config.micro_batches)
        for stream, augment in stage.augment.items():
            check_size(augment, data, f"augmentation of stream '{stream}'")
    check_groups(config.evaluation, data)
    check_classes(config, data)
    return [
        with_sharpened(scaled_rate(stage, config), config, data) if isinstance(stage, Stage) else stage
        for stage in stages
    ]


def with_sharpened(stage: Stage, config: Settings, data: Data) -> Stage:
    """The stage with the classes of its optimizer's ``sam_below``.

    Raises:
      InputError: as ``sharpened_classes``.
    """
    first = stage.optimizer.sam_below == config.optimizer.sam_below
    chosen = sharpened_classes(
        stage.optimizer, data.class_counts, f"config.{'optimizer' if first else 'second_stage_optimizer'}"
    )
    return stage if chosen is None else dataclasses.replace(stage, sharpened=chosen)


# settings of an optimizer without effect where it trains no stage, which must not go unnoticed
OF_TRAINING = ("name", "decay_norms_and_biases", "backbone_decay", "head_decay", "sam_rho", "sam_below", "ema_decay")


def check_used(config: Settings, stages: Sequence[AnyStage]) -> None:
    """Raises InputError for what config.second_stage_optimizer sets where no later stage is trained, but computed."""
    optimizer, later = config.second_stage_optimizer, trained(stages[1:])
    for name in OF_TRAINING if optimizer is not None else ():
        value, default = getattr(optimizer, name), getattr(StageOptimizer(), name)
        if value != default and not any(getattr(stage.optimizer, name) == value for stage in later):
            raise InputError(
                f"config.second_stage_optimizer.{name}: {value!r} is without effect: config.method={config.method} "
                f"with these settings trains no second stage with it; leave it at {default!r}"
            )


def check_whole_batch(stage: Stage, micro_batches: int) -> None:
    """Raises InputError if batches are to be split whose loss compares all their images."""
    if micro_batches > 1 and stage.whole_batch:
        raise InputError(
            f"config.micro_batches: {micro_batches}, but a batch of stage '{stage.name}' cannot be split: "
            f"{stage.whole_batch}; use 1 (config.model.remat=true also saves memory)"
        )


def check_norm_group(config: Settings) -> None:
    """Raises InputError unless config.model.norm_group divides the images that the network gets at a time."""
    group, part = config.model.norm_group, config.batch_size // config.micro_batches
    if group and part % group:
        what = "config.batch_size / config.micro_batches" if config.micro_batches > 1 else "config.batch_size"
        raise InputError(f"config.model.norm_group: {group} does not divide {what} = {part}; use a divisor, or 0")


def check_size(augment: str, data: Data, key: str = "config.data.augment") -> None:
    """Raises InputError, which begins with ``key``, unless training and evaluation images have the same size."""
    find_transform(augment, key)
    size, (height, width) = output_size(augment), data.image_shape[:2]
    if size and (height, width) != (size, size):
        if data.test.encoded is None:
            remedy = "use one that keeps the size, such as pad_crop_flip"
        else:
            chosen = width if size == DataSettings().image_size else size
            remedy = (
                f"write the word :image_size={chosen} behind the config file, which moves crop, resize and augmentation"
            )
        raise InputError(
            f"{key}: '{augment}' makes training images of {size} x {size} pixels, but evaluation images "
            f"have {width} x {height}; {remedy}"
        )


def _taken_over(key: Any, previous: Previous | None, features: Features) -> Start:
    """The first stage of a run with config.init_from: the final variables of the other run."""
    del key, features
    assert previous is not None
    return Start(previous.variables)


def check_classes(config: Settings, data: Data) -> None:
    """Raises InputError for class numbers, or a number of classes, that the data set does not have."""
    beyond = [c for c in config.watch_classes if c >= data.num_classes]
    if beyond:
        raise InputError(
            f"config.watch_classes: {data.name} has no class {beyond[0]}; give numbers from 0 to {data.num_classes - 1}"
        )
    if config.gradients.frequent_classes >= data.num_classes:
        raise InputError(
            f"config.gradients.frequent_classes: {config.gradients.frequent_classes} leaves none of the "
            f"{data.num_classes} classes of {data.name} as a rare one; use at most {data.num_classes - 1}"
        )


def check_steps(stage: Stage, steps: int, data: Data, config: Settings) -> None:
    """Raises InputError if a stage has more steps, or draws more images, than its counters hold."""
    if steps > LARGEST:
        most = LARGEST // steps_per_epoch(stage, config, data)
        raise InputError(
            f"the {stage.epochs} epochs of stage '{stage.name}' have {steps} steps, more than {LARGEST}; use at most "
            f"{most} epochs, or larger batches"
        )


def check_groups(settings: EvaluationSettings, data: Data) -> None:
    """Raises InputError if the data set has too few classes for config.evaluation.index_boundaries."""
    if settings.shots == "index" and max(settings.index_boundaries, default=0) > data.num_classes:
        raise InputError(
            f"config.evaluation.index_boundaries: {tuple(settings.index_boundaries)} is not possible: {data.name} has "
            f"{data.num_classes} classes; give two rising class indices up to {data.num_classes}"
        )
