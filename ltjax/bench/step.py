"""One training step compared with PyTorch: forward, backward, update, batch statistics, with the batch on the device.

    python -m ltjax.bench step --network resnet32 --method ce --batch 128 --classes 100

The ltjax side is the step that ``ltjax.main`` runs, on one device, with the recipe of ``configs/cifar100_ce.py``, whose
SGD ``--optimizer adamw`` replaces. The PyTorch side has the same network, loss and optimiser, run eagerly in
channels_last (on a GPU with ``--compile`` also through ``torch.compile``). Before timing, both make one float32 step
from the same weights, and must agree. With ``--profile`` both run on one core, and their operations are timed, too.
"""

import argparse
import contextlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax import traverse_util

from ltjax.bench import measure, profile
from ltjax.bench.peers import pytorch
from ltjax.bench.problems import (
    Problem,
    add_options,
    chosen,
    execution,
    fresh_variables,
    make_peer,
    one_device,
    start,
)
from ltjax.commands import text_output
from ltjax.errors import InputError
from ltjax.hardware.chips import of_kind
from ltjax.hardware.flops import matrix_flops
from ltjax.training.execution import mesh as meshes
from ltjax.training.execution.programs import streamed_step
from ltjax.training.step.state import parameter_count, variables_of

LOSS_TOLERANCE = 1e-4  # relative
# Relative to the norm of an array's update. ResNet-32, batch 128: the sides agree to 6e-12 in float64 and differ by
# 1.6e-2 in float32, where another summation order flips ReLUs. Missing weight decay, Nesterov momentum or normalisation
# exceeds the tolerance; smaller errors (a learning rate off by 5 %) only show in the float64 test of the suite.
UPDATE_TOLERANCE = 5e-2


class Ours:
    """One training step per call, starting from ``variables``; returns the loss when the step is done."""

    def __init__(self, problem: Problem, variables: Any) -> None:
        mesh = one_device()
        streams = {
            "image": {"image": problem.images, "label": problem.labels, "index": np.zeros_like(problem.labels)},
        }
        self.state = meshes.put_replicated(start(problem, variables, seed=0), mesh)
        self.batch = meshes.put_split(streams, mesh)
        self.step = streamed_step(problem.stage, execution(problem, mesh))

    def __call__(self) -> float:
        self.state, metrics = self.step(self.state, {}, self.batch)
        jax.block_until_ready((self.state, metrics))
        return float(metrics["loss"][0])

    def variables(self) -> Any:
        return jax.tree.map(np.array, variables_of(self.state))  # a copy: the next step donates the state

    def cost(self) -> dict[str, float]:
        """FLOPs of a step's matrix products and convolutions, and the bytes its program needs. Compiles it again."""
        step: Any = self.step
        traced = step.trace(self.state, {}, self.batch)
        made = traced.lower().compile().memory_analysis()
        outputs = max(made.output_size_in_bytes - made.alias_size_in_bytes, 0)
        taken = made.argument_size_in_bytes + made.temp_size_in_bytes + outputs + made.generated_code_size_in_bytes
        return {"matrix_flops": float(matrix_flops(traced.jaxpr)), "bytes": float(taken)}


def check(sides: Mapping[str, Any], loss_tolerance: float, update_tolerance: float) -> dict[str, Any]:
    """Makes one step on each side, from equal states, and compares the first side with the others.

    Returns:
      The maxima over the other sides. loss: the relative difference; update: the largest
      ``|ours - theirs| / |theirs - before|`` over the arrays (parameters and batch statistics) in the Euclidean norm;
      update_worst: the name of that array; element: the same for single elements, reported but not limited.

    Raises:
      Disagreement: if loss or update is above its tolerance.
    """
    ours, *peers = sides.values()
    a, after = ours(), ours.variables()
    worst: dict[str, Any] = {"loss": 0.0, "update": 0.0, "update_worst": "", "element": 0.0}
    for theirs in peers:
        before, b = theirs.variables(), theirs()
        record = {"loss": abs(a - b) / abs(b)} | update_difference(before, after, theirs.variables())
        if not record["loss"] <= loss_tolerance or not record["update"] <= update_tolerance:
            raise measure.Disagreement(
                f"check: the two sides make different steps: loss {a:.6g} and {b:.6g} (relative difference "
                f"{record['loss']:.1e}, allowed {loss_tolerance:.0e}); relative difference of the update of "
                f"{record['update_worst']} {record['update']:.1e} (allowed {update_tolerance:.0e})"
            )
        worst |= {key: max(worst[key], record[key]) for key in ("loss", "element")}
        if record["update"] >= worst["update"]:
            worst |= {key: record[key] for key in ("update", "update_worst")}
    return worst


def update_difference(before: Any, ours: Any, theirs: Any) -> dict[str, Any]:
    """The largest relative difference of an array's update, as ``check`` returns it; inf for NaN."""
    flat = [traverse_util.flatten_dict(tree, sep="/") for tree in (before, ours, theirs)]
    if not flat[0].keys() == flat[1].keys() == flat[2].keys():
        raise measure.Disagreement(f"check: the sides have different arrays: {sorted(flat[1].keys() ^ flat[2].keys())}")

    def relative(path: str, norm: float) -> float:
        start, a, b = (np.asarray(tree[path], np.float64).ravel() for tree in flat)
        value = np.linalg.norm(a - b, norm) / max(np.linalg.norm(b - start, norm), np.finfo(np.float64).tiny)
        return float(value) if np.isfinite(value) else np.inf

    differences = {path: relative(path, 2) for path in flat[0]}
    worst = max(differences, key=lambda path: differences[path])
    element = max(relative(path, np.inf) for path in flat[0])
    return {"update": differences[worst], "update_worst": worst, "element": element}


def make_sides(problem: Problem, platform: str, compiled: bool) -> dict[str, Any]:
    """name -> training step: ltjax, and PyTorch if it is available, all from the same weights."""
    if pytorch.unavailable(platform):
        return {"ltjax": Ours(problem, fresh_variables(problem))}
    theirs = make_peer(problem, platform)
    sides: dict[str, Any] = {"ltjax": Ours(problem, theirs.variables()), "torch": theirs}
    if compiled:
        sides["torch.compile"] = make_peer(problem, platform, compiled=True)
    return sides


def cost_of(sides: Mapping[str, Any], record: Mapping[str, Any], kind: str, dtype: str) -> dict[str, Any]:
    """FLOPs and memory of the step, and the fraction of the chip's peak rate that it reaches (MFU), if that is known.

    All sides compute the same products, so ltjax's FLOPs count for each. PyTorch's bytes are the maximum that its
    allocator held on a GPU; on a CPU they are unknown.
    """
    cost: dict[str, Any] = sides["ltjax"].cost()
    chip = of_kind(kind)
    peak = chip.flops.get(dtype) if chip is not None else None
    peak_memory = pytorch.peak_memory()
    for name, side in record["sides"].items():
        rate = cost["matrix_flops"] / (1e-3 * side["median_ms"])
        taken = cost["bytes"] if name == "ltjax" else peak_memory
        side |= {"flops_per_second": rate, "mfu": rate / peak if peak else None, "bytes": taken}
    return cost | {"peak_flops_per_second": peak}


def cost_table(record: Mapping[str, Any]) -> str:
    """FLOP/s, MFU and memory of each side; "-" if unknown."""
    rows = [["", "TFLOP/s", "MFU", "MiB"]]
    for name, side in record["sides"].items():
        mfu = f"{side['mfu']:.1%}" if side["mfu"] is not None else "-"
        taken = f"{side['bytes'] / 2**20:,.0f}" if side["bytes"] else "-"
        rows.append([name, f"{side['flops_per_second'] / 1e12:.3g}", mfu, taken])
    return text_output.table(rows)


def report(options: argparse.Namespace, times: measure.Times, parameters: int) -> dict[str, Any]:
    """Prints the table; returns the part of the JSON about times."""
    record = measure.summary(times, options.batch)
    rows = [["", "ms/step", "images/s", "ltjax is"]]
    for name, side in record["sides"].items():
        ratio = record["speed_relative_to"].get(name)
        speed = "" if ratio is None else f"{ratio:.2f}x as fast"
        rows.append([name, f"{side['median_ms']:.1f}", f"{side['images_per_second']:.0f}", speed])
    print(
        f"training step: {options.network} ({parameters:,} parameters), {options.method}, {options.optimizer}, "
        f"batch {options.batch}, {options.size} px, {options.classes} classes, {options.dtype}; medians of "
        f"{options.repeats} alternating runs"
    )
    print(text_output.table(rows), flush=True)
    return record


def parse(arguments: list[str]) -> Any:
    parser = measure.Parser("step", __doc__, repeats=20)
    add_options(parser)
    parser.add_argument("--compile", action="store_true", help="also measure torch.compile (GPU only)")
    parser.add_argument("--cost", action="store_true", help="also print FLOP/s, MFU and memory")
    parser.add_argument(
        "--profile", action="store_true", help="on one core, and also print the time by kind of operation (CPU only)"
    )
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> None:
    """Checks, measures, prints, and writes the JSON."""
    options = parse(arguments)
    with profile.one_core() if options.profile else contextlib.nullcontext():
        measured(options)


def measured(options: Any) -> None:
    """What ``main`` does with these options."""
    environment = measure.environment()
    platform = environment["platform"]
    if options.compile and platform != "gpu":
        raise InputError(
            f"--compile: torch.compile is only measured on GPUs, and this is a {platform}; remove the option"
        )
    if options.profile and platform != "cpu":
        raise InputError(f"--profile: operations are only timed on CPUs, and this is a {platform}; remove the option")
    print(measure.describe(environment), flush=True)

    def sides_in(dtype: str) -> dict[str, Any]:
        return make_sides(chosen(options, dtype), platform, options.compile)

    sides = sides_in("float32")
    agreement = compare(sides, platform)
    if options.dtype != "float32":
        sides = sides_in(options.dtype)
    parameters = parameter_count(sides["ltjax"].state.params)
    times = measure.interleaved(sides, options.repeats, warmup=3)
    record = report(options, times, parameters)
    if options.cost:
        record["cost"] = cost_of(sides, record, environment["device_kind"], options.dtype)
        print(cost_table(record), flush=True)
    if options.profile:
        record["profile"] = profile.profiled(sides, steps=min(options.repeats, 5))
    named = {key: value for key, value in vars(options).items() if key != "json"}
    about = {"benchmark": "step", "environment": environment, "options": named, "parameters": parameters}
    text_output.write_json(options.json, about | {"check": agreement} | record)


def compare(sides: Mapping[str, Any], platform: str) -> dict[str, Any] | None:
    """Checks agreement in float32 and prints the result; None without PyTorch."""
    if "torch" not in sides:
        print(pytorch.unavailable(platform), flush=True)
        return None
    with pytorch.exact(platform):
        record = check(sides, LOSS_TOLERANCE, UPDATE_TOLERANCE)
    print(
        f"check, one float32 step from the same weights: relative difference of the loss {record['loss']:.1e}, "
        f"of the updates at most {record['update']:.1e} ({record['update_worst']}), of single elements "
        f"{record['element']:.1e}",
        flush=True,
    )
    return record
