"""Training with the data on the device, compared with a PyTorch loop over a DataLoader.

    python -m ltjax.bench scan --network resnet32 --method ce --batch 128 --lengths 1 84

The ltjax side is the program that ``ltjax.main`` runs: sampling, augmentation and training steps in one call. The
PyTorch side trains the same network on the same records with the same crops, which are drawn beforehand and cut in the
loader's workers; batches are normalised on the device. First both sides make the same steps from the same weights, and
must agree. Times are for ``--steps`` steps, including loading.
"""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from ltjax.bench import measure, problems
from ltjax.bench.peers import pytorch
from ltjax.bench.peers.loop import Crops, Loop
from ltjax.commands import text_output
from ltjax.data.augment.registry import TRANSFORMS
from ltjax.data.loading.device_batches import Resident
from ltjax.data.sampling.counter_rng import name_id
from ltjax.methods.stage import Tree
from ltjax.training.execution import mesh as meshes
from ltjax.training.execution.programs import resident_program
from ltjax.training.execution.seeds import stack_seeds
from ltjax.training.open_stage import shape_of_state
from ltjax.training.step.state import parameter_count

AUGMENT = TRANSFORMS["pad_crop_flip"]
CHECKED_STEPS = 3
# Relative, for a loss after up to three float32 steps from the same weights: rounding errors grow with each step.
LOSS_TOLERANCE = 1e-3


class OnDevice:
    """``steps`` training steps per call with the data on the device; returns the losses [steps] or [steps, seeds]."""

    def __init__(
        self,
        problem: problems.Problem,
        images: np.ndarray,
        variables: Sequence[Tree],
        *,
        steps: int,
        length: int,
        how: str = "unroll",
        unroll: int = 1,
        **execution: Any,
    ) -> None:
        """images: uint8 [N, H, W, 3], all records; variables: weights of seeds 0, 1, ...; how: as in ``over_seeds``.

        execution: further fields of ``Execution``.
        """
        mesh = problems.one_device()
        labels = problem.data.train.labels
        tables = {name: s.tables(labels, problem.data.num_classes) for name, s in problem.stage.streams.items()}
        states = [problems.start(problem, weights, seed) for seed, weights in enumerate(variables)]
        self.calls, self.length = steps // length, length
        self.state = meshes.put_replicated(stack_seeds(states, "state"), mesh)
        self.tables = meshes.put_replicated(stack_seeds([tables] * len(states), "tables"), mesh)
        self.resident = Resident(*meshes.put_replicated((images, labels), mesh))
        self.program = program_of(problem, mesh, (len(states), how), unroll, **execution)

    def __call__(self) -> np.ndarray:
        losses = []
        for _ in range(self.calls):
            self.state, metrics = self.program(self.state, {}, self.tables, self.resident, self.length)
            losses.append(metrics["loss"])
        jax.block_until_ready(self.state)
        return np.concatenate(jax.device_get(losses))


def program_of(
    problem: problems.Problem, mesh: Mesh, seeds: tuple[int, str] = (1, "unroll"), unroll: int = 1, **execution: Any
) -> Any:
    """The jitted program of (state, constants, tables, images and labels, steps) on these devices."""
    made = problems.execution(problem, mesh, transform=AUGMENT, seeds=seeds, **execution)
    return resident_program(problem.stage, made, unroll)


def arguments_of(problem: problems.Problem, seeds: int = 1) -> tuple[Any, ...]:
    """The shapes of all arguments of ``program_of`` but the number of steps."""
    labels, data = problem.data.train.labels, problem.data
    tables = {name: s.tables(labels, data.num_classes) for name, s in problem.stage.streams.items()}
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(np.shape(x), x.dtype), stack_seeds([tables] * seeds, "tables"))
    images = jax.ShapeDtypeStruct((len(labels), *data.image_shape), np.uint8)
    resident = Resident(images, jax.ShapeDtypeStruct(labels.shape, labels.dtype))
    return shape_of_state(data, problem.stage, {}, seeds), {}, shapes, resident


def random_images(problem: problems.Problem) -> np.ndarray:
    """Random images for all records, uint8 [N, H, W, 3]."""
    shape = (len(problem.data.train), *problem.data.image_shape)
    return np.random.default_rng(1).integers(0, 256, shape, np.uint8)


def crops(problem: problems.Problem, images: np.ndarray, steps: int) -> Crops:
    """The images of the first steps of seed 0, as a PyTorch data set."""
    ((name, sampler),) = problem.stage.streams.items()
    labels = problem.data.train.labels
    position = (0, name_id(name), 0, np.arange(steps * len(problem.labels)))
    records = sampler.draw(sampler.tables(labels, problem.data.num_classes), *position)
    return Crops(images, labels, records, AUGMENT.draw(*position), pad=4)


def make_peer(problem: problems.Problem, images: np.ndarray, steps: int, platform: str, workers: int) -> Loop:
    trainer = problems.make_peer(problem, platform)
    return Loop(trainer, crops(problem, images, steps), len(problem.labels), workers)


def check(ours: OnDevice, theirs: Loop, tolerance: float) -> float:
    """The largest relative difference between the losses of the same steps from the same weights.

    Raises:
      Disagreement: if it is above ``tolerance``.
    """
    a, b = ours(), np.asarray(theirs())
    difference = float(np.max(np.abs(a - b) / np.abs(b)))
    if not difference <= tolerance:
        raise measure.Disagreement(
            f"check: the two sides make different steps: losses {np.round(a, 5).tolist()} and "
            f"{np.round(b, 5).tolist()} (relative difference {difference:.1e}, allowed {tolerance:.0e})"
        )
    return difference


def parse(arguments: list[str], platform: str) -> Any:
    cpu = platform == "cpu"
    parser = measure.Parser("scan", __doc__, repeats=3 if cpu else 5)
    problems.add_options(parser)
    parser.add_argument("--steps", type=measure.at_least(1), default=6 if cpu else 84, help="steps per timed call")
    parser.add_argument("--lengths", type=measure.at_least(1), nargs="+", default=[1] if cpu else [84, 1],
                        help="steps per program call")  # fmt: skip
    parser.add_argument("--unroll", type=measure.at_least(1), default=1, help="unroll factor of the scan over steps")
    parser.add_argument("--workers", type=int, default=0 if cpu else 8, help="workers of PyTorch's DataLoader")
    parser.add_argument("--profile", metavar="DIR", help="also write a profile of ltjax for TensorBoard or Perfetto")
    options = parser.parse_args(arguments)
    for length in options.lengths:
        if options.steps % length:
            parser.error(
                f"--lengths: {options.steps} steps are not a multiple of {length}; change --steps or --lengths"
            )
    return options


def main(arguments: list[str]) -> None:
    """Checks, measures, prints, and writes the JSON."""
    environment = measure.environment()
    platform = environment["platform"]
    options = parse(arguments, platform)
    print(measure.describe(environment), flush=True)
    agreement = compare(options, platform)
    problem = problems.chosen(options, options.dtype)
    images, why = random_images(problem), pytorch.unavailable(platform)
    theirs = None if why else make_peer(problem, images, options.steps, platform, options.workers)
    variables = problems.fresh_variables(problem) if theirs is None else theirs.trainer.variables()
    sides: dict[str, Any] = {
        f"ltjax, {length} a call": OnDevice(
            problem, images, [variables], steps=options.steps, length=length, unroll=options.unroll
        )
        for length in options.lengths
    }
    if theirs is not None:
        sides[f"torch, {options.workers} workers"] = theirs
    times = measure.interleaved(sides, options.repeats, warmup=1)
    if options.profile:
        with jax.profiler.trace(options.profile):
            sides[f"ltjax, {max(options.lengths)} a call"]()
    record = report(options, times, parameter_count(variables["params"]))
    named = {key: value for key, value in vars(options).items() if key != "json"}
    about = {"benchmark": "scan", "environment": environment, "options": named, "check": agreement}
    text_output.write_json(options.json, about | record)


def compare(options: argparse.Namespace, platform: str) -> float | None:
    """Checks agreement in float32 and prints the result; None without PyTorch."""
    if why := pytorch.unavailable(platform):
        print(why, flush=True)
        return None
    problem = problems.chosen(options, "float32")
    images, steps = random_images(problem), min(CHECKED_STEPS, problems.steps_per_epoch(problem))
    theirs = make_peer(problem, images, steps, platform, 0)
    ours = OnDevice(problem, images, [theirs.trainer.variables()], steps=steps, length=1)
    with pytorch.exact(platform):
        difference = check(ours, theirs, LOSS_TOLERANCE)
    print(
        f"check, {steps} float32 steps from the same weights on the same crops: losses differ by {difference:.1e} "
        "relative",
        flush=True,
    )
    return difference


def report(options: argparse.Namespace, times: Mapping[str, list[float]], parameters: int) -> dict[str, Any]:
    """Prints the table; returns the part of the JSON about times."""
    images = options.batch * options.steps
    record = measure.summary(dict(times), images)
    torch = next((name for name in times if name.startswith("torch")), None)
    rows = [["", "ms/step", "images/s", "relative to torch" if torch else ""]]
    over_torch = {}
    for name, side in record["sides"].items():
        over_torch[name] = measure.median_ratio(dict(times), name, torch) if torch else None
        speed = "" if over_torch[name] is None else f"{over_torch[name]:.2f}x"
        rows.append([name, f"{side['median_ms'] / options.steps:.2f}", f"{side['images_per_second']:.0f}", speed])
    print(
        f"training, {options.steps} steps: {options.network} ({parameters:,} parameters), {options.method}, batch "
        f"{options.batch}, {options.size} px, {options.classes} classes, {options.dtype}; medians of "
        f"{options.repeats} alternating runs"
    )
    print(text_output.table(rows), flush=True)
    milliseconds = {name: side["median_ms"] / options.steps for name, side in record["sides"].items()}
    return record | {"ms_per_step": milliseconds, "speed_over_torch": over_torch}
