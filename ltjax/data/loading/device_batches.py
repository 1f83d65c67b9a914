"""A small data set on the device: batches are drawn, gathered and augmented inside the jitted program.

This is the only file of ``ltjax.data`` that loads jax. Records, pixels and labels equal those of the host's batches
(``host_batches.py``) at the same steps, because samplers and transforms are written once, over the array namespace that
they are given.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ltjax.data.augment.transform import Transforms, of_stream
from ltjax.data.dataset import ArrayReader, Source
from ltjax.data.sampling.counter_rng import Array, Ops, Words, name_id
from ltjax.data.sampling.sampler import Sampler, Tables, order_of


def _without_loops_on_gpus(looping: Callable[[], jax.Array], straight: Callable[[], jax.Array]) -> jax.Array:
    """A loop inside the loop over steps would make a GPU wait for the host, or need nested graphs."""
    return jax.lax.platform_dependent(cuda=straight, rocm=straight, default=looping)


def _rolled_on_cpus(looping: Callable[[], Words], straight: Callable[[], Words]) -> Words:
    """On a CPU, XLA would put a draw into the loop over the pixels that depend on it.

    It would be made again for each pixel, and LLVM's loop vectorizer follows all paths through it: twice as many with
    each operation of the generator, so that a program compiles for minutes. A loop is never put into another one.
    """
    return jax.lax.platform_dependent(cpu=looping, default=straight)


DEVICE = Ops(jnp, jax.lax.while_loop, _without_loops_on_gpus, roll=_rolled_on_cpus)
CHUNK = 1024  # records of a source that are read at once


class Resident(NamedTuple):
    """A whole source as two arrays, in numpy until they are put on the device; arguments of the step, no constants."""

    images: Array  # uint8 [N, H, W, C]; or features, float [N, d]; those of several seeds concatenated, [S * N, d]
    labels: Array  # int32 [N]


def lies_in_memory(source: Source) -> bool:
    """Whether the images are already an array on the host, so that they need not be read."""
    return isinstance(source.read, ArrayReader)


def image_bytes(source: Source, image_shape: tuple[int, int, int]) -> int:
    """The size of the images of ``source`` in bytes, as uint8."""
    return len(source) * int(np.prod(image_shape))


def read_all(source: Source) -> Resident:
    """All images of a source, in record order, on the host.

    Raises:
      InputError: for an image that cannot be read, or has another shape; it names record and index.

    Example:
      >>> from ltjax.data.dataset import array_source
      >>> source = array_source(np.zeros((6, 8, 8, 3), np.uint8), labels=[0, 0, 0, 1, 1, 2], index=range(6))
      >>> read_all(source).images.shape
      (6, 8, 8, 3)
    """
    if isinstance(source.read, ArrayReader):
        return Resident(source.read.images, source.labels)
    records = np.arange(len(source))
    parts = [source.images(records[i : i + CHUNK]) for i in range(0, len(records), CHUNK)]
    return Resident(np.concatenate(parts), source.labels)


def train_batch(
    resident: Resident,
    samplers: Mapping[str, Sampler],
    tables: Mapping[str, Tables],
    transform: Transforms,
    seed: jax.Array,
    epoch: jax.Array,
    offset: jax.Array,
    row: jax.Array | None = None,
) -> dict[str, dict[str, jax.Array]]:
    """The batch of every stream at the positions ``offset`` of an epoch.

    Args:
      resident: the training set.
      samplers: stream name -> sampler.
      tables: stream name -> tables of its sampler.
      transform: the augmentation, or one for each stream.
      seed, epoch: uint32 scalars; these and all arrays may be traced.
      offset: uint32 [B], positions in the epoch.
      row: the row of ``resident.images`` with record 0; None: row 0.

    Returns:
      {stream: {"image": uint8 [B, H, W, C], "label": int32 [B], "index": int32 [B] (record)}}

    Example:
      >>> from ltjax.data.sampling.epoch_shuffle import instance_balanced
      >>> from ltjax.data.augment.registry import TRANSFORMS
      >>> resident = Resident(jnp.zeros((6, 8, 8, 3), jnp.uint8), jnp.array([0, 0, 0, 1, 1, 2]))
      >>> sampler = instance_balanced()
      >>> batch = train_batch(
      ...     resident, {"image": sampler}, {"image": sampler.tables(np.zeros(6, int), 3)}, TRANSFORMS["pad_crop_flip"],
      ...     seed=jnp.uint32(0), epoch=jnp.uint32(0), offset=jnp.arange(6, dtype=jnp.uint32))
      >>> batch["image"]["index"].tolist()
      [3, 0, 1, 5, 4, 2]
    """
    batch, ops = {}, dataclasses.replace(DEVICE, records=len(resident.labels))
    for name, sampler in samplers.items():
        of_images = of_stream(transform, name)
        records = sampler.draw(tables[name], seed, order_of(name, sampler), epoch, offset, ops=ops)
        draws = of_images.draw(seed, name_id(name), epoch, offset, ops=ops)
        rows = records if row is None else records + row
        images = of_images.apply(resident.images[rows], draws, ops=ops)
        batch[name] = {"image": images, "label": resident.labels[records], "index": records}
    return batch


def evaluation_batch(resident: Resident, slots: jax.Array) -> dict[str, jax.Array]:
    """The records ``slots`` int32 [B], without augmentation; slots beyond the last record are blank and masked out.

    Returns:
      {"image": uint8 [B, H, W, C] or features float [B, d], "label": int32 [B], "mask": bool [B]}
    """
    mask = slots < len(resident.labels)
    readable = jnp.where(mask, slots, 0)
    stored = resident.images
    images = jnp.where(mask.reshape(-1, *[1] * (stored.ndim - 1)), stored[readable], jnp.zeros((), stored.dtype))
    return {"image": images, "label": jnp.where(mask, resident.labels[readable], 0), "mask": mask}
