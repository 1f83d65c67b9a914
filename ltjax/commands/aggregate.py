"""evaluate --aggregate=stability: experts weighted for the test images at hand, which are used without their labels."""

import argparse
import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from ltjax.data import Source
from ltjax.data.augment.registry import find_transform, output_size
from ltjax.errors import InputError
from ltjax.methods.stage import Tree
from ltjax.training.aggregation import VARIABLE, Learned, experts_of, weight_learner, weighted
from ltjax.training.execution.seeds import split_seeds
from ltjax.training.finished_run import Finished

STABILITY = "stability"


@dataclasses.dataclass(frozen=True)
class Aggregate:
    """What the flag asks for.

    Attributes:
      augment: the augmentation by which two views of a test image are made; "" = that of the training.
    """

    augment: str = ""

    @property
    def note(self) -> str:
        return (
            "TRANSDUCTIVE: the experts' weights were learned on these test images, without their labels "
            "(--aggregate=stability); do not compare with numbers of methods that see each test image alone"
        )


def add_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--aggregate",
        metavar="uniform|stability[:AUGMENTATION]",
        default="uniform",
        help="stability: weight the experts of the network for these test images, by how alike they predict two "
        "augmentations of an image (SADE); transductive. The augmentation is that of the training, or the one named",
    )


def read_flag(text: str) -> Aggregate | None:
    """None for uniform weights, which is what the method trains.

    Raises:
      InputError: for another value, or an unknown augmentation.
    """
    name, colon, augment = text.partition(":")
    if text == "uniform":
        return None
    if name != STABILITY or (colon and not augment):
        raise InputError(
            f"--aggregate: impossible value '{text}'; allowed: uniform, {STABILITY}, or {STABILITY}:AUGMENTATION, such "
            f"as {STABILITY}:pad_crop_flip"
        )
    if augment:
        find_transform(augment, "--aggregate")
    return Aggregate(augment)


def learner(finished: Finished, aggregate: Aggregate) -> Callable[[Tree, Source], Learned]:
    """(variables of one seed, images) -> the weights of the experts for these images."""
    config, name = finished.config, aggregate.augment or finished.config.data.augment
    if name == "none":
        raise InputError(
            "--aggregate: the run was trained without augmentation, and two views of an image would be the same; name "
            f"one, such as --aggregate={STABILITY}:pad_crop_flip"
        )
    if output_size(name) and finished.data.test.encoded is None:
        raise InputError(
            f"--aggregate: '{name}' cuts whole images, and these have one size, {finished.data.image_shape[:2]}; "
            f"name another augmentation, such as --aggregate={STABILITY}:pad_crop_flip"
        )
    return weight_learner(experts_of(finished.stage), find_transform(name), config.optimizer, finished.mesh)


def with_weights(finished: Finished, aggregate: Aggregate) -> tuple[Finished, list[Learned]]:
    """The run with its experts weighted for its test images, and what was learned for each seed."""
    several = split_seeds(finished.variables, finished.config.num_seeds)
    learn = learner(finished, aggregate)
    found = [learn(variables, finished.data.test) for variables in several]
    weights: Any = np.stack([one.weights for one in found])
    weights = jnp.asarray(weights if finished.config.num_seeds > 1 else weights[0], jnp.float32)
    variables = {**finished.variables, VARIABLE: {"weights": weights}}
    return finished._replace(stage=weighted(finished.stage), variables=variables), found


def mark_transductive(record: dict[str, Any], aggregate: Aggregate, found: list[Learned]) -> None:
    """Writes into the record of an evaluation what it is of."""
    record["transductive"] = True
    of_flag = record["adjustment"]
    of_flag["notes"] += [aggregate.note, described(found)]
    of_flag["aggregate"] = [one._asdict() | {"weights": one.weights.tolist()} for one in found]


def described(found: list[Learned]) -> str:
    """The weights, one line."""
    each = "; ".join(", ".join(f"{weight:.2f}" for weight in one.weights) for one in found)
    return f"weights of the experts: {each}, after {', '.join(str(one.epochs) for one in found)} epochs"
