"""Several seeds in one program, vmapped or unrolled, compared with one seed and with successive PyTorch runs.

    python -m ltjax.bench seeds --network resnet32 --seeds 1 2 4 8 --by vmap unroll

Each side makes ``--steps`` training steps of all its seeds with the data on the device (``python -m ltjax.bench scan``
compares one seed with PyTorch's whole loop). PyTorch's time for n seeds is n times the step of ``python -m ltjax.bench
step``. First the losses of one seed have to agree with PyTorch's, and those in a joint program with a single run.
"""

import argparse
from typing import Any

import jax
import numpy as np

from ltjax.bench import measure, problems, scan
from ltjax.bench.peers import pytorch
from ltjax.bench.scan import CHECKED_STEPS, OnDevice, random_images
from ltjax.commands import text_output

LOSS_TOLERANCE = 1e-3  # relative, float32, after up to three steps
WAYS = ("unroll", "vmap")


def variables_of_seeds(problem: problems.Problem, seeds: int) -> list[Any]:
    """Random weights for each seed, on the host."""
    init = jax.jit(lambda key, images: problem.stage.network.init(key, images, train=False))
    images = np.zeros((1, *problem.data.image_shape), np.uint8)
    return [jax.device_get(init(jax.random.key(seed), images)) for seed in range(seeds)]


def check(problem: problems.Problem, images: np.ndarray, how: str, tolerance: float) -> float:
    """The largest relative difference between the losses of seed 0 in a joint program and in a single run.

    Raises:
      Disagreement: if it is above ``tolerance``, or if both seeds have the same losses.
    """
    steps = min(CHECKED_STEPS, problems.steps_per_epoch(problem))
    variables = variables_of_seeds(problem, 2)
    together = OnDevice(problem, images, variables, steps=steps, length=1, how=how)()
    alone = OnDevice(problem, images, variables[:1], steps=steps, length=1)()
    difference = float(np.max(np.abs(together[:, 0] - alone) / np.abs(alone)))
    if not difference <= tolerance or np.allclose(together[:, 0], together[:, 1], rtol=1e-5):
        raise measure.Disagreement(
            f"check: seed 0 in one program ({how}) has losses {np.round(together[:, 0], 5).tolist()}, alone "
            f"{np.round(alone, 5).tolist()} (relative difference {difference:.1e}, allowed {tolerance:.0e}); seed 1 "
            f"has {np.round(together[:, 1], 5).tolist()}"
        )
    return difference


def parse(arguments: list[str], platform: str) -> Any:
    cpu = platform == "cpu"
    parser = measure.Parser("seeds", __doc__, repeats=3 if cpu else 5)
    problems.add_options(parser)
    parser.add_argument("--seeds", type=measure.at_least(1), nargs="+", default=[1, 2] if cpu else [1, 2, 4, 8])
    parser.add_argument("--by", choices=WAYS, nargs="+", default=list(WAYS), help="how seeds share the program")
    parser.add_argument("--steps", type=measure.at_least(1), default=2 if cpu else 84, help="steps per timed call")
    parser.add_argument("--length", type=measure.at_least(1), default=1 if cpu else 84, help="steps per program call")
    options = parser.parse_args(arguments)
    if options.steps % options.length:
        parser.error(
            f"--length: {options.steps} steps are not a multiple of {options.length}; change --steps or --length"
        )
    return options


def main(arguments: list[str]) -> None:
    """Checks, measures, prints, and writes the JSON."""
    environment = measure.environment()
    platform = environment["platform"]
    options = parse(arguments, platform)
    print(measure.describe(environment), flush=True)
    against_torch = scan.compare(options, platform)
    plain = problems.chosen(options, "float32")
    images: Any = random_images(plain)
    agreement: dict[str, float] = {}
    for how in options.by:
        with pytorch.exact(platform):
            agreement[how] = check(plain, images, how, LOSS_TOLERANCE)
        print(
            f"check, {how}: relative difference of a seed's losses from its single run {agreement[how]:.1e}",
            flush=True,
        )
    problem = problems.chosen(options, options.dtype)
    variables = variables_of_seeds(problem, max(options.seeds))
    common: dict[str, Any] = {"steps": options.steps, "length": options.length}
    sides: dict[str, Any] = {"1 seed": OnDevice(problem, images, variables[:1], **common)}
    sides |= {
        f"{n} seeds, {how}": OnDevice(problem, images, variables[:n], how=how, **common)
        for how in options.by
        for n in options.seeds
        if n > 1
    }
    if not pytorch.unavailable(platform):
        sides["torch, 1 seed"] = Repeated(problems.make_peer(problem, platform), options.steps)
    times = measure.interleaved(sides, options.repeats, warmup=1)
    record = report(options, times)
    named = {key: value for key, value in vars(options).items() if key != "json"}
    checks = agreement | {"torch": against_torch}
    about = {"benchmark": "seeds", "environment": environment, "options": named, "check": checks}
    text_output.write_json(options.json, about | record)


class Repeated:
    """``steps`` steps per call."""

    def __init__(self, side: Any, steps: int) -> None:
        self.side, self.steps = side, steps

    def __call__(self) -> None:
        for _ in range(self.steps):
            self.side()


def report(options: argparse.Namespace, times: dict[str, list[float]]) -> dict[str, Any]:
    """Prints the table; returns the part of the JSON about times."""
    record = measure.summary(times, options.batch * options.steps)
    torch = "torch, 1 seed" in times
    rows = [["", "ms/step", "time relative to one seed", "seeds/s relative to torch" if torch else ""]]
    relative = {}
    for name, side in record["sides"].items():
        seeds = int(name.removeprefix("torch, ").split()[0])
        ratio = measure.median_ratio(times, "1 seed", name)
        over_torch = seeds * measure.median_ratio(times, name, "torch, 1 seed") if torch else None
        relative[name] = {"seeds": seeds, "of_one_seed": ratio, "seeds_per_second_over_torch": over_torch}
        faster = "" if over_torch is None else f"{over_torch:.2f}x"
        rows.append([name, f"{side['median_ms'] / options.steps:.2f}", f"{ratio:.2f}x", faster])
    print(
        f"training, all seeds in one program: {options.network}, {options.method}, batch {options.batch} per seed, "
        f"{options.size} px, {options.classes} classes, {options.dtype}; medians of {options.repeats} alternating runs"
    )
    print(text_output.table(rows), flush=True)
    return record | {"relative": relative}
