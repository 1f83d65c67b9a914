"""One training step beside PyTorch's: forward, backward, SGD and batch statistics, on a batch that lies on the device.

    python -m ltjax.bench step --network resnet32 --method ce --batch 128 --classes 100

Ours is the step that ``ltjax.main`` runs, on one device, with the recipe of ``configs/cifar100_ce.py``; PyTorch's is
the same network, loss and optimiser, run eagerly in channels_last (on a GPU with ``--compile`` also through
``torch.compile``). Before anything is timed both make one float32 step from the same weights, and must agree.
"""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax import traverse_util

from ltjax.bench import measure
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
# Of the norm of an array's change. ResNet-32, batch 128: the two sides agree to 6e-12 in float64, and differ in float32
# by 1.6e-2, for a sum of another order turns ReLUs. A forgotten weight decay, nesterov flag or normalisation is more;
# what is less (a learning rate off by 5 %) only the float64 test of the suite would see.
UPDATE_TOLERANCE = 5e-2


class Ours:
    """One training step a call, from ``variables`` on; returns the loss when all is done."""

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
        """FLOPs of a step's products and convolutions, and the bytes that its program takes. Compiles it again."""
        step: Any = self.step
        traced = step.trace(self.state, {}, self.batch)
        made = traced.lower().compile().memory_analysis()
        outputs = max(made.output_size_in_bytes - made.alias_size_in_bytes, 0)
        taken = made.argument_size_in_bytes + made.temp_size_in_bytes + outputs + made.generated_code_size_in_bytes
        return {"matrix_flops": float(matrix_flops(traced.jaxpr)), "bytes": float(taken)}


def check(sides: Mapping[str, Any], loss_tolerance: float, update_tolerance: float) -> dict[str, Any]:
    """One step of each side from where it stands, which must be the same place; the first is compared with the others.

    Returns:
      loss: the relative difference. update: the largest ``|ours - theirs| / |theirs - before|`` over the arrays
      (parameters and batch statistics) in the Euclidean norm, update_worst: in which; element: the same in the largest
      single element, which is reported but not limited. The worst of all peers.

    Raises:
      Disagreement: if either is above its tolerance.
    """
    ours, *peers = sides.values()
    a, after = ours(), ours.variables()
    worst: dict[str, Any] = {"loss": 0.0, "update": 0.0, "update_worst": "", "element": 0.0}
    for theirs in peers:
        before, b = theirs.variables(), theirs()
        record = {"loss": abs(a - b) / abs(b)} | update_difference(before, after, theirs.variables())
        if not record["loss"] <= loss_tolerance or not record["update"] <= update_tolerance:
            raise measure.Disagreement(
                f"check: the two sides do not make the same step: loss {a:.6g} and {b:.6g} (relative difference "
                f"{record['loss']:.1e}, allowed {loss_tolerance:.0e}); changes differ by {record['update']:.1e} of the "
                f"change in {record['update_worst']} (allowed {update_tolerance:.0e})"
            )
        worst |= {key: max(worst[key], record[key]) for key in ("loss", "element")}
        if record["update"] >= worst["update"]:
            worst |= {key: record[key] for key in ("update", "update_worst")}
    return worst


def update_difference(before: Any, ours: Any, theirs: Any) -> dict[str, Any]:
    """The largest difference of an array's change relative to that change, as ``check`` has it; inf for NaN."""
    flat = [traverse_util.flatten_dict(tree, sep="/") for tree in (before, ours, theirs)]
    if not flat[0].keys() == flat[1].keys() == flat[2].keys():
        raise measure.Disagreement(f"check: the sides have other arrays: {sorted(flat[1].keys() ^ flat[2].keys())}")

    def relative(path: str, norm: float) -> float:
        start, a, b = (np.asarray(tree[path], np.float64).ravel() for tree in flat)
        value = np.linalg.norm(a - b, norm) / max(np.linalg.norm(b - start, norm), np.finfo(np.float64).tiny)
        return float(value) if np.isfinite(value) else np.inf

    differences = {path: relative(path, 2) for path in flat[0]}
    worst = max(differences, key=lambda path: differences[path])
    element = max(relative(path, np.inf) for path in flat[0])
    return {"update": differences[worst], "update_worst": worst, "element": element}


def make_sides(problem: Problem, platform: str, compiled: bool) -> dict[str, Any]:
    """name -> a step: ours, and PyTorch where it can run beside us, all from the same weights."""
    if pytorch.unavailable(platform):
        return {"ltjax": Ours(problem, fresh_variables(problem))}
    theirs = make_peer(problem, platform)
    sides: dict[str, Any] = {"ltjax": Ours(problem, theirs.variables()), "torch": theirs}
    if compiled:
        sides["torch.compile"] = make_peer(problem, platform, compiled=True)
    return sides


def cost_of(sides: Mapping[str, Any], record: Mapping[str, Any], kind: str, dtype: str) -> dict[str, Any]:
    """What the step takes, and which part of the chip's peak it reaches (MFU), where the peak is known.

    Every side makes the same products, so each is counted with the FLOPs of ours. PyTorch's bytes are the most that its
    allocator held on a GPU; on a CPU they are not known.
    """
    cost: dict[str, Any] = sides["ltjax"].cost()
    chip = of_kind(kind)
    peak = chip.flops.get(dtype) if chip is not None else None
    held = pytorch.most_held()
    for name, side in record["sides"].items():
        rate = cost["matrix_flops"] / (1e-3 * side["median_ms"])
        taken = cost["bytes"] if name == "ltjax" else held
        side |= {"flops_per_second": rate, "mfu": rate / peak if peak else None, "bytes": taken}
    return cost | {"peak_flops_per_second": peak}


def cost_table(record: Mapping[str, Any]) -> str:
    """FLOP/s, part of the peak and memory of every side; "-" for what is not known."""
    rows = [["", "TFLOP/s", "MFU", "MiB"]]
    for name, side in record["sides"].items():
        mfu = f"{side['mfu']:.1%}" if side["mfu"] is not None else "-"
        taken = f"{side['bytes'] / 2**20:,.0f}" if side["bytes"] else "-"
        rows.append([name, f"{side['flops_per_second'] / 1e12:.3g}", mfu, taken])
    return text_output.table(rows)


def report(options: Any, times: measure.Times, parameters: int) -> dict[str, Any]:
    """Prints the table; returns the part of the JSON about times."""
    record = measure.summary(times, options.batch)
    rows = [["", "ms a step", "images/s", "ltjax is"]]
    for name, side in record["sides"].items():
        ratio = record["speed_relative_to"].get(name)
        speed = "" if ratio is None else f"{ratio:.2f}x as fast"
        rows.append([name, f"{side['median_ms']:.1f}", f"{side['images_per_second']:.0f}", speed])
    print(
        f"training step: {options.network} ({parameters:,} parameters), {options.method}, batch {options.batch}, "
        f"{options.size} px, {options.classes} classes, {options.dtype}; medians of {options.repeats}, in turns"
    )
    print(text_output.table(rows), flush=True)
    return record


def parse(arguments: list[str]) -> Any:
    parser = measure.Parser("step", __doc__, repeats=20)
    add_options(parser)
    parser.add_argument("--compile", action="store_true", help="also torch.compile (GPU only)")
    parser.add_argument("--cost", action="store_true", help="also FLOP/s, part of the peak (MFU) and memory")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> None:
    """Checks, measures, prints, and writes the JSON."""
    options = parse(arguments)
    environment = measure.environment()
    platform = environment["platform"]
    if options.compile and platform != "gpu":
        raise InputError(f"--compile: torch.compile is measured on GPUs only, and this is a {platform}; leave it out")
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
    named = {key: value for key, value in vars(options).items() if key != "json"}
    about = {"benchmark": "step", "environment": environment, "options": named, "parameters": parameters}
    text_output.write_json(options.json, about | {"check": agreement} | record)


def compare(sides: Mapping[str, Any], platform: str) -> dict[str, Any] | None:
    """The check of the float32 sides; prints the result. None without a peer."""
    if "torch" not in sides:
        print(pytorch.unavailable(platform), flush=True)
        return None
    with pytorch.exact(platform):
        record = check(sides, LOSS_TOLERANCE, UPDATE_TOLERANCE)
    print(
        f"check, one float32 step from the same weights: the loss differs by {record['loss']:.1e} relative, changes by "
        f"at most {record['update']:.1e} of their norm ({record['update_worst']}), single elements by "
        f"{record['element']:.1e} of the largest",
        flush=True,
    )
    return record
