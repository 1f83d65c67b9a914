"""What a dry run prints, and its JSON."""

from typing import Any

from ltjax.commands.text_output import table
from ltjax.dryrun.collectives import totals
from ltjax.dryrun.compiled import Compiled, TooLarge, as_record
from ltjax.dryrun.devices import Slice
from ltjax.dryrun.largest import Try
from ltjax.dryrun.lowering import Plan
from ltjax.dryrun.plan import Row, parts
from ltjax.dryrun.roofline import Part, hours, times
from ltjax.methods.stage import trained
from ltjax.training.prepare import steps_per_epoch

MIB = 2**20
COUNTED = """\
Counted: FLOPs as the compiler counts them (products, convolutions without their padding, element by element), or those
of the traced products and convolutions where they are more; the bytes of every operation, whatever stays in on-chip
memory; of collectives (in a loop once) what a chip must send, over all its links. No chip reaches its peaks: times are
lower bounds.
Not counted: reading and making batches; how long a collective takes to begin and end, which for the many small ones of
batch statistics is more than their bytes; checkpoints; compilation; what a later stage's init reads (exemplars, means).
The views of a last stage are part of its last evaluation."""


def heading(plan: Plan, where: Slice, source: str) -> list[str]:
    config, data = plan.config, plan.data
    hosts = f" on {where.hosts} hosts" if where.hosts > 1 else ""
    share = config.batch_size // where.chips
    return [
        f"dry run of {source} on {where.topology}: {where.chips} x {where.name}{hosts}; {where.compiler}",
        *[f"data: {note}" for note in data.notes],
        f"data: {len(data.train):,} training and {len(data.test):,} {data.split} images, {data.num_classes:,} classes",
        plan.where,
        f"batch {config.batch_size}: {share} images a chip; {config.dtype}",
    ]


def program_table(plan: Plan, rows: list[Row], where: Slice) -> str:
    """One column for each program that compiled; all numbers are of one chip and one step."""
    made = [(row, row.made) for row in rows if isinstance(row.made, Compiled)]
    lines = [["per chip", *(row.name for row, _ in made)]]

    def add(name: str, value: Any) -> None:
        lines.append([name, *(value(row, program) for row, program in made)])

    memory = ("arguments", "temporaries", "outputs", "code", "standing")
    names = ("arguments, MiB", "temporaries", "outputs beside them", "code", "beside the program")
    for field, name in zip(memory, names, strict=True):
        add(name, lambda _, p, field=field: f"{getattr(p.memory, field) / MIB:,.1f}")
    add(f"together, of {where.memory / MIB:,.0f} MiB", lambda _, p: f"{p.memory.together / MIB:,.1f}")
    add("GFLOPs of a step", lambda _, p: f"{p.flops / 1e9:,.1f}")
    add("  of the traced products", lambda _, p: f"{p.traced_flops / 1e9:,.1f}")
    add("GB accessed", lambda _, p: f"{p.bytes / 1e9:,.2f}")
    for kind in sorted({one.kind for _, p in made for one in p.collectives}):
        add(kind, lambda _, p, kind=kind: _said(totals(p.collectives).get(kind, (0, 0))))
    if where.chip is not None:
        roofs = {row.name: times(p, where.chip, plan.config.dtype) for row, p in made}
        for field in ("compute", "memory", "interconnect"):
            add(f"{field}, ms at least", lambda r, _, field=field: f"{1e3 * getattr(roofs[r.name], field):.2f}")
        add("binds", lambda r, _: roofs[r.name].binds)
        add("images/s at most", lambda r, p: f"{p.batch * r.streams / roofs[r.name].step / where.chips:,.0f}")
        add("  of all chips", lambda r, p: f"{p.batch * r.streams / roofs[r.name].step:,.0f}")
    return table(lines) if made else ""


def _said(total: tuple[int, int]) -> str:
    return f"{total[0]} x, {total[1] / MIB:.2f} MiB"


def run_lines(plan: Plan, rows: list[Row], where: Slice) -> list[str]:
    """Epoch, run, chip-hours, and what each host has to make."""
    if where.chip is None:
        return [f"no peaks are known of {where.name}: no times"]
    done, lines = parts(plan, rows, where), []
    for stage in trained(plan.stages):
        for part in done:
            if (part.kind, part.stage) == ("train", stage.name):
                per_epoch = steps_per_epoch(stage, plan.config, plan.data)
                lines.append(
                    f"stage '{stage.name}': {stage.epochs} epochs of {per_epoch:,} steps, an epoch takes at least "
                    f"{short(per_epoch * part.seconds)} s"
                )
                if not plan.on_device and stage.representation is None:
                    rate = part.images / part.seconds / where.hosts
                    lines.append(
                        f"  for that each host has to read and make {rate:,.0f} images/s (python -m ltjax.bench input "
                        "measures what one does)"
                    )
    total = hours(done)
    training = hours([part for part in done if part.kind == "train"])
    lines.append(
        f"the run takes at least {short(total)} h ({short(total - training)} h of it evaluation): "
        f"{short(total * where.chips)} chip-hours"
    )
    return lines


def short(value: float) -> str:
    """Three digits, or all before the point and one behind it.

    Example:
      >>> short(0.0123456), short(29.32), short(1957.04)
      ('0.0123', '29.3', '1,957.0')
    """
    return f"{value:,.1f}" if value >= 100 else f"{value:.3g}"


def verdict(plan: Plan, rows: list[Row], where: Slice) -> tuple[bool, list[str]]:
    """Whether all programs fit, and a line for each that does not."""
    lines, fits = [], True
    for row in rows:
        if row.fits(where.memory):
            continue
        fits = False
        size = f"needs {row.needed / MIB:,.0f} MiB of a chip's {where.memory / MIB:,.0f}"
        if isinstance(row.made, TooLarge) and not row.needed:
            size = row.made.message
        lines.append(f"does NOT fit: {row.name}, {size}")
    if fits:
        most = max(row.needed for row in rows)
        lines.append(f"fits: at most {most / MIB:,.0f} of {where.memory / MIB:,.0f} MiB")
    return fits, lines


def largest_line(tries: list[Try], chips: int, name: str) -> str:
    """The largest that fits, how fast it may be, and whether a larger one is known that does not."""
    fitting = [one for one in tries if one.fits]
    if not fitting:
        return f"no batch that was tried fits ({', '.join(str(one.images * chips) for one in tries)})"
    best = max(fitting, key=lambda one: one.images)
    found = (
        f"largest batch that fits, of those compiled for {name}: {best.images * chips:,} ({best.images} images a chip"
    )
    found += f", {best.speed:,.0f} images/s at most)" if best.speed else ")"
    larger = [one.images * chips for one in tries if one.images > best.images]
    return found + (f"; {min(larger):,} does not" if larger else "; none that was tried is too large")


def record(plan: Plan, rows: list[Row], where: Slice, source: str, fits: bool, tries: list[Try]) -> dict[str, Any]:
    """The JSON; numbers of programs are of one chip and one step."""
    done = {(part.kind, part.stage): part for part in parts(plan, rows, where)}
    programs = []
    for row in rows:
        own: dict[str, Any] = {
            "kind": row.kind,
            "stage": row.stage,
            "steps_of_the_run": row.steps,
            "fits": row.fits(where.memory),
        }
        if isinstance(row.made, TooLarge):
            own |= {"needed_bytes": row.made.needed, "message": row.made.message}
        else:
            own |= as_record(row.made)
            if where.chip is not None:
                own |= {"seconds_at_least": _times(row.made, plan, where)}
                part: Part = done[row.kind, row.stage]
                own |= {"images_per_second_at_most": part.images / part.seconds}
        programs.append(own)
    total = hours(list(done.values())) if where.chip is not None and fits else None
    return {
        "config": source,
        "topology": where.topology,
        "chip": where.name,
        "chips": where.chips,
        "hosts": where.hosts,
        "compiler": where.compiler,
        "memory_bytes_of_a_chip": where.memory,
        "peaks": None if where.chip is None else where.chip._asdict() | {"flops": dict(where.chip.flops)},
        "data": {"name": plan.data.name, "train": len(plan.data.train), "notes": list(plan.data.notes)},
        "data_on_device": plan.on_device,
        "batch_size": plan.config.batch_size,
        "dtype": plan.config.dtype,
        "fits": fits,
        "programs": programs,
        "hours_at_least": total,
        "chip_hours_at_least": None if total is None else total * where.chips,
        "largest_batch": max((one.images * where.chips for one in tries if one.fits), default=None),
        "tries": [one._asdict() for one in tries],
    }


def _times(made: Compiled, plan: Plan, where: Slice) -> dict[str, Any]:
    assert where.chip is not None
    roof = times(made, where.chip, plan.config.dtype)
    return roof._asdict() | {"step": roof.step, "binds": roof.binds}
