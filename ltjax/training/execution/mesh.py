"""The mesh of all devices, and how arrays are put on it: batches are split, everything else is replicated.

With config.fsdp the mesh has a second axis, over which the state of training is split, too (``ltjax.models.sharding``).
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ltjax.errors import InputError
from ltjax.models import sharding

AXIS = "data"


def data_mesh() -> Mesh:
    """All devices of all processes on one axis."""
    return Mesh(np.asarray(jax.devices()), (AXIS,))


def shared_by(mesh: Mesh, devices: int) -> Mesh:
    """The mesh with an axis of ``devices`` (config.fsdp) that share the state of training; 1: the mesh as it is.

    Raises:
      InputError: if its devices are not made of groups of so many.
    """
    if devices == 1:
        return mesh
    if mesh.size % devices:
        fitting = ", ".join(str(d) for d in range(1, mesh.size + 1) if mesh.size % d == 0)
        raise InputError(f"config.fsdp: {devices} does not divide the number of devices, {mesh.size}; use {fitting}")
    return Mesh(mesh.devices.reshape(-1, devices), (AXIS, sharding.AXIS))


def shares_state(mesh: Mesh) -> bool:
    """Whether devices share the state of training."""
    return sharding.AXIS in mesh.axis_names


def _axes(mesh: Mesh) -> Any:
    """What a batch is split over: all devices."""
    return mesh.axis_names if shares_state(mesh) else AXIS


def platform(mesh: Mesh) -> str:
    """What the mesh's programs are compiled for: "cpu", "gpu" or "tpu". In a dry run not what this process runs on."""
    return mesh.devices.flat[0].platform


def replicated(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec())


def split(mesh: Mesh, leading: bool = False) -> NamedSharding:
    """The first axis over the devices; with ``leading`` the second one, after an axis of seeds."""
    return NamedSharding(mesh, PartitionSpec(None, _axes(mesh)) if leading else PartitionSpec(_axes(mesh)))


def of_state(tree: Any, mesh: Mesh) -> Any:
    """How each array of the state of training, or its shape, lies on the devices."""
    if not shares_state(mesh):
        return jax.tree.map(lambda x: replicated(mesh), tree)
    parts = mesh.shape[sharding.AXIS]
    return jax.tree.map(lambda x: NamedSharding(mesh, sharding.split_spec(np.shape(x), parts)), tree)


def by_share(function: Callable, mesh: Mesh, shared: int) -> Callable:
    """``function``, where each device computes its share of the results from its share of the last argument.

    Args:
      function: of ``shared`` replicated arguments and one [B, ...] that is split; its results are [B, ...].
      mesh: the devices.
      shared: the number of arguments before the split one.
    """
    whole, share = PartitionSpec(), PartitionSpec(_axes(mesh))
    return jax.shard_map(function, mesh=mesh, in_specs=(whole,) * shared + (share,), out_specs=share, check_vma=False)


def within(function: Callable, mesh: Mesh) -> Callable:
    """``function`` with a mesh of several devices set around it, so that layers know what their batch is split over."""
    if mesh.size == 1:
        return function

    def on_mesh(*arguments: Any) -> Any:
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return function(*arguments)

    return on_mesh


def check_batch(
    batch_size: int, epoch_size: int, mesh: Mesh, key: str = "config.batch_size", micro_batches: int = 1
) -> None:
    """Raises InputError unless every micro-batch divides over the devices and an epoch has at least one batch."""
    devices = mesh.size * micro_batches
    if batch_size > epoch_size:
        raise InputError(
            f"{key}: {batch_size} is larger than an epoch of {epoch_size} images; use at most {epoch_size}"
        )
    if batch_size % devices:
        below = batch_size // devices * devices
        sizes = " or ".join(str(s) for s in (below, below + devices) if s)
        times = f" times {micro_batches} micro-batches" if micro_batches > 1 else ""
        raise InputError(f"{key}: {batch_size} does not divide over {mesh.size} devices{times}; nearest sizes: {sizes}")


def put_split(batch: Any, mesh: Mesh, leading: bool = False) -> Any:
    """This process's share of the global batch -> global arrays, split over the devices."""
    sharding = split(mesh, leading)
    if jax.process_count() == 1:
        return jax.device_put(batch, sharding)
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, x), batch)


def put_replicated(tree: Any, mesh: Mesh) -> Any:
    """The same host values on every device of every process."""
    sharding = replicated(mesh)
    if jax.process_count() == 1:
        return jax.device_put(tree, sharding)
    return jax.tree.map(lambda x: jax.make_array_from_callback(np.shape(x), sharding, lambda i: np.asarray(x)[i]), tree)


def put_state(tree: Any, mesh: Mesh) -> Any:
    """The state of training from the host, as ``of_state`` has it."""
    if not shares_state(mesh):
        return put_replicated(tree, mesh)

    def put(x: Any, placed: NamedSharding) -> jax.Array:
        return jax.make_array_from_callback(np.shape(x), placed, lambda i: np.asarray(x)[i])

    return jax.tree.map(put, tree, of_state(tree, mesh))


def whole(tree: Any, mesh: Mesh) -> Any:
    """Arrays that devices may share, all of them on every device."""
    if not shares_state(mesh):
        return tree
    return jax.jit(lambda tree: tree, out_shardings=replicated(mesh))(tree)
