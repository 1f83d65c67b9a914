"""XLA's options for the programs of a GPU, as ``jax.jit`` takes them: a whole call is one CUDA graph.

A step of ResNet-32 is hundreds of kernels of a few microseconds each. Launched one by one, the host is slower than the
GPU; as a graph they are launched at once. The user's own ``XLA_FLAGS`` win, option by option.
"""

import os
from typing import TypeAlias

import jaxlib.version
from jax.sharding import Mesh

from ltjax.training.execution import mesh as meshes

Options: TypeAlias = dict[str, str | int]

COMMANDS = "xla_gpu_enable_command_buffer"
# What a graph may hold on any number of devices. XLA's own default lacks CONVOLUTION (and WHILE): most of our kernels.
IN_GRAPHS = (
    "FUSION",
    "CUBLAS",
    "CUBLASLT",
    "CUDNN",
    "CUSTOM_CALL",
    "CONDITIONAL",
    "DYNAMIC_SLICE_FUSION",
    "CONVOLUTION",
)
LOOPS = "WHILE"  # the loop over steps, too: a call is one graph. NCCL's collectives fail inside a graph's loop.
LAUNCH: Options = {"xla_gpu_graph_min_graph_size": 1}  # kernels; the default leaves shorter sequences to the host
# In which order a graph's kernels run. Side by side: each as soon as what it reads is there. XLA then lets two arrays
# share memory only if the kernels of one need the other's results. A block that remat computes again needs no result of
# the block before it, so that all of them would be kept at once. In order: as XLA sorts them, one after the other.
MODE = "xla_gpu_command_buffer_scheduling_mode"
SIDE_BY_SIDE: Options = {MODE: "CONCURRENT"}
IN_ORDER: Options = {MODE: "LHS"}
# The versions of jaxlib known to have these options and commands: a compilation fails on an option that XLA lacks.
KNOWN = ((0, 10, 0), (0, 12, 99))


def compiler_options(mesh: Mesh, cuda_graphs: str = "auto", spare_memory: bool = False) -> Options:
    """The options for programs on these devices; none on CPUs, TPUs and AMD's GPUs, or for an unknown jaxlib.

    Args:
      mesh: the devices.
      cuda_graphs: "auto": everything in graphs, with the loop over steps on one device and without it on several;
        "yes": with that loop on any number of devices; "no": no graphs at all.
      spare_memory: whether the kernels of a graph run one after the other, so that their arrays take the least memory;
        otherwise those that do not depend on each other run at the same time.
    """
    if not _is_cuda(mesh) or not KNOWN[0] <= jaxlib.version.__version_info__ <= KNOWN[1]:
        return {}
    commands = IN_GRAPHS if mesh.size > 1 and cuda_graphs == "auto" else (*IN_GRAPHS, LOOPS)
    order = IN_ORDER if spare_memory else SIDE_BY_SIDE
    options: Options = {COMMANDS: ""} if cuda_graphs == "no" else {COMMANDS: ",".join(commands), **LAUNCH, **order}
    chosen_by_user = os.environ.get("XLA_FLAGS", "")
    return {name: value for name, value in options.items() if f"--{name}" not in chosen_by_user}


def _is_cuda(mesh: Mesh) -> bool:
    return meshes.platform(mesh) == "gpu" and "rocm" not in mesh.devices.flat[0].client.platform_version.lower()
