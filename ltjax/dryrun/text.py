"""The printed report of a dry run, and its JSON."""

from collections.abc import Callable
from typing import Any

from ltjax.commands.text_output import table
from ltjax.dryrun.collectives import totals
from ltjax.dryrun.compiled import Compiled, Memory, TooLarge, as_record
from ltjax.dryrun.devices import Slice
from ltjax.dryrun.kernels import BANDWIDTH, COLLECTIVE, CONVOLUTION, KERNEL, LAUNCH, PEAK, Kernels, Range
from ltjax.dryrun.largest import Try
from ltjax.dryrun.lowering import Plan
from ltjax.dryrun.plan import Program, phases
from ltjax.dryrun.roofline import Phase, hours, times
from ltjax.dryrun.thunks import KINDS
from ltjax.methods.stage import trained
from ltjax.training.prepare import steps_per_epoch

MIB = 2**20
FOOTNOTES = """\
Counted: FLOPs by the compiler's count (matrix products, convolutions without padding, element-wise operations), or
those of the traced products and convolutions if these are more; the bytes of every operation, and on TPUs, for the time
of memory, those of them that are not in on-chip memory;
for collectives (once per loop) the bytes that a chip must send over all its links. No chip reaches its peak rates:
times are lower bounds.
Not counted: reading and preparing batches; the latency of collectives, which exceeds the transfer time of the many
small ones for batch statistics; checkpoints; compilation; what the init of a later stage reads (exemplars, means).
The views of the last stage are part of its last evaluation."""
OF_KERNELS = f"""
Kernels: those of the compiled program; a loop within a step counts once, with its bytes. The host launches what is in
no CUDA graph.
Modelled: all kernels of a step one after the other; the longest path of kernels that wait for each other; and side by
side, that path or, where it is longer, what memory, tensor cores and links are busy. Assumed, and not measured here: a
kernel takes {1e6 * KERNEL:.0f} us at least, a convolution {1e6 * CONVOLUTION[0]:.0f} to \
{1e6 * CONVOLUTION[1]:.0f} us, a collective {1e6 * COLLECTIVE:.0f} us, a launch of the host {1e6 * LAUNCH[0]:.0f} to \
{1e6 * LAUNCH[1]:.0f} us;
kernels reach {BANDWIDTH:.0%} of the memory's peak rate, convolutions and products {PEAK:.0%} of theirs."""


def footnotes(programs: list[Program]) -> str:
    """What the numbers count and assume."""
    kernels = any(isinstance(program.made, Compiled) and program.made.kernels for program in programs)
    return FOOTNOTES + (OF_KERNELS if kernels else "")


def heading(plan: Plan, target: Slice, source: str) -> list[str]:
    config, data = plan.config, plan.data
    hosts = f" on {target.hosts} hosts" if target.hosts > 1 else ""
    share = config.batch_size // target.chips
    return [
        f"dry run of {source} on {target.topology}: {target.chips} x {target.name}{hosts}; {target.compiler}",
        *[f"data: {note}" for note in data.notes],
        f"data: {len(data.train):,} training and {len(data.test):,} {data.split} images, {data.num_classes:,} classes",
        plan.placement,
        f"batch {config.batch_size}: {share} images per chip; {config.dtype}",
    ]


def program_table(plan: Plan, programs: list[Program], target: Slice) -> str:
    """One column per compiled program; all numbers are per chip and step."""
    made = [(program, program.made) for program in programs if isinstance(program.made, Compiled)]
    lines = [["per chip", *(program.name for program, _ in made)]]

    def add(name: str, value: Any) -> None:
        lines.append([name, *(value(program, compiled) for program, compiled in made)])

    names = ("arguments, MiB", "temporaries", "other outputs", "code", "outside the program")
    for field, name in zip(Memory._fields, names, strict=True):
        add(name, lambda _, p, field=field: f"{getattr(p.memory, field) / MIB:,.1f}")
    add(f"total, of {target.memory / MIB:,.0f} MiB", lambda _, p: f"{p.memory.total / MIB:,.1f}")
    add("GFLOPs per step", lambda _, p: f"{p.flops / 1e9:,.1f}")
    add("  of the traced products", lambda _, p: f"{p.traced_flops / 1e9:,.1f}")
    add("GB accessed", lambda _, p: f"{p.bytes / 1e9:,.2f}")
    if any(p.hbm is not None for _, p in made):
        add("  in the chip's memory", lambda _, p: "" if p.hbm is None else f"{p.hbm / 1e9:,.2f}")
    for kind in sorted({one.kind for _, p in made for one in p.collectives}):
        add(kind, lambda _, p, kind=kind: _count_and_size(totals(p.collectives).get(kind, (0, 0))))
    if target.chip is not None:
        roofs = {program.name: times(p, target.chip, plan.config.dtype) for program, p in made}
        for field in ("compute", "memory", "interconnect"):
            add(f"{field}, ms at least", lambda r, _, field=field: f"{1e3 * getattr(roofs[r.name], field):.2f}")
        add("limited by", lambda r, _: roofs[r.name].binds)
        add("images/s at most", lambda r, p: f"{p.batch * r.streams / roofs[r.name].step / target.chips:,.0f}")
        add("  of all chips", lambda r, p: f"{p.batch * r.streams / roofs[r.name].step:,.0f}")
    if any(p.kernels for _, p in made):
        lines += _kernel_rows([p.kernels for _, p in made], target)
    return table(lines) if made else ""


def _kernel_rows(made: list[Kernels | None], target: Slice) -> list[list[str]]:
    """What a step launches on a GPU."""

    def row(name: str, value: Callable[[Kernels], str]) -> list[str]:
        return [name, *("" if one is None else value(one) for one in made)]

    def number(kind: str) -> Callable[[Kernels], str]:
        return lambda k: short_count(k.kernels.get(kind, 0))

    present = [kind for kind in KINDS if any(one and one.kernels.get(kind) for one in made)]
    lines = [
        row("kernels per step", lambda k: short_count(k.total)),
        *(row(f"  {kind}", number(kind)) for kind in present),
        row("  more, per call", lambda k: f"{k.once:,}"),
        row(
            "  that only change a layout", lambda k: f"{short_count(k.layout_copies)}, {k.layout_bytes / MIB:,.2f} MiB"
        ),
        row("CUDA graphs", graphs_of),
        row("kernels in no graph, per step", lambda k: short_count(sum(k.outside.values()))),
        row("loops run by the host", host_loops_of),
    ]
    if target.chip is not None:
        lines += [
            row("modelled: one after the other, ms", lambda k: milliseconds(k.serial)),
            row("modelled: longest path, ms", lambda k: milliseconds(k.longest)),
            row("modelled: all side by side, ms at least", lambda k: f"{1e3 * max(k.busy, k.longest.low):.2f}"),
            row("modelled: launches of the host, ms", lambda k: milliseconds(k.host)),
        ]
    return lines


def short_count(value: float) -> str:
    """A whole number without decimals.

    Example:
      >>> short_count(397.0), short_count(12.25)
      ('397', '12.2')
    """
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"


def graphs_of(one: Kernels) -> str:
    if one.one_graph:
        return "1 per call"
    return f"{short_count(one.graphs)} per step" + (f", {one.call_graphs} per call" if one.call_graphs else "")


def host_loops_of(one: Kernels) -> str:
    inner = f"{one.inner_loops} in a step ({one.waiting_loops} of which it waits for)" if one.inner_loops else ""
    return ", ".join(filter(None, ["over steps" if one.host_loop else "", inner])) or "none"


def milliseconds(seconds: Range) -> str:
    """As a range.

    Example:
      >>> milliseconds(Range(1.25e-3, 1.899e-3)), milliseconds(Range(0, 0))
      ('1.25 to 1.90', '0.00')
    """
    low, high = (f"{1e3 * bound:.2f}" for bound in seconds)
    return low if low == high else f"{low} to {high}"


def _count_and_size(total: tuple[int, int]) -> str:
    return f"{total[0]} x, {total[1] / MIB:.2f} MiB"


def run_lines(plan: Plan, programs: list[Program], target: Slice) -> list[str]:
    """Lower bounds for an epoch and the run, chip-hours, and the images/s that each host has to read."""
    if target.chip is None:
        return [f"the peak rates of {target.name} are unknown, so no times are estimated"]
    done, lines = phases(plan, programs, target), []
    for stage in trained(plan.stages):
        for phase in done:
            if (phase.kind, phase.stage) == ("train", stage.name):
                per_epoch = steps_per_epoch(stage, plan.config, plan.data)
                lines.append(
                    f"stage '{stage.name}': {stage.epochs} epochs of {per_epoch:,} steps, an epoch takes at least "
                    f"{short(per_epoch * phase.seconds)} s"
                )
                if not plan.on_device and stage.representation is None:
                    rate = phase.images / phase.seconds / target.hosts
                    lines.append(
                        f"  each host then has to read and prepare {rate:,.0f} images/s (ltjax bench input "
                        "measures a host)"
                    )
    total = hours(done)
    training = hours([phase for phase in done if phase.kind == "train"])
    lines.append(
        f"the run takes at least {short(total)} h ({short(total - training)} h of it evaluation): "
        f"{short(total * target.chips)} chip-hours"
    )
    modelled = [(program, program.made.kernels) for program in programs if isinstance(program.made, Compiled)]
    if all(kernels for _, kernels in modelled):
        sums = {
            name: [sum(p.steps * getattr(k, field)[bound] for p, k in modelled if k) for bound in (0, 1)]
            for name, field in (("one after the other", "serial"), ("longest path", "longest"), ("host", "host"))
        }
        parts = [f"{name} {short(low)} to {short(high)} s" for name, (low, high) in sums.items() if high]
        lines.append(f"modelled, the run with its evaluations: {'; '.join(parts)}")
    return lines


def short(value: float) -> str:
    """Three significant digits; from 100 on one decimal.

    Example:
      >>> short(0.0123456), short(29.32), short(1957.04)
      ('0.0123', '29.3', '1,957.0')
    """
    return f"{value:,.1f}" if value >= 100 else f"{value:.3g}"


def verdict(plan: Plan, programs: list[Program], target: Slice) -> tuple[bool, list[str]]:
    """Whether all programs fit, and a line for each that does not."""
    lines, fits = [], True
    for program in programs:
        if program.fits(target.memory):
            continue
        fits = False
        size = f"needs {program.needed / MIB:,.0f} MiB, a chip has {target.memory / MIB:,.0f} MiB"
        if isinstance(program.made, TooLarge) and not program.needed:
            size = program.made.message
        lines.append(f"does NOT fit: {program.name}, {size}")
    if fits:
        most = max(program.needed for program in programs)
        lines.append(f"fits: at most {most / MIB:,.0f} of {target.memory / MIB:,.0f} MiB")
    return fits, lines


def largest_line(tries: list[Try], chips: int, name: str) -> str:
    """The largest batch that fits, its speed at most, and the smallest larger one that does not fit."""
    fitting = [one for one in tries if one.fits]
    if not fitting:
        return f"no compiled batch fits ({', '.join(str(one.images * chips) for one in tries)})"
    best = max(fitting, key=lambda one: one.images)
    found = f"largest compiled batch that fits for {name}: {best.images * chips:,} ({best.images} images per chip"
    found += f", {best.speed:,.0f} images/s at most)" if best.speed else ")"
    larger = [one.images * chips for one in tries if one.images > best.images]
    return found + (f"; {min(larger):,} does not fit" if larger else "; no larger batch was compiled")


def record(
    plan: Plan, programs: list[Program], target: Slice, source: str, fits: bool, tries: list[Try]
) -> dict[str, Any]:
    """The record for the JSON file; numbers of programs are per chip and step."""
    done = {(phase.kind, phase.stage): phase for phase in phases(plan, programs, target)}
    listed = []
    for program in programs:
        entry: dict[str, Any] = {
            "kind": program.kind,
            "stage": program.stage,
            "steps_of_the_run": program.steps,
            "fits": program.fits(target.memory),
        }
        if isinstance(program.made, TooLarge):
            entry |= {"needed_bytes": program.made.needed, "message": program.made.message}
        else:
            entry |= as_record(program.made)
            if target.chip is not None:
                entry |= {"seconds_at_least": _times(program.made, plan, target)}
                phase: Phase = done[program.kind, program.stage]
                entry |= {"images_per_second_at_most": phase.images / phase.seconds}
        listed.append(entry)
    total = hours(list(done.values())) if target.chip is not None and fits else None
    return {
        "config": source,
        "topology": target.topology,
        "chip": target.name,
        "chips": target.chips,
        "hosts": target.hosts,
        "compiler": target.compiler,
        "memory_bytes_of_a_chip": target.memory,
        "peaks": None if target.chip is None else target.chip._asdict() | {"flops": dict(target.chip.flops)},
        "data": {"name": plan.data.name, "train": len(plan.data.train), "notes": list(plan.data.notes)},
        "data_on_device": plan.on_device,
        "batch_size": plan.config.batch_size,
        "dtype": plan.config.dtype,
        "fits": fits,
        "programs": listed,
        "hours_at_least": total,
        "chip_hours_at_least": None if total is None else total * target.chips,
        "largest_batch": max((one.images * target.chips for one in tries if one.fits), default=None),
        "tries": [one._asdict() for one in tries],
    }


def _times(made: Compiled, plan: Plan, target: Slice) -> dict[str, Any]:
    assert target.chip is not None
    roof = times(made, target.chip, plan.config.dtype)
    return roof._asdict() | {"step": roof.step, "binds": roof.binds}
