"""Decides whether the data set is kept on the device, and puts it there."""

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils

from ltjax.data import Data
from ltjax.data.augment.registry import find_transform
from ltjax.data.loading.device_batches import Resident, image_bytes, lies_in_memory, read_all
from ltjax.errors import InputError
from ltjax.methods.stage import AnyStage, trained
from ltjax.settings import Settings
from ltjax.training.execution import mesh as meshes

SHARE = 0.25  # of a device's memory that the images may take


class Placed(NamedTuple):
    """The images on every device."""

    train: Resident
    test: Resident


def device_memory() -> int:
    """Bytes of memory of a device, for a CPU its share of the machine's; the minimum over all processes."""
    stats = jax.local_devices()[0].memory_stats() or {}
    shared = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // jax.local_device_count()
    here = np.int64(stats.get("bytes_limit") or shared)
    if jax.process_count() == 1:
        return int(here)
    megabytes = multihost_utils.process_allgather(np.int32(here // 2**20))  # all must decide alike
    return int(np.min(megabytes)) * 2**20


def decide(setting: str, data: Data, memory: int, any_size: str = "") -> tuple[bool, str]:
    """(whether the images are kept on the device, a log line with the reason); ``setting`` is config.data.on_device.

    ``any_size`` is the augmentation that starts from stored images of any size, which only the host does; "" = none.

    Raises:
      InputError: if the setting is "yes" and they do not fit.
    """
    need = sum(image_bytes(source, data.image_shape) for source in (data.train, data.test))
    sizes = f"{need / 1e6:,.1f} MB of images, the device has {memory / 1e6:,.0f} MB"
    if setting == "no":
        return False, f"data: batches are made by the host (config.data.on_device=no; {sizes})"
    if any_size and setting == "yes":
        raise InputError(
            f"config.data.on_device: yes, but the augmentation {any_size} crops images of any size, which only the "
            "host does; use auto or no"
        )
    if any_size:
        return False, f"data: batches are made by the host (auto: the augmentation {any_size} crops images of any size)"
    fits = need <= SHARE * memory
    if setting == "yes":
        if not fits:
            raise InputError(
                f"config.data.on_device: yes, but {sizes}, of which they may take {SHARE:.0%}; use auto or no"
            )
        return True, f"data: on the device (config.data.on_device=yes; {sizes})"
    if not (lies_in_memory(data.train) and lies_in_memory(data.test)):
        return False, "data: batches are made by the host (auto: the images are read one by one, from files)"
    if not fits:
        return False, f"data: batches are made by the host (auto: {sizes}, of which they may take {SHARE:.0%})"
    return True, f"data: on the device (auto: {sizes})"


def of_any_size(config: Settings, stages: Sequence[AnyStage]) -> str:
    """The first augmentation of the stages that starts from images of any size; "" = none."""
    views = [name for stage in trained(stages) for name in stage.augment.values()]
    return next((name for name in (config.data.augment, *views) if find_transform(name).cut is not None), "")


def place(config: Settings, data: Data, mesh: Any, stages: Sequence[AnyStage]) -> tuple[Placed | None, str]:
    """The images on every device, or None where the host makes the batches; and a line for the log."""
    on_device, why = decide(config.data.on_device, data, device_memory(), of_any_size(config, stages))
    if not on_device:
        ignored = f"; steps_per_call={config.steps_per_call} is ignored: a call is one step"
        return None, why + (ignored if config.steps_per_call > 1 else "")
    placed = Placed(*(Resident(*meshes.put_replicated(read_all(s), mesh)) for s in (data.train, data.test)))
    return placed, why
