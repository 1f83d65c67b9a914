"""The devices that a dry run compiles for: a TPU slice, GPUs, the devices of this machine, or simulated CPU devices.

``prepare`` sets the environment before JAX starts; ``open_slice`` then starts JAX.
"""

import importlib.metadata
import importlib.util
import os
from typing import Any, NamedTuple

from ltjax.errors import InputError
from ltjax.hardware import chips
from ltjax.hardware.chips import Chip
from ltjax.hardware.gpus import TARGETS, target_config
from ltjax.training.execution.devices import check_xla_flags

LOCAL = "local"
# Without a metadata server, without waiting for other workers, and with other dry runs at the same time; the last one
# only suppresses a warning of libtpu.
COMPILE_ONLY = {
    "JAX_PLATFORMS": "cpu",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-16",
}
# Nor for GPUs: the plugin reports on stderr that it finds no driver.
COMPILE_ONLY_GPU = {"JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "2"}
# Name of JAX's CUDA packages. Of each are needed NAME-plugin and NAME-pjrt, in the version of jaxlib.
CUDA = ("jax-cuda12", "jax-cuda13")
JAX_SHARE = "XLA_PYTHON_CLIENT_MEM_FRACTION"  # of a GPU's memory, that JAX takes; 0.75 if not set


class Slice(NamedTuple):
    """The target of a dry run.

    Attributes:
      topology: the value of --topology.
      chip: the chip's data; None for CPUs and unknown GPUs.
      name: name of the devices.
      mesh: mesh of all devices.
      hosts: number of machines.
      memory: bytes that a program may use on one device.
      compiler: name and version.
    """

    topology: str
    chip: Chip | None
    name: str
    mesh: Any
    hosts: int
    memory: int
    compiler: str

    @property
    def chips(self) -> int:
        return self.mesh.size


def prepare(topology: str) -> None:
    """Checks the topology and sets the environment for it; JAX must not have started.

    Raises:
      InputError: for an unknown topology, or when the compiler for it is not installed.
    """
    check_xla_flags()
    if topology == LOCAL:
        return
    if topology.startswith("cpu:"):
        from ltjax.training.execution.cpu_flags import prepare_cpu

        flag = f"--xla_force_host_platform_device_count={_cpus(topology)}"
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flag}".strip()
        os.environ["JAX_PLATFORMS"] = "cpu"
        prepare_cpu()
        return
    if chips.of_gpus(topology):
        _gpu_compiler()
        os.environ.update(COMPILE_ONLY_GPU)
        return
    chips.find(topology)
    if importlib.util.find_spec("libtpu") is None:
        raise InputError(f"--topology={topology}: the TPU compiler is not installed: pip install 'ltjax[tpu]'")
    os.environ.update(COMPILE_ONLY)


def _gpu_compiler() -> str:
    """Name and version of XLA's compiler for GPUs, a plugin of JAX.

    Raises:
      InputError: if it is not installed, or not for this jaxlib.
    """
    jaxlib, install = importlib.metadata.version("jaxlib"), "pip install 'ltjax[gpu-compiler]'"
    for name in CUDA:
        found = {part: _version(f"{name}-{part}") for part in ("plugin", "pjrt")}
        if not all(found.values()):
            continue
        for part, version in found.items():
            if version != jaxlib:
                raise InputError(
                    f"--topology: the GPU compiler {name}-{part} {version} is not the one of jaxlib {jaxlib}; install "
                    f"the one that is: {install}"
                )
        return f"XLA:GPU of {name}-pjrt {found['pjrt']}"
    raise InputError(f"--topology: the compiler for GPUs is not installed: {install}")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpus(topology: str) -> int:
    count = topology.partition(":")[2]
    if not count.isdigit() or not 1 <= int(count) <= 4096:
        raise InputError(f"--topology: impossible value '{topology}'; allowed: cpu:N with N from 1 to 4096 devices")
    return int(count)


def open_slice(topology: str) -> Slice:
    """The devices of a topology, after ``prepare`` with the same one.

    Raises:
      InputError: if no topology is given on a machine without an accelerator.
    """
    import jax

    from ltjax.training.execution import mesh as meshes
    from ltjax.training.execution.placement import device_memory

    if topology == LOCAL or topology.startswith("cpu:"):
        mesh = meshes.data_mesh()
        kind = jax.devices()[0].device_kind
        if topology == LOCAL and meshes.platform(mesh) == "cpu":
            raise InputError(
                "--topology is missing, and this machine has no accelerator: give a slice of TPUs to compile for, "
                f"such as --topology=v5e:4x4, or GPUs, such as --topology=h200:1; known: {chips.known()}; or cpu:N"
            )
        chip = chips.of_kind(kind)
        compiler = f"XLA of jaxlib {importlib.metadata.version('jaxlib')}"
        return Slice(topology, chip, chip.name if chip else kind, mesh, jax.process_count(), device_memory(), compiler)

    import numpy as np
    from jax.experimental import topologies
    from jax.sharding import Mesh

    if gpus := chips.of_gpus(topology):
        name, number = gpus
        gpu = TARGETS[name]
        devices: Any = topologies.get_topology_desc(
            topology_name="", platform="cuda", target_config=target_config(gpu), topology=f"1x1x{number}"
        ).devices
        mesh = Mesh(np.asarray(devices), (meshes.AXIS,))
        memory = int(gpu.chip.memory * float(os.environ.get(JAX_SHARE) or 0.75))
        return Slice(topology, gpu.chip, f"NVIDIA {gpu.chip.name}", mesh, 1, memory, _gpu_compiler())

    slices, sides = chips.find(topology)
    bounds = {"chips_per_host_bounds": (1, 1, 1)} if set(sides) == {1} else {}
    devices = topologies.get_topology_desc(topology_name=topology, platform="tpu", **slices.options, **bounds).devices
    hosts = len({device.process_index for device in devices})
    mesh = Mesh(np.asarray(devices), (meshes.AXIS,))
    version = importlib.metadata.version("libtpu")
    return Slice(topology, slices.chip, slices.chip.name, mesh, hosts, slices.chip.memory, f"libtpu {version}")
