"""Compiler settings for CPUs: set by the commands only, before JAX starts, never over the user's own."""

import glob
import importlib.metadata
import os

# name -> value. The first lets XLA fuse products and reductions through YNNPACK where it can; the second keeps the
# barriers of ltjax.models.conv, which its CPU compiler drops otherwise.
CPU_FLAGS = {
    "--xla_cpu_experimental_ynn_fusion_type": "dot,reduce",
    "--xla_disable_hlo_passes": "cse_barrier_expander",
}
# The versions of jaxlib known to have them: XLA aborts on a flag that it does not know.
KNOWN = ((0, 10, 0), (0, 10, 99))


def prepare_cpu() -> None:
    """Sets the flags, where the devices will be CPUs: 1.4x and again 1.3x in training a ResNet-32."""
    platforms, own = os.environ.get("JAX_PLATFORMS", ""), os.environ.get("XLA_FLAGS", "")
    if platforms not in ("", "cpu") or _has_accelerator():
        return
    version = tuple(int(part) for part in importlib.metadata.version("jaxlib").split(".")[:3] if part.isdigit())
    if KNOWN[0] <= version <= KNOWN[1]:
        added = [f"{name}={value}" for name, value in CPU_FLAGS.items() if name not in own]
        os.environ["XLA_FLAGS"] = " ".join([own, *added]).strip()


def _has_accelerator() -> bool:
    """Whether one of JAX's accelerator plugins is installed; looking at the devices would start JAX.

    libtpu alone says nothing: dry runs need it on machines that have no TPU.
    """
    plugins = ("jax-cuda12-plugin", "jax-cuda13-plugin", "jax-rocm60-plugin")
    return any(_installed(name) for name in plugins) or (_installed("libtpu") and _has_tpu())


def _has_tpu() -> bool:
    """Whether the system shows a chip: up to v4 as /dev/accel0, later ones as /dev/vfio/0."""
    return any(glob.glob(pattern) for pattern in ("/dev/accel[0-9]*", "/dev/vfio/[0-9]*"))


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
