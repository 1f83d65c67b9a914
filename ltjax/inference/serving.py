"""The program that an export holds: images to logits and probabilities, in float32, with its corrections."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from ltjax.errors import InputError
from ltjax.methods.stage import Tree
from ltjax.models import Network, ResNet, ResNetCifar
from ltjax.models.conv import PLAIN
from ltjax.models.tuning import lora
from ltjax.training.calibration import logits_of
from ltjax.training.execution.seeds import split_seeds
from ltjax.training.finished_run import Finished
from ltjax.training.prepare import make_stages

Floats: TypeAlias = npt.NDArray[np.float32]
Served: TypeAlias = Callable[[jax.Array], tuple[jax.Array, jax.Array]]
PROBES = 16  # random features that tell whether a classifier is linear
LINEAR = 1e-4  # of the largest logit: a larger difference is no rounding


@dataclasses.dataclass(frozen=True)
class Corrections:
    """What becomes of a network's logits: ``logits / temperature + offset``.

    Attributes:
      temperature: > 0.
      offset: [C], of a logit adjustment or another class prior; None = 0.
    """

    temperature: float = 1.0
    offset: tuple[float, ...] | None = None

    def __call__(self, logits: jax.Array) -> jax.Array:
        """[..., C] -> [..., C]"""
        logits = logits if self.temperature == 1 else logits / self.temperature
        return logits if self.offset is None else logits + jnp.asarray(self.offset, logits.dtype)


def in_float32(finished: Finished) -> Finished:
    """The run with its network, prediction and variables in float32, whatever it was trained in.

    Low-rank updates (config.tuning.name=lora) are added to the weights that they update.
    """
    config = finished.config.replaced({"dtype": "float32", "seeds_by": "unroll"})
    variables = jax.tree.map(_float32, finished.variables)
    if config.tuning.name == "lora":
        config = config.replaced({"tuning.name": "all"})
        variables = {**variables, "params": jax.tree.map(_float32, lora.merged(variables["params"]))}
    stages = make_stages(config, finished.data)
    stage = next(stage for stage in stages if stage.name == finished.stage.name)
    return finished._replace(config=config, stage=stage, variables=variables)


def _float32(x: object) -> npt.NDArray[np.generic]:
    array = np.asarray(x)
    return array.astype(np.float32) if np.issubdtype(array.dtype, np.floating) else array


@contextlib.contextmanager
def plain_programs() -> Iterator[None]:
    """Programs traced inside have no barriers for XLA's CPU compiler."""
    token = PLAIN.set(True)
    try:
        yield
    finally:
        PLAIN.reset(token)


def program(finished: Finished, corrections: Corrections) -> Served:
    """images -> (logits [B, C], probabilities [B, C]) of a run ``in_float32``; its variables are constants.

    images: [B, H, W, channels], uint8; or float32 that is normalised already.
    """
    logits_by = logits_of(finished.stage.predict, finished.config, "cpu")

    def served(images: jax.Array) -> tuple[jax.Array, jax.Array]:
        logits = corrections(logits_by(finished.variables, images))
        return logits, jax.nn.softmax(logits)

    return served


def backbone_family(finished: Finished) -> str:
    """ "imagenet" for a ResNet or ResNeXt of torchvision's, "cifar" for a CIFAR ResNet, "" for any other network."""
    network = finished.stage.network
    if type(network) is not Network or network.attention is not None:
        return ""
    return {ResNet: "imagenet", ResNetCifar: "cifar"}.get(type(network.backbone), "")


def array_spec(shape: tuple[Any, ...], dtype: npt.DTypeLike) -> Any:
    """The shape, which may have symbols, and dtype of an array."""
    make: Any = jax.ShapeDtypeStruct
    return make(shape, dtype)


def networks(finished: Finished) -> list[Tree]:
    """The variables of each seed."""
    return split_seeds(finished.variables, finished.config.num_seeds)


def linear_classifier(finished: Finished, variables: Tree, corrections: Corrections) -> tuple[Floats, Floats] | None:
    """(weight [C, d], bias [C]) if the logits are a linear function of the pooled feature map; None if they are not.

    Of linear, re-weighted, tau-normalised and ResLT's CIFAR heads they are: the weights hold whatever the head and the
    corrections do. This is tested numerically.

    Args:
      finished: a run ``in_float32``.
      variables: of one seed.
      corrections: of the logits.
    """
    network = finished.stage.network
    if not backbone_family(finished) or not network.backbone.final_relu or finished.config.model.features:
        return None
    image = array_spec((1, *finished.model.image_shape), jnp.uint8)
    features = jax.eval_shape(lambda v, x: network.apply(v, x, train=False).features, variables, image)
    size = features.shape[-1]
    probes = np.abs(np.random.default_rng(0).standard_normal((PROBES, size), dtype=np.float32))
    rows = np.concatenate([np.zeros((1, size), np.float32), np.eye(size, dtype=np.float32), probes])

    def logits(rows: jax.Array) -> jax.Array:
        return corrections(finished.stage.predict(variables, rows))

    try:
        found = np.asarray(jax.jit(logits)(rows), np.float32)
    except (InputError, TypeError, ValueError):  # a head that takes a map with its places
        return None
    bias, weight, seen = found[0], found[1 : size + 1] - found[0], found[size + 1 :]
    if np.abs(probes @ weight + bias - seen).max() > LINEAR * max(1.0, float(np.abs(seen).max())):
        return None
    return np.ascontiguousarray(weight.T), bias
