"""GPUs as XLA's compiler asks for them: the text of its ``GpuTargetConfigProto``, for a machine without one.

Sources: NVIDIA's architecture whitepapers (A100, H100, Blackwell) for processors, units and caches; the table of
compute capabilities in the CUDA C++ Programming Guide for threads, registers and shared memory; nvidia-smi for memory.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ltjax.hardware.chips import GPUS, Chip

KIB, MIB = 2**10, 2**20


class Gpu(NamedTuple):
    """What the compiler asks about a GPU beside its memory's bandwidth.

    Attributes:
      chip: its peak rates.
      kind: ``device_kind`` in JAX.
      capability: CUDA's compute capability (major, minor).
      processors: multiprocessors. Each has four tensor cores.
      units: of a multiprocessor, for float32 and float64.
      integers: units of a multiprocessor for int32.
      clock, tensor_clock: boost clock in GHz, in general and where the published rate of the tensor cores is reached.
      tensor: bfloat16 multiplications and additions of a tensor core in a clock; float32 (as TF32) half as many.
      tensor64: the same, for float64.
      l2: bytes of the cache that all multiprocessors share.
      shared: KiB of shared memory of a multiprocessor; a block may use all but one.
      memory: MiB of memory.
      links: NVLinks.
    """

    chip: Chip
    kind: str
    capability: tuple[int, int]
    processors: int
    units: tuple[int, int]
    integers: int
    clock: float
    tensor_clock: float
    tensor: int
    tensor64: int
    l2: int
    shared: int
    memory: int
    links: int


def _hopper(name: str, kind: str, memory: int) -> Gpu:
    return Gpu(GPUS[name], kind, (9, 0), 132, (128, 64), 64, 1.98, 1.83, 512, 32, 50 * MIB, 228, memory, 18)


TARGETS: Mapping[str, Gpu] = {
    "a100": Gpu(
        GPUS["A100-SXM4-80GB"], "NVIDIA A100-SXM4-80GB", (8, 0), 108, (64, 32), 64, 1.41, 1.41, 256, 16, 40 * MIB, 164,
        81920, 12,
    ),
    "h100": _hopper("H100 80GB HBM3", "NVIDIA H100 80GB HBM3", 81559),
    "h200": _hopper("H200", "NVIDIA H200", 143771),
    "b200": Gpu(
        GPUS["B200"], "NVIDIA B200", (10, 0), 148, (128, 64), 128, 1.965, 1.855, 1024, 16, 126 * MIB, 228, 183359, 18,
    ),
}  # fmt: skip
# XLA's numbers of types: int8, int32, uint8, uint32, float16, float32, float64, bfloat16; float8 (E5M2, E4M3FN).
S8, S32, U8, U32, F16, F32, F64, BF16, F8 = 2, 4, 6, 8, 10, 11, 12, 16, (19, 20)


def target_config(gpu: Gpu) -> str:
    """The text for ``get_topology_desc(target_config=...)``: fields that jax 0.10 to 0.12 know."""
    major, minor = gpu.capability
    own = " feature_extension: ACCELERATED_FEATURES" if major >= 9 else ""  # instructions of this generation only
    version = f"{major}.{minor}{'a' if own else ''}"
    single, double = gpu.units
    scalar = [(S32, gpu.integers, 1), (U32, gpu.integers, 1), (F16, single, 2), (F32, single, 1), (F64, double, 1)]
    tensor, double = gpu.tensor, gpu.tensor64
    eight_bits = [S8, U8, *(F8 if major >= 9 else ())]
    matrix = [(F16, 4, tensor), (BF16, 4, tensor), (F32, 4, tensor // 2), (F64, 4, double)]
    matrix += [(kind, 4, 2 * tensor) for kind in eight_bits]
    return f"""\
gpu_device_info {{
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: {48 * KIB}
  shared_memory_per_core: {gpu.shared * KIB}
  shared_memory_per_block_optin: {(gpu.shared - 1) * KIB}
  threads_per_core_limit: 2048
  core_count: {gpu.processors}
  fpus_per_core: {single}
  block_dim_limit_x: {2**31 - 1}
  block_dim_limit_y: {2**16 - 1}
  block_dim_limit_z: {2**16 - 1}
  thread_dim_limit_x: 1024
  thread_dim_limit_y: 1024
  thread_dim_limit_z: 64
  registers_per_core_limit: {64 * KIB}
  registers_per_block_limit: {64 * KIB}
  memory_bandwidth: {int(gpu.chip.bandwidth)}
  l2_cache_size: {gpu.l2}
  clock_rate_ghz: {gpu.clock}
  device_memory_size: {gpu.memory * MIB}
  cuda_compute_capability {{ major: {major} minor: {minor}{own} }}
  scalar_unit_description {{ {_rates([*scalar, (BF16, single, 2)], gpu.clock)} }}
  matrix_unit_description {{ {_rates(matrix, gpu.tensor_clock)} }}
  device_vendor: "NVIDIA Corporation"
  platform_version: "Compute Capability {version}"
  device_address_bits: 64
  pcie_bandwidth: {2**35 if major < 10 else 2**36}
  ecc_enabled: true
  name: "{gpu.kind}"
  driver_version: "13.0.0"
  runtime_version: "13.0.0"
  compile_time_toolkit_version: "13.0.0"
  dnn_version: "9.10.0"
  device_interconnect_info {{ active_links: {gpu.links} }}
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 10 patch: 0 }}
device_description_str: "{gpu.kind}"
"""


def _rates(units: Sequence[tuple[int, int, int]], clock: float) -> str:
    """Type, number of units in a multiprocessor, operations of each in a clock."""
    rate = "rate_infos {{ key: {} value {{ clock_rate_ghz: {} units_per_core: {} ops_per_clock: {} }} }}"
    return " ".join(rate.format(kind, clock, number, operations) for kind, number, operations in units)
