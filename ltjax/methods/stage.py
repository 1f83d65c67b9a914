"""A method is a list of stages; a stage is data plus three functions. The loop has no `if` about any method."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from ltjax.data.sampling.sampler import Sampler
from ltjax.losses import weighted_mean
from ltjax.losses.reduction import weighted_sums

Tree = Any  # a pytree of arrays
# stream -> image uint8 [B, H, W, C] (float [B, d] where Stage.inputs are features), label int32 [B], index int32 [B]
Batch = Mapping[str, Mapping[str, jax.Array]]


class Term(NamedTuple):
    """One term of the objective: ``scale * sum(values * weights) / sum(weights)`` over the global batch."""

    values: jax.Array  # per example, any shape
    weights: jax.Array | None = None  # same shape; None = all ones; 0 = does not count
    scale: float | jax.Array = 1.0

    def mean(self) -> jax.Array:
        """The term without its scale; 0 when nothing counts."""
        return weighted_mean(self.values, self._weights())

    def sums(self) -> tuple[jax.Array, jax.Array]:
        """(sum(values * weights), sum(weights)): the mean over the parts of a batch is the quotient of their sums."""
        return weighted_sums(self.values, self._weights())

    def _weights(self) -> jax.Array:
        return jnp.ones_like(self.values) if self.weights is None else self.weights


class Ratio(NamedTuple):
    """A metric that is a quotient of two sums over the batch, such as the mean loss of one class; NaN for 0 / 0."""

    above: jax.Array
    below: jax.Array

    def value(self) -> jax.Array:
        return self.above / self.below


class Context(NamedTuple):
    """What an objective may look at beside its batch. Arrays are traced."""

    step: jax.Array  # int32, finished steps of this stage
    epoch: jax.Array  # int32, finished epochs of this stage
    epochs: int  # of this stage; not traced
    progress: jax.Array  # in [0, 1), step / steps of this stage
    key: jax.Array  # a fresh random key for this step
    frozen: Tree  # what `init` gave to stand still: a teacher, class means
    extras: dict[str, Tree]  # running things that are no parameters (EMA, means)
    learning_rate: jax.Array | float = 0.0  # of this step, before the factors of Stage.rates


class Outcome(NamedTuple):
    """What an objective returns."""

    terms: dict[str, Term]
    model_state: Tree  # the flax collections beside the parameters: batch statistics
    # to log: scalars (means over the batch, if any are to be split into micro-batches) or quotients of sums over it
    metrics: Mapping[str, jax.Array | Ratio] = MappingProxyType({})
    extras: dict[str, Tree] | None = None  # None: unchanged


class Start(NamedTuple):
    """Where a stage starts. `tables` replaces the samplers' tables of the streams that it names."""

    variables: Tree  # {"params": ..., "batch_stats": ...}
    frozen: Mapping[str, Tree] = MappingProxyType({})
    tables: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
    extras: Mapping[str, Tree] = MappingProxyType({})


class Previous(NamedTuple):
    """The stage before, finished."""

    name: str
    variables: Tree
    extras: dict[str, Tree]


class Apply(Protocol):
    """The stage's network, differentiable; batch statistics are used and updated as the stage's `norm` says.

    `labels` [B] are the classes of the images: what the gradient diagnostic splits by. Images that are those of a
    stream have its labels; an objective says them only of images that it put together itself. `options` go to the
    network. In what it returns every leaf has the images on its last axis but one.
    """

    def __call__(
        self,
        params: Tree,
        model_state: Tree,
        images: jax.Array,
        train: bool = True,
        labels: jax.Array | None = None,
        **options: Any,
    ) -> tuple[Any, Tree]: ...


Features = Callable[..., Any]  # (variables, records[, source]) -> float [n, d] by Stage.features, or by the network
# of the stage before, without augmentation, evaluation mode; of the training set unless another source is given. Those
# of all records may be mapped from a file and larger than the memory


@dataclasses.dataclass(frozen=True)
class Stage:
    """One stage of a method.

    Attributes:
      name: names the checkpoints' folder.
      network: the flax module, called as ``network.apply(variables, images, train=..., frozen_norm=...)``.
      epochs: 0 is a closed-form stage: `init` makes it, nothing is trained.
      optimizer: learning_rate, momentum, nesterov, weight_decay and the schedule (config.optimizer).
      streams: name -> sampler; the batch has one entry for each.
      init: (key, previous or None, features) -> Start.
      objective: (apply, params, model_state, batch, context) -> Outcome.
      predict: (variables, images uint8 [B, H, W, C]) -> logits [B, C]; all that evaluation ever calls.
      trainable: path prefixes of the parameters that move, such as ("head",); () = all of them.
      rates: path prefix -> factor on the learning rate; the longest prefix that fits counts.
      undecayed: path prefixes of the parameters that weight decay leaves alone.
      norm: "batch" or "frozen" (stored statistics are used and stand still).
      epoch_size: records in an epoch; None = the training set.
      whole_batch: what ties the images of a batch together in the objective, such as "graph matching compares all
        images of a batch": such a batch is not split into micro-batches. "" = every image's loss is its own.
      micro_batches: parts of a batch that a step takes one after the other; the run's setting, not the method's.
      features: the flax module, called as ``features.apply(variables, images, train=False).features``, that stands
        still in this stage: `init`'s features are by it. None: the network of the stage before.
      inputs: "images", augmented; or "features": the streams give what `features` makes of the images without
        augmentation, made once for all records, and the network takes them in place of images.
      views: name -> another reading of the same network, as `predict` (one branch alone, say). Those of the last stage
        are evaluated after the last epoch and reported beside the result.
      report: (variables) -> numbers that a reader of the last stage's result wants to know, such as a tau that was
        chosen; results.json has them under "report".
    """

    name: str
    network: Any
    epochs: int
    optimizer: Any
    streams: Mapping[str, Sampler]
    init: Callable[[jax.Array, Previous | None, Features], Start]
    objective: Callable[[Apply, Tree, Tree, Batch, Context], Outcome]
    predict: Callable[[Tree, jax.Array], jax.Array]
    trainable: Sequence[str] = ()
    rates: Mapping[str, float] = dataclasses.field(default_factory=dict)
    undecayed: Sequence[str] = ()
    norm: str = "batch"
    epoch_size: int | None = None
    whole_batch: str = ""
    micro_batches: int = 1
    features: Any = None
    inputs: str = "images"
    views: Mapping[str, Callable[[Tree, jax.Array], jax.Array]] = dataclasses.field(default_factory=dict)
    report: Callable[[Tree], Mapping[str, float]] | None = None
