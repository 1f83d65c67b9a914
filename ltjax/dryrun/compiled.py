"""A lowered program compiled, and the compiler's numbers of it; or by how much it does not fit."""

import re
from typing import Any, NamedTuple

import jax

from ltjax.dryrun.collectives import Collective, collectives
from ltjax.dryrun.lowering import Lowered
from ltjax.hardware.chips import GIB
from ltjax.hardware.flops import matrix_flops

UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": GIB, "T": 2**40}
NEEDED = re.compile(r"(?:Used|required for [^(]*\(|allocating|allocate)\s*([\d.]+)\s*([KMGT]?)", re.IGNORECASE)


class Memory(NamedTuple):
    """Bytes of one chip's memory."""

    arguments: int
    temporaries: int
    outputs: int  # that do not take an argument's place
    code: int
    standing: int  # beside the program

    @property
    def together(self) -> int:
        return sum(self)


class Compiled(NamedTuple):
    """One program as the compiler made it; all numbers are of one chip, and of one step.

    Attributes:
      memory: of the whole program.
      flops: the compiler's count. It has convolutions without their padding, and no operation of a custom kernel.
      traced_flops: of matrix products and convolutions as they are traced, loops in full (``flops.py``), padding too.
      bytes: read and written by all of the program's operations, as the compiler counts them.
      collectives: what a step says to the other chips.
      batch: images of a step and stream over all chips.
      loop: how often the loop's body runs that the compiler counts once; 1: no loop.
    """

    memory: Memory
    flops: float
    traced_flops: float
    bytes: float
    collectives: list[Collective]
    batch: int
    loop: float


class TooLarge(NamedTuple):
    """The compiler found no way to fit the program; bytes that it says it needs, 0 if it says none."""

    needed: int
    message: str


def compile_program(program: Lowered, chips: int) -> Compiled | TooLarge:
    """Compiles it. That the memory does not suffice is a result, any other error of the compiler an error."""
    try:
        made = program.lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return too_large(str(error), program.standing)
    stats, costs = made.memory_analysis(), made.cost_analysis()
    memory = Memory(
        stats.argument_size_in_bytes,
        stats.temp_size_in_bytes,
        max(stats.output_size_in_bytes - stats.alias_size_in_bytes, 0),
        stats.generated_code_size_in_bytes,
        program.standing,
    )
    traced = matrix_flops(program.jaxpr) / chips / program.steps
    # The compiler counts a loop's body once: that of the call's steps, and that of loops within a step.
    counted = float(costs["flops"])
    loop = traced / counted if traced > 1.5 * counted > 0 else 1.0
    found = collectives(made.as_text())
    return Compiled(memory, counted * loop, traced, float(costs["bytes accessed"]) * loop, found, program.batch, loop)


def too_large(message: str, standing: int) -> TooLarge:
    """What the compiler says of a program that does not fit.

    Example:
      >>> too_large("RESOURCE_EXHAUSTED: ... Used 22.00G of 15.75G hbm. ...", 0).needed / 2**30
      22.0
    """
    found = NEEDED.search(message)
    needed = int(float(found[1]) * UNITS[found[2]]) + standing if found else 0
    return TooLarge(needed, " ".join(message.split())[:300])


def as_record(program: Compiled) -> dict[str, Any]:
    """As JSON has it; collectives are put together by kind, size and group."""
    kinds: dict[tuple[str, int, int], int] = {}
    for one in program.collectives:
        key = (one.kind, one.bytes, one.group)
        kinds[key] = kinds.get(key, 0) + 1
    listed = [{"kind": k, "bytes": b, "devices": g, "count": n} for (k, b, g), n in sorted(kinds.items())]
    return {
        "memory_bytes": program.memory._asdict() | {"together": program.memory.together},
        "flops": program.flops,
        "traced_matrix_flops": program.traced_flops,
        "bytes_accessed": program.bytes,
        "collectives": listed,
        "images_per_step": program.batch,
        "loop": program.loop,
    }
