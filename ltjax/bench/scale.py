"""A run on slices of growing size by dry runs, with chip-hours and their price; and one step on forced CPU devices.

    python -m ltjax.bench scale --topologies v5e:4x4 v5e:8x8 v5e:16x16 --price PRICE

The first table compiles ``--config`` for every slice (``python -m ltjax.dryrun``) and has the least time that the peaks
of the chips allow: by default with the config's batch (strong scaling), with ``--images-per-chip N`` with N times the
chips (weak scaling; the learning rate then has to follow). ``--price`` is what a chip-hour costs you; without it there
is no cost. The second measures a training step on 1, 2, 4, 8 devices that XLA makes of this machine's CPU, each in a
process of its own: they share its cores, so that it shows what splitting costs and not what it gains. ``--topologies``
or ``--devices`` without a value leaves a table out.
"""

import argparse
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
from typing import Any

from ltjax.bench import measure
from ltjax.commands import text_output
from ltjax.errors import InputError

SLICES = ("v5e:4x4", "v5e:4x8", "v5e:8x8", "v5e:8x16", "v5e:16x16")


def price(text: str) -> float:
    """The type of --price."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"impossible value '{text}'; allowed: a number >= 0")
    return value


def parse(arguments: list[str]) -> Any:
    parser = measure.Parser("scale", __doc__, repeats=5)
    parser.add_argument("--config", default="configs/inat_reslt.py", help="of the dry runs")
    parser.add_argument("--topologies", nargs="*", default=list(SLICES), help="of the dry runs, such as v5e:4x4")
    parser.add_argument("--images-per-chip", type=measure.at_least(1), help="batch of the dry runs; default: config's")
    parser.add_argument("--price", type=price, help="of a chip-hour, in your currency")
    parser.add_argument(
        "--devices", type=measure.at_least(1), nargs="*", default=[1, 2, 4, 8], help="forced, of the CPU"
    )
    parser.add_argument("--network", default="resnet8", help="of the measured step")
    parser.add_argument("--batch", type=measure.at_least(1), default=64, help="of the measured step, on all devices")
    options = parser.parse_args(arguments)
    for count in options.devices:
        if options.batch % count:
            parser.error(f"--batch: {options.batch} does not divide over {count} devices")
    return options


def main(arguments: list[str]) -> None:
    """Compiles, measures, prints, and writes the JSON."""
    options = parse(arguments)
    record: dict[str, Any] = {"benchmark": "scale", "options": {k: v for k, v in vars(options).items() if k != "json"}}
    if options.topologies:
        record["dry_runs"] = [dry_run(topology, options) for topology in options.topologies]
        print(slices_table(record["dry_runs"], options), flush=True)
    if options.devices:
        record["devices"] = [on_devices(count, options) for count in options.devices]
        print(devices_table(record["devices"], options), flush=True)
    text_output.write_json(options.json, record)


def dry_run(topology: str, options: Any) -> dict[str, Any]:
    """The numbers of ``python -m ltjax.dryrun``; a slice that it does not fit is a result, too.

    Raises:
      InputError: what the dry run says of a bad topology or config.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "numbers.json"
        command = [
            sys.executable, "-m", "ltjax.dryrun", f"--config={options.config}", f"--topology={topology}",
            "--no-largest", f"--json={path}",
        ]  # fmt: skip
        if options.images_per_chip:
            command.append(f"--config.batch_size={options.images_per_chip * chips(topology)}")
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode == 2:
            raise InputError(f"dry run: {done.stderr.strip().splitlines()[-1].removeprefix('error: ')}")
        if not path.exists():
            raise ChildProcessError(f"the dry run for {topology} ended with status {done.returncode}: {done.stderr}")
        return json.loads(path.read_text())


def chips(topology: str) -> int:
    """How many a slice has.

    Example:
      >>> chips("v5e:4x8")
      32
    """
    sides = topology.partition(":")[2].split("x")
    return math.prod(int(side) for side in sides) if all(side.isdigit() for side in sides) else 1


def slices_table(runs: list[dict[str, Any]], options: Any) -> str:
    """One line a slice: what it gives and what it costs."""
    how = f"{options.images_per_chip} images a chip" if options.images_per_chip else "one batch for all"
    head = ["slice", "chips", "batch", "a chip", "MiB", "binds", "images/s <=", "a chip", "hours >=", "chip-hours >="]
    lines = [head + (["cost >="] if options.price is not None else [])]
    for run in runs:
        batch, train = run["batch_size"], run["programs"][0]
        line = [run["topology"], str(run["chips"]), str(batch), str(batch // run["chips"])]
        if not run["fits"]:
            lines.append([*line, "does not fit", *[""] * (len(lines[0]) - 5)])
            continue
        speed = train["images_per_second_at_most"]
        line += [f"{train['memory_bytes']['together'] / 2**20:,.0f}", train["seconds_at_least"]["binds"]]
        line += [f"{speed:,.0f}", f"{speed / run['chips']:,.0f}", f"{run['hours_at_least']:.2f}"]
        line += [f"{run['chip_hours_at_least']:.1f}"]
        lines.append(
            line + ([f"{options.price * run['chip_hours_at_least']:.2f}"] if options.price is not None else [])
        )
    return (
        f"dry runs of {options.config} ({how}): bounds by the chips' peaks, not measured\n{text_output.table(lines)}\n"
    )


def on_devices(count: int, options: Any) -> dict[str, Any]:
    """One step on so many forced devices: the whole batch of ``--batch`` split over them, and as much on each."""
    share = options.batch // max(options.devices) * count
    strong = _step_ms(count, options.batch, options)
    weak = strong if share == options.batch else _step_ms(count, share, options)
    return {"devices": count, "strong_ms": strong, "weak_ms": weak}


def _step_ms(count: int, batch: int, options: Any) -> list[float]:
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={count}".strip()
    command = [
        sys.executable, "-m", "ltjax.bench.scale_devices", f"--network={options.network}", f"--batch={batch}",
        f"--dtype={options.dtype}", f"--repeats={options.repeats}",
    ]  # fmt: skip
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode == 2:
        raise InputError(done.stderr.strip().splitlines()[-1].removeprefix("error: "))
    if done.returncode:
        raise ChildProcessError(f"the step on {count} devices ended with status {done.returncode}: {done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def devices_table(found: list[dict[str, Any]], options: Any) -> str:
    """One line a number of devices; ratios to the first line's speed."""
    share = options.batch // max(options.devices)
    lines = [["devices", f"batch {options.batch}, images/s", "ratio", f"{share} a device, images/s", "ratio"]]
    speeds = [
        (
            one["devices"],
            1e3 * options.batch / statistics.median(one["strong_ms"]),
            1e3 * share * one["devices"] / statistics.median(one["weak_ms"]),
        )
        for one in found
    ]
    for count, strong, weak in speeds:
        ratios = (f"{strong / speeds[0][1]:.2f}", f"{weak / speeds[0][2]:.2f}")
        lines.append([str(count), f"{strong:,.0f}", ratios[0], f"{weak:,.0f}", ratios[1]])
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (
        f"a training step of {options.network} on forced CPU devices, measured. All share {cores} cores: there is no "
        "speed to gain, a ratio below 1 is what\nsplitting costs (left: one batch, strong scaling; right: one share a "
        f"device, weak scaling, where the batch grows)\n{text_output.table(lines)}"
    )
