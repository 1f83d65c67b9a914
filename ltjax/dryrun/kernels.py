"""What a step launches on a GPU, and how long that may take: a model of kernels, for steps that no peak rate limits."""

import pathlib
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from ltjax.dryrun import hlo
from ltjax.dryrun.collectives import KINDS as COLLECTIVES
from ltjax.dryrun.collectives import Collective, collectives, traffic
from ltjax.dryrun.hlo import Computation, Instruction, Module
from ltjax.dryrun.thunks import Launches, Sequence, parse_thunks, read_sequence, thunk_names
from ltjax.hardware.chips import Chip

# The assumptions of the model; none was measured here.
KERNEL = 2e-6  # seconds that a kernel takes at least
CONVOLUTION = (7e-6, 14e-6)  # a small convolution of cuDNN, from and to
COLLECTIVE = 20e-6  # a collective over NVLink at least
LAUNCH = (5e-6, 10e-6)  # of the host, for what is in no graph
BANDWIDTH = 0.9  # of the peak that a kernel reaches
PEAK = 0.5  # of the tensor cores' peak that a convolution or product reaches
# Files of the compiler. It writes the first only where a pass, such as that for graphs, changed the second.
SEQUENCES = ("thunk_sequence_after_thunk_passes", "thunk_sequence")
METADATA = "thunk_metadata"
LAYOUT_ONLY = hlo.FREE | {"transpose", "copy", "reshape", "convert"}


class Range(NamedTuple):
    """Seconds, from and to."""

    low: float
    high: float


class Small(NamedTuple):
    """Seconds that the smallest kernels take."""

    kernel: float
    convolution: float
    collective: float


SMALL = tuple(Small(KERNEL, convolution, COLLECTIVE) for convolution in CONVOLUTION)


class Kernels(NamedTuple):
    """What one step launches; numbers are per step and device.

    Attributes:
      kernels: kind of kernel -> number, in graphs and outside; a loop within a step counts once.
      outside: the same, of those that the host launches, one by one.
      graphs: CUDA graphs that the host launches in a step; 0 where one graph has many steps.
      once: kernels of a call beside those of its steps.
      call_graphs: graphs that the host launches in a call beside those of its steps.
      one_graph: whether a whole call is one graph.
      host_loop: whether the host runs the loop over steps.
      inner_loops: loops and conditionals within a step that the host runs.
      waiting_loops: those of them whose condition the host waits for.
      layout_copies, layout_bytes: kernels that only change the layout of an array, and the bytes that they move.
      bytes: that all kernels of a step read and write.
      serial: seconds of all kernels, one after the other; 0 for an unknown chip.
      longest: seconds of the longest path of kernels that depend on each other.
      busy: seconds that memory, tensor cores or links are busy: what kernels take side by side at least, however small.
      host: seconds that the host needs for its launches.
    """

    kernels: dict[str, float]
    outside: dict[str, float]
    graphs: float
    once: int
    call_graphs: int
    one_graph: bool
    host_loop: bool
    inner_loops: int
    waiting_loops: int
    layout_copies: float
    layout_bytes: float
    bytes: float
    serial: Range
    longest: Range
    busy: float
    host: Range

    @property
    def total(self) -> float:
        return sum(self.kernels.values())


def dump_options(folder: str) -> dict[str, str | bool]:
    """The compiler's options to write what ``read_dump`` reads."""
    return {"xla_dump_to": folder, "xla_dump_hlo_as_text": True}


def read_dump(folder: str, text: str, steps: int, chip: Chip | None, dtype: str) -> Kernels | None:
    """The reading of what the compiler wrote to ``folder``; None if it wrote none, as for a program from a cache.

    Args:
      folder: of ``dump_options``.
      text: of the compiled program.
      steps: of a call.
      chip: the GPU; None for an unknown one, which has no modelled times.
      dtype: of the computation.
    """
    sequence = next(filter(None, (_newest(folder, name) for name in SEQUENCES)), "")
    if not sequence:
        return None
    thunks = parse_thunks(sequence, thunk_names(_newest(folder, METADATA)))
    return read_kernels(read_sequence(thunks, has_loop=steps > 1), text, steps, chip, dtype)


def _newest(folder: str, name: str) -> str:
    files = sorted(pathlib.Path(folder).glob(f"*.{name}.txt"))
    return files[-1].read_text() if files else ""


def read_kernels(sequence: Sequence, text: str, steps: int, chip: Chip | None, dtype: str) -> Kernels:
    """Combines the sequence of launches with the compiled program's text; ``steps`` are those of a call."""
    module = hlo.parse_module(text)
    entry = module.computations[module.entry]
    loop = _loop(module, sequence.loop) if sequence.repeated else None
    times = (hlo.trips(loop) or steps) if loop else 1
    part = times / steps  # iterations of the loop for one step: 1, or less where the compiler unrolled it
    body = _called(loop, module, "body") if loop else entry
    each: Launches = sequence.repeated or sequence.once
    inner = each.host_loops
    known = {one.name for c in module.computations.values() for one in c.values() if hlo.trips(one)}
    launched = sum(each.outside.values()) + each.graphs
    layouts = [one for one in body.values() if changes_layout_only(one, module)]
    low, high = (_model(module, chip, dtype, small) for small in SMALL) if chip else (None, None)

    def seconds(longest: bool) -> Range:
        if low is None or high is None:
            return Range(0.0, 0.0)
        return Range(part * duration(body, module, low, longest), part * duration(body, module, high, longest))

    return Kernels(
        {kind: part * number for kind, number in each.kernels.items()},
        {kind: part * number for kind, number in each.outside.items()},
        part * each.graphs,
        sum(sequence.once.kernels.values()) if sequence.repeated else 0,
        sequence.once.graphs if sequence.repeated else 0,
        sequence.one_graph,
        sequence.repeated is not None and not sequence.loop_in_graph,
        len(inner),
        sum(name not in known for name in inner),
        part * len(layouts),
        part * sum(hlo.moved(one, body, module) for one in layouts),
        part * _bytes(body, module),
        seconds(False),
        seconds(True),
        part * duration(body, module, _model(module, chip, dtype, Small(0.0, 0.0, 0.0)), False) if chip else 0.0,
        Range(*(part * launched * one for one in LAUNCH)),
    )


def _loop(module: Module, name: str) -> Instruction:
    """The loop over steps: the one of this name, or else the longest of the program."""
    loops = [one for c in module.computations.values() for one in c.values() if one.opcode == "while"]
    named = [one for one in loops if one.name == name]
    return named[0] if named else max(loops, key=lambda one: len(_called(one, module, "body")))


def _called(one: Instruction, module: Module, role: str) -> Computation:
    found = re.search(rf"{role}=%?([\w.-]+)", one.attributes)
    assert found is not None, f"{one.name} has no {role}"
    return module.computations[found[1]]


def changes_layout_only(one: Instruction, module: Module) -> bool:
    """Whether a kernel does nothing but to write an array in another order, or an identical copy of it."""
    if one.opcode in ("copy", "transpose"):
        return True
    if one.opcode != "fusion":
        return False
    opcodes = {inner.opcode for inner in module.computations[hlo.called(one)[0]].values()}
    return opcodes <= LAYOUT_ONLY and bool(opcodes & {"transpose", "copy"})


def _bytes(computation: Computation, module: Module) -> int:
    """What the kernels of a computation move, with those of loops within it as often as they are known to run."""
    total = 0
    for one in computation.values():
        if one.opcode in ("while", "conditional", "call"):
            inside = [_bytes(module.computations[name], module) for name in hlo.called(one)]
            total += max(inside, default=0) if one.opcode == "conditional" else (hlo.trips(one) or 1) * sum(inside)
        elif one.opcode not in hlo.FREE and not one.opcode.endswith("-done"):
            total += hlo.moved(one, computation, module)
    return total


def _collectives(one: Instruction, module: Module) -> list[Collective]:
    """Of an instruction; newer compilers put a small one into a fusion."""
    inside = module.computations[hlo.called(one)[0]].values() if one.opcode == "fusion" else [one]
    sending = [i for i in inside if i.opcode.removesuffix("-start") in COLLECTIVES]
    return collectives("\n".join(f"%{i.name} = {i.shape} {i.opcode}(){i.attributes}" for i in sending))


Model = Callable[[Instruction, Computation], float]  # seconds of one kernel


def _model(module: Module, chip: Chip, dtype: str, small: Small) -> Model:
    peak = PEAK * chip.flops.get(dtype, min(chip.flops.values()))

    def seconds(one: Instruction, within: Computation) -> float:
        memory = hlo.moved(one, within, module) / (BANDWIDTH * chip.bandwidth)
        if found := _collectives(one, module):
            return max(small.collective, *(traffic(each) / chip.interconnect for each in found))
        compute = hlo.flops(one, within, module) / peak
        return max(small.convolution if one.is_convolution else small.kernel, memory, compute)

    return seconds


def duration(computation: Computation, module: Module, model: Model, longest: bool) -> float:
    """Seconds of a computation: of all its kernels, or of the longest path of those that depend on each other."""
    ends: dict[str, float] = {}
    total = 0.0
    for one in computation.values():
        if one.opcode in ("while", "conditional", "call", "async-start"):
            inside = [duration(module.computations[name], module, model, longest) for name in hlo.called(one)]
            own = max(inside, default=0.0) if one.opcode == "conditional" else (hlo.trips(one) or 1) * sum(inside)
        else:
            own = 0.0 if one.opcode in hlo.FREE or one.opcode.endswith("-done") else model(one, computation)
        total += own
        ends[one.name] = own + max((ends.get(name, 0.0) for name in hlo.predecessors(one)), default=0.0)
    return max(ends.values(), default=0.0) if longest else total


def as_record(kernels: Kernels) -> dict[str, Any]:
    """For the JSON file."""
    listed = kernels._asdict() | {"total": kernels.total}
    modelled = ("serial", "longest", "host")
    for name in modelled:
        listed[f"{name}_seconds"] = list(listed.pop(name))
    return listed
