"""Scaling: dry runs on TPU slices of increasing size with their cost, and one step on simulated CPU devices.

    python -m ltjax.bench scale --topologies v5e:4x4 v5e:8x8 v5e:16x16 --price PRICE

The first table compiles ``--config`` for every slice (``python -m ltjax.dryrun``) and has the lower bound of the time
from the chips' peak rates: by default with the config's batch (strong scaling), with ``--images-per-chip N`` with N
images per chip (weak scaling; the learning rate has to be adapted). ``--price`` is the price of a chip-hour; without it
no cost is shown. The second table measures a training step on 1, 2, 4 and 8 devices that XLA simulates on the CPU, each
in a separate process: they share the cores, so it shows the overhead of splitting, not its gain. ``--topologies`` or
``--devices`` without a value omits a table.
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
    parser.add_argument("--config", default="configs/inat_reslt.py", help="config of the dry runs")
    parser.add_argument("--topologies", nargs="*", default=list(SLICES), help="slices of the dry runs, such as v5e:4x4")
    parser.add_argument(
        "--images-per-chip", type=measure.at_least(1), help="for the dry runs; default: the config's batch"
    )
    parser.add_argument("--price", type=price, help="price of a chip-hour, in your currency")
    parser.add_argument(
        "--devices", type=measure.at_least(1), nargs="*", default=[1, 2, 4, 8], help="numbers of simulated CPU devices"
    )
    parser.add_argument("--network", default="resnet8", help="network of the measured step")
    parser.add_argument(
        "--batch", type=measure.at_least(1), default=64, help="batch of the measured step, over all devices"
    )
    options = parser.parse_args(arguments)
    for count in options.devices:
        if options.batch % count:
            parser.error(f"--batch: {options.batch} is not a multiple of {count} devices; choose another batch")
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


def dry_run(topology: str, options: argparse.Namespace) -> dict[str, Any]:
    """The numbers of ``python -m ltjax.dryrun``; a slice that is too small is also a result.

    Raises:
      InputError: the dry run's error about a bad topology or config.
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
    """The number of chips of a slice.

    Example:
      >>> chips("v5e:4x8")
      32
    """
    sides = topology.partition(":")[2].split("x")
    return math.prod(int(side) for side in sides) if all(side.isdigit() for side in sides) else 1


def slices_table(runs: list[dict[str, Any]], options: argparse.Namespace) -> str:
    """One line per slice: speed, time and cost."""
    how = f"{options.images_per_chip} images per chip" if options.images_per_chip else "the same batch"
    head = [
        "slice",
        "chips",
        "batch",
        "per chip",
        "MiB",
        "limited by",
        "images/s <=",
        "per chip",
        "hours >=",
        "chip-hours >=",
    ]
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
        f"dry runs of {options.config} ({how}): bounds from the chips' peak rates, not measured\n"
        f"{text_output.table(lines)}\n"
    )


def on_devices(count: int, options: argparse.Namespace) -> dict[str, Any]:
    """Times of a step on ``count`` simulated devices: ``--batch`` split over them, and a fixed batch per device."""
    share = options.batch // max(options.devices) * count
    strong = _step_ms(count, options.batch, options)
    weak = strong if share == options.batch else _step_ms(count, share, options)
    return {"devices": count, "strong_ms": strong, "weak_ms": weak}


def _step_ms(count: int, batch: int, options: argparse.Namespace) -> list[float]:
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


def devices_table(found: list[dict[str, Any]], options: argparse.Namespace) -> str:
    """One line per number of devices, with ratios to the speed of the first line."""
    share = options.batch // max(options.devices)
    lines = [["devices", f"batch {options.batch}, images/s", "ratio", f"{share} per device, images/s", "ratio"]]
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
        f"a training step of {options.network} on simulated CPU devices, measured. All share {cores} cores: no speed "
        "can be gained, a ratio below 1 is the\noverhead of splitting (left: fixed batch, strong scaling; right: fixed "
        f"batch per device, weak scaling)\n{text_output.table(lines)}"
    )
