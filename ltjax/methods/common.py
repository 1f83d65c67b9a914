"""What most methods share: the network of a config, a fresh start, plain classification."""

import functools
from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp

from ltjax import models
from ltjax.data import Data
from ltjax.data.sampling import SAMPLERS, Sampler
from ltjax.errors import choose
from ltjax.methods.stage import Apply, Batch, Context, Features, Outcome, Previous, Start, Term, Tree


def build_network(config: Any, data: Data, head: Any) -> models.Network:
    """The config's backbone with this head."""
    backbone = choose(models.BACKBONES, config.model.backbone, "config.model.backbone")
    types = dtypes(config)
    return models.Network(backbone=backbone(**types), head=head, mean=data.mean, std=data.std, dtype=types["dtype"])


def dtypes(config: Any) -> dict[str, Any]:
    """As backbones and heads take them: parameters are float32 unless the whole computation is float64."""
    parameters = jnp.float64 if config.dtype == "float64" else jnp.float32
    return {"dtype": jnp.dtype(config.dtype), "param_dtype": parameters}


def evaluate_network(network: models.Network, variables: Tree, images: jax.Array) -> models.Outputs:
    """The network in evaluation mode: what a stage's predict is made of."""
    return cast(models.Outputs, network.apply(variables, images, train=False))


def configured_sampler(config: Any) -> Sampler:
    """The sampler that config.data.sampler names, for config.epochs and config.batch_size."""
    make = choose(SAMPLERS, config.data.sampler, "config.data.sampler")
    return make(epochs=config.epochs, batch_size=config.batch_size)


def fresh(network: Any, data: Data) -> Callable[[jax.Array, Previous | None, Features], Start]:
    """A stage that starts from random parameters."""
    make = jax.jit(functools.partial(network.init, train=False))  # layer by layer it is a hundred small programs

    def init(key: jax.Array, previous: Previous | None, features: Features) -> Start:
        del previous, features
        return Start(make(key, jnp.zeros((1, *data.image_shape), jnp.uint8)))

    return init


def accuracy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    return jnp.mean((jnp.argmax(logits, -1) == labels).astype(jnp.float32))


def classify(stream: str, loss: Callable[[jax.Array, jax.Array], jax.Array]) -> Callable[..., Outcome]:
    """One pass over one stream, one loss on its logits."""

    def objective(apply: Apply, params: Tree, model_state: Tree, batch: Batch, context: Context) -> Outcome:
        del context
        images, labels = batch[stream]["image"], batch[stream]["label"]
        outputs, model_state = apply(params, model_state, images)
        terms = {"classification": Term(loss(outputs.logits, labels))}
        return Outcome(terms, model_state, {"accuracy": accuracy(outputs.logits, labels)})

    return objective
