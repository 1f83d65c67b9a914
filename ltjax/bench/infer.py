"""Evaluation compared with PyTorch: milliseconds per batch of 64, images per second, FLOPs and parameters.

    python -m ltjax.bench infer --networks resnet32 resnet10 resnet50 resnext50_32x4d --size 224 --batch 64
    python -m ltjax.bench infer --configs configs/imagenet_baselines.py:ride configs/imagenet_reslt.py:experts=3

The forward pass from uint8 images on the device to logits, batch norm with its stored statistics; PyTorch runs eagerly
in channels_last and ``inference_mode``. Networks of the CIFAR family always use 32 pixels. GFLOPs are XLA's count per
image: 2 for a multiply-add (papers often count 1), without products with padding. Before timing, both sides compute
float32 logits with the same weights, which must agree.

``--configs`` measures what methods predict, with their heads, branches and experts (table 7 of ResLT compares it with
RIDE), at their data set's image size; PyTorch has no such networks here.
"""

import argparse
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ltjax.bench import measure
from ltjax.bench.peers import pytorch
from ltjax.bench.peers.network import build_network, network_variables, settle_statistics
from ltjax.bench.peers.steps import Evaluator, Images
from ltjax.bench.problems import MEAN, STD, default_size
from ltjax.commands import text_output
from ltjax.data.datasets.stand_in import stand_in
from ltjax.errors import choose
from ltjax.methods import METHODS
from ltjax.methods.common import evaluate_network
from ltjax.methods.configure import resolve
from ltjax.methods.stage import AnyStage
from ltjax.models import BACKBONES, LinearHead, Network
from ltjax.settings.command_line import load
from ltjax.training.step.state import parameter_count

NETWORKS = ("resnet32", "resnet10", "resnet50", "resnext50_32x4d")
LOGITS_TOLERANCE = 1e-4  # of the largest logit, in float32
BATCH_OF_THE_PAPERS = 64


class Ours:
    """One evaluation pass per call; returns the logits when they are computed.

    predict: (variables, images) -> logits.
    """

    def __init__(self, predict: Callable[[Any, Any], jax.Array], variables: Any, images: np.ndarray) -> None:
        self.images, self.variables = jax.device_put((images, variables), jax.devices()[0])
        lowered = jax.jit(predict).lower(self.variables, self.images)
        self.run = lowered.compile()
        counted: Any = lowered.cost_analysis() or {}  # on a GPU the compiled program does not count library calls
        self.flops = float(counted.get("flops", 0.0)) / len(images)
        self.parameters = parameter_count(variables["params"])

    def __call__(self) -> jax.Array:
        return jax.block_until_ready(self.run(self.variables, self.images))


def make_network(name: str, classes: int, dtype: str) -> Network:
    computed, stored = jnp.dtype(dtype), jnp.float64 if dtype == "float64" else jnp.float32
    backbone = BACKBONES[name](dtype=computed, param_dtype=stored)
    return Network(backbone, LinearHead(classes, dtype=computed, param_dtype=stored), MEAN, STD, computed)


def fresh_variables(network: Network, channels: int = 3) -> Any:
    """Random weights."""
    init = functools.partial(network.init, train=False)
    return jax.jit(init)(jax.random.key(0), jnp.zeros((1, 32, 32, channels), np.uint8))


def make_sides(name: str, images: np.ndarray, classes: int, dtype: str, platform: str) -> dict[str, Any]:
    """name -> evaluation pass: ltjax, and PyTorch if it is available, with the same weights and statistics."""
    ours = make_network(name, classes, dtype)

    def predict(variables: Any, images: Any) -> jax.Array:
        return evaluate_network(ours, variables, images).logits

    if pytorch.unavailable(platform):  # nothing provides weights
        variables = fresh_variables(make_network(name, classes, "float32"))
        return {"ltjax": Ours(predict, variables, images)}
    network = build_network(name, classes)
    settle_statistics(network)
    theirs = Evaluator(network, Images(images, MEAN, STD, platform, dtype))
    return {"ltjax": Ours(predict, network_variables(network), images), "torch": theirs}


def check(ours: Ours, theirs: Evaluator, tolerance: float) -> float:
    """The largest difference between the logits, relative to the largest logit.

    Raises:
      Disagreement: if it is above the tolerance.
    """
    a, b = np.asarray(ours()), theirs().cpu().numpy()
    difference = float(np.abs(a - b).max() / np.abs(b).max())
    if not difference <= tolerance:
        raise measure.Disagreement(
            f"check: the logits differ by {difference:.1e} of the largest one (allowed {tolerance:.0e})"
        )
    return difference


def measure_network(name: str, options: argparse.Namespace, platform: str) -> dict[str, Any]:
    """Checks and measures one network; returns its row."""
    size = options.size if default_size(name) != 32 else 32
    images = np.random.default_rng(0).integers(0, 256, (options.batch, size, size, 3)).astype(np.uint8)
    sides = make_sides(name, images, options.classes, "float32", platform)
    difference = None
    if "torch" in sides:
        with pytorch.exact(platform):
            exact = sides if platform == "cpu" else make_sides(name, images, options.classes, "float32", platform)
            difference = check(exact["ltjax"], exact["torch"], LOGITS_TOLERANCE)
    if options.dtype != "float32":
        sides = make_sides(name, images, options.classes, options.dtype, platform)
    return record_of(name, size, sides, options, difference)


def last_stage(source: str, dtype: str) -> tuple[AnyStage, tuple[int, int, int]]:
    """The last stage of a config's method, whose prediction is its result, and the shape of the images.

    Args:
      source: "FILE.py:WORDS", as after --config=.
      dtype: of the computation.
    """
    config = load(source)
    config.dtype = dtype
    settings = resolve(config)
    data = stand_in(settings.data)
    return METHODS[settings.method](settings, data)[-1], data.image_shape


def measure_config(source: str, options: argparse.Namespace) -> dict[str, Any]:
    """Measures what a config's method predicts; returns its row."""
    stage, shape = last_stage(source, options.dtype)
    images = np.random.default_rng(0).integers(0, 256, (options.batch, *shape)).astype(np.uint8)
    sides = {"ltjax": Ours(stage.predict, fresh_variables(stage.network, shape[-1]), images)}
    path, _, words = source.partition(":")
    name = f"{Path(path).stem}:{words}" if words else Path(path).stem
    return record_of(name, shape[0], sides, options, None)


def record_of(
    name: str, size: int, sides: Mapping[str, Any], options: argparse.Namespace, difference: float | None
) -> dict[str, Any]:
    """Times the sides; the row of one network."""
    times = measure.interleaved(sides, options.repeats, warmup=2)
    return {
        "network": name,
        "size": size,
        "parameters": sides["ltjax"].parameters,
        "gflops": sides["ltjax"].flops / 1e9,
        "logits_difference": difference,
        **measure.summary(times, options.batch),
    }


def table_rows(results: list[dict[str, Any]], batch: int) -> list[list[str]]:
    """The cells of the table; milliseconds are scaled to a batch of 64."""
    names = list(results[0]["sides"])
    head = ["", "px", "M params", "GFLOPs", *(f"{name} {unit}" for name in names for unit in ("ms/64", "images/s"))]
    lines = [[*head, *(["ltjax is", "logits differ"] if len(names) > 1 else [])]]
    for r in results:
        cells = [r["network"], str(r["size"]), f"{r['parameters'] / 1e6:.2f}", f"{r['gflops']:.3f}"]
        for side in r["sides"].values():
            per_64 = side["median_ms"] * BATCH_OF_THE_PAPERS / batch
            cells += [f"{per_64:.1f}", f"{side['images_per_second']:.1f}"]
        if len(names) > 1:
            cells += [f"{r['speed_relative_to']['torch']:.2f}x as fast", f"{r['logits_difference']:.0e}"]
        lines.append(cells)
    return lines


def parse(arguments: list[str]) -> Any:
    parser = measure.Parser("infer", __doc__, repeats=5)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--networks", nargs="+", default=list(NETWORKS), metavar="NAME")
    what.add_argument("--configs", nargs="+", default=[], metavar="FILE:WORDS", help="config files, in place of these")
    parser.add_argument("--size", type=measure.at_least(8), default=224, help="pixels, for the ImageNet networks")
    parser.add_argument("--batch", type=measure.at_least(1), default=BATCH_OF_THE_PAPERS)
    parser.add_argument("--classes", type=measure.at_least(2), default=1000)
    options = parser.parse_args(arguments)
    for name in options.networks:
        choose(BACKBONES, name, "--networks")
    for source in options.configs:
        last_stage(source, options.dtype)  # a mistake in any is reported before the first is measured
    return options


def main(arguments: list[str]) -> None:
    """Checks, measures, prints, and writes the JSON."""
    options = parse(arguments)
    environment = measure.environment()
    print(measure.describe(environment), flush=True)
    why_alone = "" if options.configs else pytorch.unavailable(environment["platform"])
    if why_alone:
        print(why_alone)
    classes = "" if options.configs else f", {options.classes} classes"
    print(
        f"evaluation: batch {options.batch}{classes}, {options.dtype}; medians of {options.repeats} "
        "alternating repetitions; a multiply-add counts as 2 FLOPs; logits differ: in float32, relative to the largest",
        flush=True,
    )
    if options.configs:
        results = [measure_config(source, options) for source in options.configs]
    else:
        results = [measure_network(name, options, environment["platform"]) for name in options.networks]
    print(text_output.table(table_rows(results, options.batch)), flush=True)
    named: Mapping[str, Any] = {key: value for key, value in vars(options).items() if key != "json"}
    record = {"benchmark": "infer", "environment": environment, "options": named, "results": results}
    text_output.write_json(options.json, record)
