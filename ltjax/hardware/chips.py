"""Known chips with the peak rates that their makers publish, and the available TPU slices."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from ltjax.errors import InputError, did_you_mean

GIB = 2**30


class Chip(NamedTuple):
    """One chip.

    Attributes:
      name: the common name.
      flops: dtype of the computation -> peak FLOP/s of matrix products.
      memory: bytes that a program may use.
      bandwidth: bytes/s between memory and chip.
      interconnect: bytes/s that one chip sends to the others of its slice or machine, over all of its links.
      source: where the numbers are published.
    """

    name: str
    flops: Mapping[str, float]
    memory: int
    bandwidth: float
    interconnect: float
    source: str


class Slices(NamedTuple):
    """The slices of one generation of TPUs.

    Attributes:
      chip: their chip. ``memory`` is what a program may use by the compiler of libtpu 0.0.42: the makers' number less
        what the system reserves.
      shapes: the available shapes.
      most: chips in the largest slice whose sides are multiples of 4, for three-dimensional interconnects.
      options: of ``get_topology_desc``.
    """

    chip: Chip
    shapes: tuple[str, ...]
    most: int = 0
    options: Mapping[str, Any] = {}


FLAT = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
DEEP = ("2x2x1", "2x2x2", "2x2x4", "2x4x4")
DOCS = "https://cloud.google.com/tpu/docs/"


def _tpu(name: str, tera: float, gib: float, gigabytes: float, one_way: float, source: str) -> Chip:
    # JAX's default precision multiplies float32 as bfloat16, at that speed; the makers publish no other number.
    peak = tera * 1e12
    flops = {"bfloat16": peak, "float32": peak}
    return Chip(name, flops, int(gib * GIB), gigabytes * 1e9, one_way * 1e9, source)


# The makers' "bidirectional" bandwidth is twice what a chip sends. A chip of v4 or v5p has two cores that work as one
# device ("megacore"), as they do in a pod by default.
TPUS = {
    "v4": Slices(
        _tpu("TPU v4", 275, 30.75, 1200, 300, DOCS + "v4; links: Jouppi et al., TPU v4, ISCA 2023 (6 of 50 GB/s)"),
        DEEP, 4096, {"chip_config_name": "megacore"},
    ),
    "v5e": Slices(_tpu("TPU v5e", 197, 15.75, 819, 200, DOCS + "v5e"), FLAT),
    "v5p": Slices(_tpu("TPU v5p", 459, 95.74, 2765, 600, DOCS + "v5p"), DEEP, 6144),
    "v6e": Slices(_tpu("TPU v6e", 918, 31.25, 1638, 400, DOCS + "v6e"), FLAT),
}  # fmt: skip
# ``device_kind`` in JAX -> generation.
TPU_KINDS = {"TPU v4": "v4", "TPU v5 lite": "v5e", "TPU v5": "v5p", "TPU v6 lite": "v6e"}


def _gpu(name: str, bfloat16: float, tf32: float, gigabytes: float, terabytes: float, one_way: float) -> Chip:
    # JAX's default precision multiplies float32 as TF32. Dense products, SXM modules, NVLink within one machine.
    flops = {"bfloat16": bfloat16 * 1e12, "float32": tf32 * 1e12}
    source = f"NVIDIA's data sheet of the {name} SXM"
    return Chip(name, flops, int(gigabytes * 1e9), terabytes * 1e12, one_way * 1e9, source)


GPUS = {
    "A100-SXM4-80GB": _gpu("A100 80GB", 312, 156, 80, 2.039, 300),
    "H100 80GB HBM3": _gpu("H100", 989.4, 494.7, 80, 3.35, 450),
    "H200": _gpu("H200", 989.4, 494.7, 141, 4.8, 450),
    "B200": _gpu("B200", 2250, 1125, 180, 8.0, 900),  # an eighth of the data sheet of the DGX B200
}


def of_kind(kind: str) -> Chip | None:
    """The chip that JAX calls ``kind`` (``device.device_kind``), if it is a known one.

    Example:
      >>> of_kind("NVIDIA H100 80GB HBM3").name, of_kind("TPU v5 lite").name, of_kind("NVIDIA GeForce RTX 4090")
      ('H100', 'TPU v5e', None)
    """
    if kind in TPU_KINDS:
        return TPUS[TPU_KINDS[kind]].chip
    return next((chip for name, chip in GPUS.items() if kind.endswith(name)), None)


MACHINE = 8  # GPUs of one machine
MACHINES = {
    "a100": "A100-SXM4-80GB",
    "h100": "H100 80GB HBM3",
    "h200": "H200",
    "b200": "B200",
}  # --topology -> ``GPUS``


def of_gpus(topology: str) -> tuple[str, int] | None:
    """(name, number) of a topology of GPUs in one machine, as in ``MACHINES``; None for TPUs.

    Raises:
      InputError: for an impossible number.

    Example:
      >>> of_gpus("h200:8"), of_gpus("v5e:4x4")
      (('h200', 8), None)
    """
    name, _, number = topology.partition(":")
    if name not in MACHINES:
        return None
    if not re.fullmatch("[0-9]+", number) or not 1 <= int(number) <= MACHINE:
        raise InputError(
            f"--topology: impossible '{topology}'; allowed: {name}:1 to {name}:{MACHINE} (GPUs of one machine)"
        )
    return name, int(number)


def known() -> str:
    """The topologies in one line."""
    cubes = "AxBxC with A <= B <= C multiples of 4"
    slices = [
        f"{name}:{', '.join(s.shapes)}{f', {cubes}, to {s.most} chips' if s.most else ''}" for name, s in TPUS.items()
    ]
    return "; ".join([*slices, f"{', '.join(MACHINES)}:1 to :{MACHINE} (GPUs of one machine)"])


def find(topology: str) -> tuple[Slices, tuple[int, ...]]:
    """The slices of a topology's generation, and its sides.

    Raises:
      InputError: for an unknown one; the message lists the known ones.

    Example:
      >>> slices, sides = find("v4:4x4x8")
      >>> slices.chip.name, sides
      ('TPU v4', (4, 4, 8))
    """
    name, _, shape = topology.partition(":")
    if name not in TPUS:
        hint = did_you_mean(name, [*TPUS, *MACHINES])
        raise InputError(f"--topology: unknown '{topology}'{hint}; known: {known()}; local (the devices here); cpu:N")
    slices = TPUS[name]
    sides = tuple(int(side) for side in shape.split("x")) if re.fullmatch(r"\d+(x\d+)*", shape) else ()
    if shape not in slices.shapes and not _is_cubes(sides, slices.most):
        raise InputError(f"--topology: {name} has no slice '{shape}'; known: {known()}")
    return slices, sides


def _is_cubes(sides: tuple[int, ...], most: int) -> bool:
    if len(sides) != 3 or any(side < 4 or side % 4 for side in sides):
        return False
    return list(sides) == sorted(sides) and sides[0] * sides[1] * sides[2] <= most
