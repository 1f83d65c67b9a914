"""A training step by kind of operation, ours beside PyTorch's, on one CPU core: ``ltjax.bench step --profile``.

On one core nothing runs beside anything else: each operation's time is its own, and all of them together are the step.
XLA fuses normalisation, ReLU and addition, so these are one kind, forward and backward. XLA makes layout copies for
weight gradients in operations of their own, which are a kind, too; PyTorch's libraries make theirs inside.
"""

import collections
import contextlib
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax

from ltjax.bench.measure import torch_installed
from ltjax.commands import text_output

FORWARD, INPUT_GRADIENT, WEIGHT_GRADIENT = "convolution", "its input gradient", "its weight gradient"
COPIES, MAPS, MAPS_BACKWARD = "layout copies", "norm, ReLU, addition", "their gradients"
OPTIMIZER, REST = "optimizer", "rest"
KINDS = (FORWARD, INPUT_GRADIENT, WEIGHT_GRADIENT, COPIES, MAPS, MAPS_BACKWARD, OPTIMIZER, REST)

Milliseconds = dict[str, float]  # kind -> milliseconds of a step

INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?([\w.\-$]+) = (?:\w+\[([\d,]*)\]\S*|\(.*?\)) ([\w\-]+)\(")
OP_NAME = re.compile(r'op_name="([^"]*)"')
CONTAINERS = ("while", "call", "conditional")  # their events span those of what they run


class Instruction(NamedTuple):
    """An instruction of a compiled program: opcode, dimensions of its output, and the path of what it computes."""

    opcode: str
    shape: tuple[int, ...]
    path: str


@contextlib.contextmanager
def one_core() -> Iterator[None]:
    """Keeps this thread, and all that it starts, on one core; JAX must not have started before.

    On a system without affinities nothing happens.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    if torch_installed():
        import torch

        torch.set_num_threads(1)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def instructions(text: str) -> dict[str, Instruction]:
    """The instructions of a compiled program's text, by name.

    Example:
      >>> instructions('  %add.1 = f32[8,4]{1,0} add(%a, %b), metadata={op_name="jit(one)/add"}')
      {'add.1': Instruction(opcode='add', shape=(8, 4), path='jit(one)/add')}
    """
    found = {}
    for line in text.splitlines():
        if match := INSTRUCTION.match(line):
            name, shape, opcode = match.groups()
            path = OP_NAME.search(line)
            dimensions = tuple(int(size) for size in (shape or "").split(",") if size)
            found[name] = Instruction(opcode, dimensions, path.group(1) if path else "")
    return found


def kind_of(name: str, instruction: Instruction, kernels: Iterable[tuple[int, ...]]) -> str:
    """The kind of an instruction of ours; ``kernels``: the shapes of the network's convolutions.

    Example:
      >>> gradient = Instruction("convolution", (16, 3, 3, 32), "")
      >>> kind_of("convolution.1", gradient, [(3, 3, 16, 32)])
      'its weight gradient'
      >>> kind_of("sub.2", Instruction("fusion", (8, 4), "jit(one)/jvp(Network)/backbone/norm1/sub"), [])
      'norm, ReLU, addition'
    """
    opcode, shape, path = instruction
    backward = "transpose(" in path
    if opcode == "convolution":
        if sorted(shape) in [sorted(kernel) for kernel in kernels]:
            return WEIGHT_GRADIENT
        return FORWARD if path and not backward else INPUT_GRADIENT
    if name.startswith(("transpose", "copy")):
        return COPIES
    if "/backbone" in path:
        return MAPS_BACKWARD if backward else MAPS
    if "jvp(" in path or not path:
        return REST
    return OPTIMIZER


def ours(side: Any, steps: int) -> Milliseconds:
    """Milliseconds of a step by kind, of ``steps`` traced steps of ``step.Ours``, from XLA's own events."""
    program = side.step.lower(side.state, {}, side.batch).compile()
    side.step = program
    known = instructions(program.as_text())
    kernels = [p.shape for p in jax.tree.leaves(side.state.params) if p.ndim == 4]
    side()
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            for _ in range(steps):
                side()
        (file,) = Path(folder).rglob("*.xplane.pb")
        profile = jax.profiler.ProfileData.from_file(str(file))
    totals: collections.Counter[str] = collections.Counter()
    for plane in profile.planes:
        for line in plane.lines:
            for event in line.events:
                made = known.get(event.name)
                if made is not None and made.opcode not in CONTAINERS:
                    totals[kind_of(event.name, made, kernels)] += event.duration_ns / 1e6 / steps
    return {kind: totals[kind] for kind in KINDS}


def torch_kind(names: list[str]) -> str:
    """The kind of a PyTorch operator: ``names`` are its own and those of the operators around it, innermost first.

    Example:
      >>> torch_kind(["aten::add_", "Optimizer.step#SGD.step"])
      'optimizer'
    """
    chain = " ".join(names).lower()
    backward = "backward" in chain or "autograd::engine" in chain
    if "optimizer." in chain:
        return OPTIMIZER
    if "conv" in chain:
        return WEIGHT_GRADIENT if backward else FORWARD  # both gradients are one operator: see ``theirs``
    if any(word in chain for word in ("norm", "relu", "clamp_min", "threshold", "add")):
        return MAPS_BACKWARD if backward else MAPS
    return REST


def operators(call: Any, steps: int) -> Milliseconds:
    """Milliseconds of a call by kind, from PyTorch's profiler."""
    import torch

    call()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        for _ in range(steps):
            call()
    totals: collections.Counter[str] = collections.Counter()
    for event in profile.events():
        names, parent = [event.name], event.cpu_parent
        while parent is not None:
            names.append(parent.name)
            parent = parent.cpu_parent
        totals[torch_kind(names)] += event.self_cpu_time_total / 1e3 / steps
    return {kind: totals[kind] for kind in KINDS}


def theirs(trainer: Any, steps: int) -> Milliseconds:
    """The same of a PyTorch ``Trainer``. Its convolutions make both gradients in one operator: without a weight's
    gradient, which a second profile leaves out, it is the input's."""
    whole = operators(trainer, steps)
    kernels = [p for p in trainer.network.parameters() if p.ndim == 4]
    for kernel in kernels:
        kernel.requires_grad_(False)
    inputs = operators(trainer, steps)[WEIGHT_GRADIENT]
    for kernel in kernels:
        kernel.requires_grad_(True)
    return whole | {INPUT_GRADIENT: inputs, WEIGHT_GRADIENT: whole[WEIGHT_GRADIENT] - inputs}


def table(sides: Mapping[str, Milliseconds]) -> str:
    """Both columns by kind, and what PyTorch's time is in ours: 2x where ours takes half of it."""
    rows = [["ms/step, one core", *sides, *(["ltjax is"] if len(sides) > 1 else [])]]
    for kind in (*KINDS, "together"):
        times = [sum(side.values()) if kind == "together" else side[kind] for side in sides.values()]
        both = len(times) > 1 and min(times) >= 0.05
        ratio = [f"{times[1] / times[0]:.2f}x as fast" if both else ""] if len(times) > 1 else []
        rows.append([kind, *(f"{t:.1f}" for t in times), *ratio])
    return text_output.table(rows)


def profiled(sides: Mapping[str, Any], steps: int) -> dict[str, Milliseconds]:
    """side -> kind -> milliseconds of a step, of the sides of ``step.make_sides``; prints the table."""
    record = {name: ours(side, steps) if name == "ltjax" else theirs(side, steps) for name, side in sides.items()}
    print(table(record), flush=True)
    return record
