"""A second stage on cached features, compared with the same stage that runs the backbone on every batch.

    python -m ltjax.bench stage2 --network resnet32 --second crt --batch 128 --classes 100

Both sides are the programs that ``ltjax.main`` runs, with the data on the device: the same records, no augmentation,
the same steps of the classifier, from the same weights. The first uses features that were computed once
(``config.decoupling.cached``), the other computes those of each batch. Before timing, both train ``--steps`` steps in
float32 and must agree. The time to compute the features is printed separately.
"""

import argparse
import dataclasses
import time
from typing import Any

import jax
import numpy as np

from ltjax.bench import measure, problems
from ltjax.bench.step import check
from ltjax.commands import text_output
from ltjax.data.dataset import array_source
from ltjax.data.loading.device_batches import Resident
from ltjax.errors import InputError, choose
from ltjax.methods import METHODS
from ltjax.methods.configure import resolve
from ltjax.methods.stage import trained
from ltjax.models import BACKBONES
from ltjax.settings.command_line import load
from ltjax.training.evaluation import feature_blocks
from ltjax.training.execution import mesh as meshes
from ltjax.training.execution.programs import call_length, resident_program
from ltjax.training.step.state import variables_of

SECOND = ("crt", "lws", "mlp", "cosine", "cosine_norelu")
CACHED, BACKBONE = "cached features", "backbone every batch"
LOSS_TOLERANCE = 1e-4  # relative, after --steps float32 steps
UPDATE_TOLERANCE = 1e-3  # of the norm of an array's change


class Side:
    """``steps`` training steps per call, with images or features [N, ...] on the device; returns the last loss."""

    def __init__(self, problem: problems.Problem, variables: Any, records: np.ndarray, steps: int) -> None:
        mesh, labels = problems.one_device(), problem.data.train.labels
        tables = {name: s.tables(labels, problem.data.num_classes) for name, s in problem.stage.streams.items()}
        self.state = meshes.put_replicated(problems.start(problem, variables, seed=0), mesh)
        self.tables = meshes.put_replicated(tables, mesh)
        self.resident = Resident(*meshes.put_replicated((records, labels), mesh))
        self.length = call_length(0, steps, jax.default_backend())
        self.calls = steps // self.length
        self.program = resident_program(problem.stage, problems.execution(problem, mesh, stage_index=1))

    def __call__(self) -> float:
        for _ in range(self.calls):
            self.state, metrics = self.program(self.state, {}, self.tables, self.resident, self.length)
        jax.block_until_ready(self.state)
        return float(metrics["loss"][-1])

    def variables(self) -> Any:
        return jax.tree.map(np.array, variables_of(self.state))  # a copy: the next step donates the state


def make_problem(options: argparse.Namespace, dtype: str, cached: bool) -> problems.Problem:
    """The second stage with the CIFAR recipe on long-tailed random images."""
    options.size = options.size or problems.default_size(options.network)
    recipe = load(f"configs/{'cifar10' if options.classes == 10 else 'cifar100'}_decoupling.py:{options.second}")
    recipe.model.backbone, recipe.batch_size, recipe.dtype = options.network, options.batch, dtype
    recipe.decoupling.cached = cached
    config = resolve(recipe)
    data = problems.synthetic(options.classes, options.size)
    labels = data.train.labels
    if options.images:
        labels = labels[np.linspace(0, len(labels) - 1, min(options.images, len(labels))).astype(int)]
    counts = np.bincount(labels, minlength=options.classes)
    if not counts.all() or len(labels) < options.batch:
        raise InputError(
            f"--images: {options.images} images are too few for {options.classes} classes at imbalance 100 and batches "
            f"of {options.batch}; use more images"
        )
    images = np.random.default_rng(1).integers(0, 256, (len(labels), *data.image_shape), np.uint8)
    source = array_source(images, labels, np.arange(len(labels)))
    data = dataclasses.replace(data, train=source, class_counts=counts)
    (_, stage) = trained(METHODS["decoupling"](config, data))
    return problems.Problem(options.network, stage, config, data, images[: options.batch], labels[: options.batch])


def features_of(problem: problems.Problem, variables: Any) -> tuple[np.ndarray, float]:
    """Features of all images, float [N, d], and the seconds to compute them, without compilation."""
    source, size = problem.data.train, problem.config.evaluation.batch_size

    def made(source: Any) -> np.ndarray:
        blocks = feature_blocks(problem.stage.representation, variables, source, size, problems.one_device())
        return np.concatenate(list(blocks))

    made(source.subset(np.arange(1)))  # compiles the program, which depends only on the batch size
    began = time.perf_counter()
    return made(source), time.perf_counter() - began


def make_sides(options: argparse.Namespace, dtype: str) -> tuple[dict[str, Side], float, problems.Problem]:
    """Both sides from the same weights, the seconds that the features took, and the problem of the cached side."""
    problem, other = (make_problem(options, dtype, cached) for cached in (True, False))
    variables = problems.fresh_variables(problem)
    rows, seconds = features_of(problem, variables)
    sides = {
        CACHED: Side(problem, variables, rows, options.steps),
        BACKBONE: Side(other, variables, other.data.train.images(np.arange(len(other.data.train))), options.steps),
    }
    return sides, seconds, problem


def parse(arguments: list[str]) -> Any:
    parser = measure.Parser("stage2", __doc__, repeats=5)
    parser.add_argument("--network", default="resnet32", help="a backbone, such as resnet32 or resnet50")
    parser.add_argument("--second", choices=SECOND, default="crt", help="the second stage")
    parser.add_argument("--batch", type=measure.at_least(2), default=128)
    parser.add_argument("--classes", type=measure.at_least(3), default=100)
    parser.add_argument("--size", type=measure.at_least(8), help="pixels; default 32, or 224 for ImageNet networks")
    parser.add_argument("--images", type=measure.at_least(1), help="training images; default: as many as CIFAR-LT has")
    parser.add_argument("--steps", type=measure.at_least(1), default=5, help="training steps per timed call")
    options = parser.parse_args(arguments)
    choose(BACKBONES, options.network, "--network")
    return options


def report(
    options: argparse.Namespace, times: measure.Times, seconds: float, problem: problems.Problem
) -> dict[str, Any]:
    """Prints the tables; returns the part of the JSON about times."""
    record = measure.summary(times, options.batch * options.steps)
    steps = {name: side["median_ms"] / options.steps for name, side in record["sides"].items()}
    ratio = record["speed_relative_to"][BACKBONE]
    rows = [["", "ms/step", "images/s", "cached is"]]
    for name, side in record["sides"].items():
        speed = f"{ratio:.0f}x as fast" if name == BACKBONE else ""
        rows.append([name, f"{steps[name]:.2f}", f"{side['images_per_second']:.0f}", speed])
    images, epochs = len(problem.data.train), problem.stage.epochs
    count = epochs * problems.steps_per_epoch(problem)
    whole = {name: 1e-3 * count * steps[name] for name in steps}
    print(
        f"second stage {options.second}: {options.network}, batch {options.batch}, {options.size} px, "
        f"{options.classes} classes, {options.dtype}; medians of {options.repeats} alternating runs"
    )
    print(text_output.table(rows))
    print(f"computing the features of {images:,} images once: {seconds:.2f} s ({images / seconds:.0f} images/s)")
    print(
        f"so {epochs} epochs of {count // epochs} steps would take {whole[CACHED] + seconds:.1f} s including the "
        f"features, {whole[CACHED]:.1f} s with stored features, {whole[BACKBONE]:.1f} s through the backbone",
        flush=True,
    )
    found = {"images": images, "features_seconds": seconds, "ms_per_step": steps, "epochs": epochs, "steps": count}
    return record | found | {"stage_seconds": whole}


def main(arguments: list[str]) -> None:
    """Checks, measures, prints, and writes the JSON."""
    options = parse(arguments)
    environment = measure.environment()
    print(measure.describe(environment), flush=True)
    sides, seconds, problem = make_sides(options, "float32")
    agreement = check(sides, LOSS_TOLERANCE, UPDATE_TOLERANCE)
    print(
        f"check, {options.steps} float32 steps from the same weights: relative difference of the loss "
        f"{agreement['loss']:.1e}, of the updates at most {agreement['update']:.1e} ({agreement['update_worst']})",
        flush=True,
    )
    if options.dtype != "float32":
        sides, seconds, problem = make_sides(options, options.dtype)
    times = measure.interleaved(sides, options.repeats, warmup=1)
    record = report(options, times, seconds, problem)
    named = {key: value for key, value in vars(options).items() if key != "json"}
    about = {"benchmark": "stage2", "environment": environment, "options": named, "check": agreement}
    text_output.write_json(options.json, about | record)
