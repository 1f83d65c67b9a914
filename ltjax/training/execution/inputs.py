"""What a stage's streams draw from, and where it lies: the images, or their features by a frozen network."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import traverse_util

from ltjax.data import Data, Source
from ltjax.data.augment.registry import TRANSFORMS, find_transform, with_fast_decode
from ltjax.data.augment.transform import Transform, Transforms
from ltjax.data.dataset import feature_source
from ltjax.data.loading.device_batches import Resident
from ltjax.methods.stage import Stage
from ltjax.settings import Settings
from ltjax.training.execution import mesh as meshes
from ltjax.training.execution.placement import SHARE, Placed, device_memory
from ltjax.training.execution.seeds import seeds_of


class Inputs(NamedTuple):
    """All that a batch is made of beside the samplers.

    Attributes:
      sources: what the host reads, one for each seed.
      resident: the same on the devices; None where the host makes the batches.
      transform: the augmentation, or one for each stream.
      workers: processes that read, of all seeds together.
      first_seed: where each seed has its features in ``resident.images``, one seed's after the other's: the first of
        these seeds; None where all seeds share the images.
    """

    sources: Sequence[Source]
    resident: Resident | None
    transform: Transforms
    workers: int
    first_seed: int | None = None


def check_frozen(stage: Stage, image_shape: Any) -> None:
    """Raises ValueError if the stage trains on features while it changes the network that makes them."""
    if stage.representation is None:
        return

    def make() -> Any:
        return stage.representation.init(jax.random.key(0), jax.numpy.zeros((1, *image_shape), np.uint8), train=False)

    paths = traverse_util.flatten_dict(jax.eval_shape(make)["params"], sep="/")
    changed = [path for path in paths if stage.updates.trains(path)]
    if changed or stage.updates.norm != "frozen":
        raise ValueError(
            f"stage '{stage.name}': its representation must be frozen: updates.norm is '{stage.updates.norm}' (needed: "
            f"'frozen') and updates.trainable covers {len(changed)} of its parameters (needed: none)"
        )


def of_images(config: Settings, data: Data, placed: Placed | None, stage: Stage | None = None) -> Inputs:
    """The training images, augmented as the stage says: on the device if they were placed there."""
    resident = None if placed is None else placed.train
    return Inputs([data.train] * config.num_seeds, resident, transforms_of(config, stage), config.data.workers)


def transforms_of(config: Settings, stage: Stage | None = None) -> Transforms:
    """The augmentation of the stage's streams: config.data.augment, where the stage has no other."""

    def find(name: str) -> Transform:
        transform = find_transform(name)
        return with_fast_decode(transform) if config.data.fast_decode else transform

    if stage is None or not stage.augment:
        return find(config.data.augment)
    return {stream: find(stage.augment.get(stream, config.data.augment)) for stream in stage.streams}


def of_features(config: Settings, arrays: Sequence[np.ndarray], train: Source, mesh: Any) -> tuple[Inputs, str]:
    """Features float [N, d], one array for each seed, not augmented; and a line for the log that says where they lie.

    They go on the devices if they fit, by the rule for images. On a CPU memory-mapped features stay in their file.
    """
    need, mapped = sum(array.nbytes for array in arrays), any(isinstance(array, np.memmap) for array in arrays)
    memory, setting = device_memory(), config.data.on_device
    fits = need <= SHARE * memory
    wanted = setting == "yes" or (setting == "auto" and not (mapped and jax.default_backend() == "cpu"))
    sources = [feature_source(array, train) for array in arrays]
    inputs = Inputs(sources, None, TRANSFORMS["none"], workers=0)  # rows of memory or of one file: threads do
    where = "batches are made by the host from their file" if mapped else "batches are made by the host"
    if fits and wanted:
        rows = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
        resident = Resident(*meshes.put_replicated((rows, train.labels), mesh))
        first = seeds_of(config)[0] if len(arrays) > 1 else None
        inputs, where = inputs._replace(resident=resident, first_seed=first), "on the device"
    sizes = f"{need / 1e6:,.1f} MB, the device has {memory / 1e6:,.0f} MB"
    return inputs, f"features: {where} (config.data.on_device={setting}; {sizes})"
