"""Compiles a lowered program and reads the compiler's numbers, or how much memory is missing."""

import re
import tempfile
from typing import Any, NamedTuple

import jax

from ltjax.dryrun.collectives import Collective, collectives
from ltjax.dryrun.devices import Slice
from ltjax.dryrun.hbm import hbm_bytes
from ltjax.dryrun.kernels import Kernels, dump_options, read_dump
from ltjax.dryrun.kernels import as_record as kernels_record
from ltjax.dryrun.lowering import Lowered
from ltjax.hardware.chips import GIB
from ltjax.hardware.flops import matrix_flops
from ltjax.training.execution import mesh as meshes

UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": GIB, "T": 2**40}
# Of a GPU's kernels, the code is not optimised: which ones there are, and their memory, does not depend on it.
FAST = {"xla_backend_optimization_level": 0}
NEEDED = re.compile(r"(?:Used|required for [^(]*\(|allocating|allocate)\s*([\d.]+)\s*([KMGT]?)", re.IGNORECASE)


class Memory(NamedTuple):
    """Memory on one chip, in bytes."""

    arguments: int
    temporaries: int
    outputs: int  # without those that reuse an argument's memory
    code: int
    resident: int  # arrays on the chip that are not part of the program

    @property
    def total(self) -> int:
        return sum(self)


class Compiled(NamedTuple):
    """A compiled program; all numbers are per chip and step.

    Attributes:
      memory: memory of the whole program.
      flops: the compiler's count, which excludes the padding of convolutions and all operations of custom kernels; it
        has none for GPUs that are not here: those of ``traced_flops``.
      traced_flops: matrix products and convolutions in the traced program, with all iterations of loops and with
        padding (``flops.py``).
      bytes: bytes that all operations read and write, by the compiler's count.
      collectives: communication of a step with the other chips.
      batch: images per step and stream over all chips.
      loop: iterations of a loop whose body the compiler counts once; 1: no loop.
      kernels: on GPUs what a step launches; None elsewhere.
      hbm: on TPUs the part of the bytes that is read from the chip's memory or written to it, without what stays in
        on-chip memory; None elsewhere.
    """

    memory: Memory
    flops: float
    traced_flops: float
    bytes: float
    collectives: list[Collective]
    batch: int
    loop: float
    kernels: Kernels | None = None
    hbm: float | None = None


class TooLarge(NamedTuple):
    """A program that the compiler could not fit; ``needed`` bytes, 0 if it reports none."""

    needed: int
    message: str


def compile_program(program: Lowered, target: Slice, dtype: str) -> Compiled | TooLarge:
    """Compiles the program. Too little memory is a result; any other error of the compiler is raised."""
    gpu = meshes.platform(target.mesh) == "gpu"
    with tempfile.TemporaryDirectory(prefix="ltjax_dryrun_") as folder:
        options = {**dump_options(folder), **FAST} if gpu else {}
        try:
            made = program.lowered.compile(compiler_options=options)
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            return too_large(str(error), program.resident)
        text = made.as_text()
        kernels = read_dump(folder, text, program.steps, target.chip, dtype) if gpu else None
    stats, costs = made.memory_analysis(), made.cost_analysis() or {}
    memory = Memory(
        stats.argument_size_in_bytes,
        stats.temp_size_in_bytes,
        max(stats.output_size_in_bytes - stats.alias_size_in_bytes, 0),
        stats.generated_code_size_in_bytes,
        program.resident,
    )
    traced = matrix_flops(program.jaxpr) / target.chips / program.steps
    # The compiler counts the body of a loop once: the loop over steps and any loop within a step.
    counted = float(costs.get("flops", 0))
    loop = traced / counted if traced > 1.5 * counted > 0 else 1.0
    moved = float(costs.get("bytes accessed", 0)) * loop or (kernels.bytes if kernels else 0.0)
    found = collectives(text)
    hbm = hbm_bytes(text) / program.steps if meshes.platform(target.mesh) == "tpu" else None
    return Compiled(memory, counted * loop or traced, traced, moved, found, program.batch, loop, kernels, hbm)


def too_large(message: str, resident: int) -> TooLarge:
    """Parses the compiler's error about a program that does not fit.

    Example:
      >>> too_large("RESOURCE_EXHAUSTED: ... Used 22.00G of 15.75G hbm. ...", 0).needed / 2**30
      22.0
    """
    found = NEEDED.search(message)
    needed = int(float(found[1]) * UNITS[found[2]]) + resident if found else 0
    return TooLarge(needed, " ".join(message.split())[:300])


def _memory_record(memory: Memory) -> dict[str, int]:
    return {
        "arguments": memory.arguments,
        "temporaries": memory.temporaries,
        "outputs": memory.outputs,
        "code": memory.code,
        "standing": memory.resident,
        "together": memory.total,
    }


def as_record(program: Compiled) -> dict[str, Any]:
    """The record for the JSON file; collectives are grouped by kind, size and number of devices."""
    kinds: dict[tuple[str, int, int], int] = {}
    for one in program.collectives:
        key = (one.kind, one.bytes, one.group)
        kinds[key] = kinds.get(key, 0) + 1
    listed = [{"kind": k, "bytes": b, "devices": g, "count": n} for (k, b, g), n in sorted(kinds.items())]
    return {
        "memory_bytes": _memory_record(program.memory),
        "flops": program.flops,
        "traced_matrix_flops": program.traced_flops,
        "bytes_accessed": program.bytes,
        "bytes_of_memory": program.hbm,
        "collectives": listed,
        "images_per_step": program.batch,
        "loop": program.loop,
    } | ({} if program.kernels is None else {"kernels": kernels_record(program.kernels)})
