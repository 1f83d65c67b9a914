"""The problem of the training benchmarks: a method's stage on synthetic long-tailed data."""

import argparse
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from ltjax.bench import measure
from ltjax.bench.peers.network import build_network
from ltjax.bench.peers.steps import Images, Trainer, cross_entropy, reslt_loss
from ltjax.data import Data, Source
from ltjax.data.dataset import fingerprint
from ltjax.data.datasets.longtail import long_tailed_counts
from ltjax.errors import InputError, choose
from ltjax.methods import METHODS
from ltjax.methods.configure import resolve
from ltjax.methods.reslt.settings import ResLTSettings
from ltjax.methods.reslt.stages import groups
from ltjax.methods.stage import Stage, Start, trained
from ltjax.models import BACKBONES, ResNetCifar
from ltjax.settings import Settings
from ltjax.settings.command_line import load
from ltjax.training.execution import mesh as meshes
from ltjax.training.execution.compiler_options import compiler_options
from ltjax.training.execution.programs import PACKED, Execution
from ltjax.training.step.schedules import make_schedule
from ltjax.training.step.state import TrainState, create_state

PEER_METHODS = ("ce", "reslt")  # methods whose loss is in peers/steps.py
# What --optimizer changes in the recipe, whose rate and decay are those of SGD. AdamW's first update is the sign of the
# gradient where that is far above epsilon: with the usual 1e-8 rounding errors would choose the signs that the check
# compares. No time depends on it.
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {},
    "adamw": {"learning_rate": 1e-3, "weight_decay": 0.05, "epsilon": 1e-2},
}
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
IMBALANCE = 100.0


class Problem(NamedTuple):
    """A method's stage on synthetic data, and one batch; both sides compute it."""

    network: str
    stage: Stage
    config: Settings
    data: Data
    images: np.ndarray  # uint8 [B, H, W, 3]
    labels: np.ndarray  # int32 [B]


def default_size(network: str) -> int:
    """The image size of the papers: 32 for the CIFAR family, 224 for the others."""
    backbone = choose(BACKBONES, network, "--network")
    return 32 if isinstance(backbone(), ResNetCifar) else 224


def make_problem(
    network: str, method: str, batch: int, classes: int, size: int, dtype: str, optimizer: str = "sgd"
) -> Problem:
    """The stage of ``method`` with the CIFAR recipe, and a random batch with the class frequencies of the data."""
    choose(BACKBONES, network, "--network")
    recipe = load(f"configs/{'cifar10' if classes == 10 else 'cifar100'}_{method}.py")
    recipe.model.backbone, recipe.batch_size, recipe.dtype = network, batch, dtype
    recipe.optimizer.update(name=optimizer, **choose(OPTIMIZERS, optimizer, "--optimizer"))
    if method == "reslt" and classes not in (10, 100):
        recipe.reslt.boundaries = ()  # the authors' boundaries only fit their numbers of classes
    data = synthetic(classes, size)
    if len(data.train) < batch:
        raise InputError(f"--batch: {batch} is more than the {len(data.train)} images of an epoch; use a smaller batch")
    return problem_of(resolve(recipe), data)


def problem_of(config: Settings, data: Data) -> Problem:
    """The one stage of the config's method on this data, and a random batch."""
    rng, batch = np.random.default_rng(0), config.batch_size
    images = rng.integers(0, 256, (batch, *data.image_shape)).astype(np.uint8)
    (stage,) = trained(choose(METHODS, config.method, "--method")(config, data))
    return Problem(config.model.backbone, stage, config, data, images, rng.choice(data.train.labels, batch))


def synthetic(classes: int, size: int) -> Data:
    """A data set with long-tailed labels as in CIFAR-LT, without images."""
    counts = long_tailed_counts(50_000 / classes, classes, min(IMBALANCE, 50_000 / classes))
    labels = np.repeat(np.arange(classes, dtype=np.int32), counts)

    def no_image(record: int) -> np.ndarray:
        raise InputError(f"record {record}: the synthetic data set of the benchmarks has labels but no images")

    source = Source(labels, np.arange(len(labels)), no_image)
    shape = (size, size, 3)
    return Data("synthetic", source, source, "test", classes, counts, shape, MEAN, STD, None, fingerprint(source))


def fresh_variables(problem: Problem) -> Any:
    """Random weights, used if PyTorch is not available to provide them."""
    init = functools.partial(problem.stage.network.init, train=False)
    return jax.jit(init)(jax.random.key(0), jnp.zeros((1, *problem.data.image_shape), np.uint8))


def one_device() -> Mesh:
    return Mesh(np.asarray(jax.devices()[:1]), (meshes.AXIS,))


def start(problem: Problem, variables: Any, seed: int) -> TrainState:
    """The state of a seed before its first step, on the host."""
    made = Start({"params": variables["params"], "batch_stats": variables["batch_stats"]})
    return jax.tree.map(np.array, create_state(problem.stage, made, seed))


def steps_per_epoch(problem: Problem) -> int:
    return len(problem.data.train) // len(problem.labels)


def execution(problem: Problem, mesh: Mesh, **fields: Any) -> Execution:
    """How a run executes the problem's stage on these devices; ``fields`` are further fields of ``Execution``."""
    as_runs: dict[str, Any] = {
        "compiler_options": compiler_options(mesh),
        "packed": PACKED.get(meshes.platform(mesh), False),
    }
    return Execution(steps_per_epoch(problem), len(problem.labels), mesh, **(as_runs | fields))


def first_rate(problem: Problem) -> float:
    """The learning rate of the first epoch, which PyTorch keeps: the time of a step does not depend on it."""
    stage = problem.stage
    return float(make_schedule(stage.optimizer, stage.epochs, steps_per_epoch(problem))(jnp.zeros((), jnp.int32)))


def make_peer(problem: Problem, platform: str, compiled: bool = False) -> Trainer:
    """The PyTorch side, with random weights that are the same in every call.

    Raises:
      InputError: for a method, a network or an optimizer without a PyTorch version here.
    """
    method, data = problem.config.method, problem.data
    choose(dict.fromkeys(PEER_METHODS), method, "--method")
    network = build_network(problem.network, data.num_classes, reslt=method == "reslt")
    loss: Callable[[Any, Any], Any] = cross_entropy
    settings = problem.config.method_settings
    if isinstance(settings, ResLTSettings):
        assert settings.alpha is not None
        loss = reslt_loss(settings.alpha, groups(settings, data.class_counts))
    images = Images(problem.images, data.mean, data.std, platform, problem.config.dtype)
    return Trainer(
        network, images, problem.labels, loss, problem.config.optimizer, first_rate(problem), compiled=compiled
    )


def add_options(parser: measure.Parser) -> None:
    """Adds the options that choose the problem."""
    parser.add_argument("--network", default="resnet32", help="a backbone, such as resnet32 or resnet50")
    parser.add_argument("--method", choices=PEER_METHODS, default="ce")
    parser.add_argument("--optimizer", choices=sorted(OPTIMIZERS), default="sgd")
    parser.add_argument("--batch", type=measure.at_least(2), default=128)
    parser.add_argument("--classes", type=measure.at_least(3), default=100)
    parser.add_argument("--size", type=measure.at_least(8), help="pixels; default 32, or 224 for ImageNet networks")


def chosen(options: argparse.Namespace, dtype: str) -> Problem:
    """The problem that the options choose, in ``dtype``."""
    options.size = options.size or default_size(options.network)
    return make_problem(
        options.network, options.method, options.batch, options.classes, options.size, dtype, options.optimizer
    )
