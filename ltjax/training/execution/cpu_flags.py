"""Compiler and memory settings for CPUs. Only the commands set them, before JAX starts; the user's settings win."""

import ctypes
import glob
import importlib.metadata
import os
import sys

YNN, BARRIERS, LEVEL = (
    "--xla_cpu_experimental_ynn_fusion_type",  # what YNNPACK computes
    "--xla_disable_hlo_passes",
    "--xla_backend_optimization_level",
)
# A network's init compiles in a third to a fifth of the time, and steps are as fast: a library computes products and
# convolutions, memory limits the rest.
FAST_COMPILE = {LEVEL: "1"}
# Products and reductions. 0.10 would leave them to slower code; 0.11 and 0.12 would also take weight gradients, whose
# windows are as large as the image: a ResNet-32's step then takes 1.6 to 1.9 times as long.
PRODUCTS_AND_SUMS = {YNN: "dot,reduce"}
# Keeps the barriers of ltjax.models.conv, which XLA's CPU compiler drops otherwise. Later compilers gain nothing
# from them.
KEPT_BARRIERS = {BARRIERS: "cse_barrier_expander"}

# Versions of jaxlib -> flag -> value, as measured with that version. XLA aborts on a flag that it does not know, so a
# version that is not here gets none.
CPU_FLAGS = {
    (0, 10): PRODUCTS_AND_SUMS | KEPT_BARRIERS | FAST_COMPILE,
    (0, 11): PRODUCTS_AND_SUMS | FAST_COMPILE,
    (0, 12): PRODUCTS_AND_SUMS | FAST_COMPILE,
}

# mallopt parameters: glibc never returns freed memory to the system, and never uses mmap, which would return it. One
# arena: that of another thread, such as XLA's, holds at most 64 MB and takes the memory of a whole step by mmap.
KEEP_MEMORY = {-4: 0, -1: 2**31 - 1, -8: 1}  # M_MMAP_MAX, M_TRIM_THRESHOLD, M_ARENA_MAX
MEMORY_VARIABLES = (
    "MALLOC_MMAP_MAX_",
    "MALLOC_TRIM_THRESHOLD_",
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_ARENA_MAX",
    "GLIBC_TUNABLES",
)

# Files of a driver -> JAX's plugins for its GPUs. The second is NVIDIA's within WSL.
GPUS = {
    ("/dev/nvidia[0-9]*", "/dev/dxg"): ("jax-cuda12-plugin", "jax-cuda13-plugin"),
    ("/dev/kfd",): ("jax-rocm60-plugin", "jax-rocm7-plugin"),
}


def prepare_cpu() -> None:
    """Sets the flags if the devices will be CPUs: 1.4x and again 1.3x faster training of a ResNet-32.

    It also lets the process keep the memory that a step frees and the next one would get page by page: 1.2x faster
    training of a ResNet-32.
    """
    platforms, flags = os.environ.get("JAX_PLATFORMS", ""), os.environ.get("XLA_FLAGS", "")
    if platforms not in ("", "cpu") or has_accelerator():
        return
    if any(installed(name) for plugins in GPUS.values() for name in plugins):
        _only_cpu()
    own = [flag.partition("=")[0] for flag in flags.split()]
    added = [
        f"{name}={value}" for name, value in flags_of(importlib.metadata.version("jaxlib")).items() if name not in own
    ]
    if added:
        os.environ["XLA_FLAGS"] = " ".join([flags, *added]).strip()
    if not any(name in os.environ for name in MEMORY_VARIABLES):
        _keep_memory()


def _only_cpu() -> None:
    """JAX then starts no plugin: that for a GPU prints a trace where it finds none."""
    os.environ["JAX_PLATFORMS"] = "cpu"
    if "jax" in sys.modules:  # which has read the variable, but started nothing yet
        sys.modules["jax"].config.update("jax_platforms", "cpu")


def flags_of(version: str) -> dict[str, str]:
    """The flags for a version of jaxlib; none for one that was not measured.

    Example:
      >>> flags_of("0.12.0.1"), flags_of("0.13.0")
      ({'--xla_cpu_experimental_ynn_fusion_type': 'dot,reduce', '--xla_backend_optimization_level': '1'}, {})
    """
    major, minor = (*version.split(".")[:2], "")[:2]
    return CPU_FLAGS.get((int(major), int(minor)), {}) if major.isdigit() and minor.isdigit() else {}


def _keep_memory() -> None:
    """Does nothing if the C library is not glibc."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for name, value in KEEP_MEMORY.items():
            mallopt(name, value)


def has_accelerator() -> bool:
    """Whether the system has an accelerator, and JAX's plugin for it; asking for the devices would start JAX.

    A plugin alone is no sign of one: dry runs need those of GPUs and TPUs on other machines.
    """
    gpu = any(_has_device(files) and any(installed(name) for name in plugins) for files, plugins in GPUS.items())
    return gpu or has_usable_tpu()


def _has_device(patterns: tuple[str, ...]) -> bool:
    return any(glob.glob(pattern) for pattern in patterns)


def has_usable_tpu() -> bool:
    """Whether the system has a TPU, and libtpu is installed."""
    return installed("libtpu") and _has_tpu()


def _has_tpu() -> bool:
    """Whether the system has a TPU: up to v4 as /dev/accel0, later ones as /dev/vfio/0."""
    return _has_device(("/dev/accel[0-9]*", "/dev/vfio/[0-9]*"))


def installed(name: str) -> bool:
    """Whether a Python package of this name is installed."""
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
