"""The mesh of all devices, and how arrays are put on it: batches are split, everything else is replicated."""

import os
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ltjax.errors import InputError

AXIS = "data"


def several_processes() -> bool:
    """Whether this process was started as one of several: by JAX's own variables, a cluster's, or a TPU pod's."""
    counts = ("JAX_NUM_PROCESSES", "SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE")
    return any(int(os.environ.get(name) or 1) > 1 for name in counts) or "," in os.environ.get(
        "TPU_WORKER_HOSTNAMES", ""
    )


def join_processes() -> None:
    """Calls jax.distributed.initialize when there are several processes; once, before any device is touched."""
    if not several_processes():
        return
    if "JAX_NUM_PROCESSES" not in os.environ:  # jax reads the cluster's variables
        jax.distributed.initialize()
        return
    missing = [name for name in ("JAX_COORDINATOR_ADDRESS", "JAX_PROCESS_ID") if name not in os.environ]
    if missing:
        raise InputError(f"JAX_NUM_PROCESSES is set but {' and '.join(missing)} is not: set all three in each process")
    jax.distributed.initialize(
        os.environ["JAX_COORDINATOR_ADDRESS"],
        num_processes=int(os.environ["JAX_NUM_PROCESSES"]),
        process_id=int(os.environ["JAX_PROCESS_ID"]),
    )


def data_mesh() -> Mesh:
    """All devices of all processes on one axis."""
    return Mesh(np.asarray(jax.devices()), (AXIS,))


def platform(mesh: Mesh) -> str:
    """What the mesh's programs are compiled for: "cpu", "gpu" or "tpu". In a dry run not what this process runs on."""
    return mesh.devices.flat[0].platform


def replicated(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec())


def split(mesh: Mesh, leading: bool = False) -> NamedSharding:
    """The first axis over the devices; with ``leading`` the second one, after an axis of seeds."""
    return NamedSharding(mesh, PartitionSpec(None, AXIS) if leading else PartitionSpec(AXIS))


def by_share(function: Callable, mesh: Mesh, shared: int) -> Callable:
    """``function``, where each device computes its share of the results from its share of the last argument.

    Args:
      function: of ``shared`` replicated arguments and one [B, ...] that is split; its results are [B, ...].
      mesh: the devices.
      shared: the number of arguments before the split one.
    """
    whole, share = PartitionSpec(), PartitionSpec(AXIS)
    return jax.shard_map(function, mesh=mesh, in_specs=(whole,) * shared + (share,), out_specs=share, check_vma=False)


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
