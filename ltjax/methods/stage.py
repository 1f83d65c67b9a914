"""What a method is made of: a list of stages.

A ``Stage`` is trained: data plus three functions (where it starts, its loss, its prediction). A ``ClosedForm`` is
computed: it has no loss, no optimizer and no data streams. The training loop knows these two and no method by name.
"""

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
# stream -> image uint8 [B, H, W, C] (float [B, d] where the stage trains on features), label int32 [B], index int32 [B]
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
        """(sum(values * weights), sum(weights)): over micro-batches, add the sums and divide."""
        return weighted_sums(self.values, self._weights())

    def _weights(self) -> jax.Array:
        return jnp.ones_like(self.values) if self.weights is None else self.weights


def missing(dtype: jnp.dtype) -> jax.Array:
    """What a metric is at a step that has no value of it: the lowest number of its dtype. Logged means leave it out.

    NaN is left out as well, but would end the run under ``jax_debug_nans``.
    """
    return jnp.asarray(jnp.finfo(dtype).min, dtype)


class Ratio(NamedTuple):
    """A metric that is a quotient of two sums over the batch, as the mean loss of a class; ``missing`` for 0 / 0."""

    above: jax.Array
    below: jax.Array

    def value(self) -> jax.Array:
        nothing = (self.above == 0) & (self.below == 0)
        value = self.above / jnp.where(nothing, 1, self.below)
        return jnp.where(nothing, missing(value.dtype), value)


class Context(NamedTuple):
    """What an objective may read beside its batch. Arrays are traced."""

    step: jax.Array  # int32, finished steps of this stage
    epoch: jax.Array  # int32, finished epochs of this stage
    epochs: int  # of this stage; not traced
    progress: jax.Array  # in [0, 1), step / steps of this stage
    key: jax.Array  # a fresh random key for this step
    frozen: Tree  # the constants that `init` made: a teacher's variables, class means
    extras: dict[str, Tree]  # running values that are no parameters (a moving average)
    learning_rate: jax.Array | float = 0.0  # of this step, before the factors of Updates.rates


class Outcome(NamedTuple):
    """What an objective returns."""

    terms: dict[str, Term]
    model_state: Tree  # the flax collections beside the parameters: batch statistics
    # to log: scalars, which are averaged over micro-batches (so: means over the batch), or Ratios
    metrics: Mapping[str, jax.Array | Ratio] = MappingProxyType({})
    extras: dict[str, Tree] | None = None  # None: unchanged


class Start(NamedTuple):
    """Where a stage starts: what its `init` returns."""

    variables: Tree  # {"params": ..., "batch_stats": ...}
    frozen: Mapping[str, Tree] = MappingProxyType({})  # constants of the stage, for Context.frozen
    tables: Mapping[str, Mapping[str, Any]] = MappingProxyType({})  # stream -> tables in place of its sampler's
    extras: Mapping[str, Tree] = MappingProxyType({})  # the first Context.extras
    # a later stage that starts from random weights: config.model.pretrained applies to it as it does to the first
    fresh: bool = False


class Previous(NamedTuple):
    """The finished stage before this one."""

    name: str
    variables: Tree
    extras: dict[str, Tree]


class Apply(Protocol):
    """The stage's network as its objective calls it: (params, model_state, images) -> (outputs, new model_state).

    Differentiable in ``params``. Batch statistics are used and updated as the stage's ``updates.norm`` says.
    ``options`` go to the network. In the outputs the images are on the last axis but one of every array.
    """

    def __call__(
        self, params: Tree, model_state: Tree, images: jax.Array, train: bool = True, **options: Any
    ) -> tuple[Any, Tree]: ...


# (variables, records int [n][, source, network]) -> float [n, d]: features in evaluation mode, without augmentation, by
# the stage's `representation` or else by the network of the stage before (the first stage's own), unless another is
# given. Of the training set, unless another source is. Those of all records may be memory-mapped, and larger than the
# memory.
Features = Callable[..., Any]
# texts of each class -> float [C, d]: the mean of their unit vectors in the space of images and texts, by the text
# tower that belongs to the stage's backbone (config.model.text)
Texts = Callable[[Sequence[Sequence[str]]], Any]
# (start, features, texts) -> start: what depends on pretrained weights, which `init` does not see yet
Prepare = Callable[[Start, Features, Texts], Start]
Init = Callable[[jax.Array, Previous | None, Features], Start]  # (key, stage before, features) -> Start
Objective = Callable[[Apply, Tree, Tree, Batch, Context], Outcome]  # (apply, params, model_state, batch, context)
Predict = Callable[[Tree, jax.Array], jax.Array]  # (variables, images uint8 [B, H, W, C]) -> logits [B, C]
Project = Callable[[dict[str, jax.Array], Tree], dict[str, jax.Array]]  # (trained parameters by path, frozen) -> them
Report = Callable[[Tree], Mapping[str, float]]  # variables -> numbers for results.json
Prior = Any  # float [C], not normalised, or None


@dataclasses.dataclass(frozen=True)
class Updates:
    """What a training step changes, and how fast.

    Attributes:
      trainable: path prefixes of the trained parameters, such as ("head",); () = all of them.
      rates: path prefix -> factor on the learning rate; the longest matching prefix counts.
      undecayed: path prefixes of the parameters without weight decay.
      norm: "batch": batch normalisation uses the batch's statistics and updates the running ones; "frozen": it uses
        the running ones and leaves them as they are.
      frozen_once: whether checkpoints hold only the trained parameters, and step 0 the frozen ones, once.
    """

    trainable: Sequence[str] = ()
    rates: Mapping[str, float] = dataclasses.field(default_factory=dict)
    undecayed: Sequence[str] = ()
    norm: str = "batch"
    frozen_once: bool = False

    def trains(self, path: str) -> bool:
        """Whether the parameter at ``path`` ("head/classifier/kernel") is trained."""
        return not self.trainable or any(under(path, prefix) for prefix in self.trainable)

    def trains_within(self, part: str) -> bool:
        """Whether the part of the network at ``part`` ("backbone") is trained, or some of it."""
        return self.trains(part) or any(under(prefix, part) for prefix in self.trainable)


@dataclasses.dataclass(frozen=True)
class Stage:
    """A trained stage of a method.

    Attributes:
      name: also the name of its folder of checkpoints.
      network: the flax module, called as ``network.apply(variables, images, train=..., frozen_norm=...)``.
      epochs: at least 1.
      optimizer: learning rate, momentum, Nesterov, weight decay and schedule (config.optimizer).
      streams: name -> sampler; a batch has one entry for each. ``another_view`` makes one of the images of another.
      augment: stream -> the name of its augmentation, where it has another than config.data.augment.
      init: (key, previous or None, features) -> Start.
      objective: (apply, params, model_state, batch, context) -> Outcome.
      predict: (variables, images uint8 [B, H, W, C]) -> logits [B, C]; all that evaluation calls.
      updates: which parameters are trained, with which rates and decay, and whether batch statistics are updated.
      epoch_size: records in an epoch; None = the training set.
      whole_batch: why a batch cannot be split into micro-batches, such as "graph matching compares all images of a
        batch"; "" = it can, because every image has its own loss.
      representation: the frozen flax module, called as ``apply(variables, images, train=False).features``, whose
        features the streams give instead of augmented images; they are computed once for all records. `init` gets
        features by it, too. None = the streams give images.
      views: name -> another prediction by the same network, such as one branch alone. Those of the last stage are
        evaluated after the last epoch and reported beside the result.
      report: variables -> numbers that belong to the result, such as a selected temperature ("report" in results.json).
      notes: what the run reports before its first step, such as classes that are smaller than a setting asks for.
      prior: the class distribution for which the softmax of `predict` gives probabilities, [C], not normalised: that of
        the images as the loss weighs them, so the training counts for cross-entropy, ones where the loss or the batches
        are balanced. None = no known one: the loss is not minimised by probabilities (margins, focal), or the
        classifier is changed after training. ltjax.predict --test-prior starts from it.
      project: (trained parameters by path, what `init` froze) -> the parameters that the step ends with: projected
        gradient descent, as of a constraint on norms. None = those of the optimizer.
      prepare: changes what `init` made once the weights of config.model.pretrained are in it: a classifier from the
        features that they give, or from texts. None = nothing does.
      sharpened: bool [C], the classes whose loss SAM sharpens, for optimizer.sam_below; None = all. No method sets it.
    """

    name: str
    network: Any
    epochs: int
    optimizer: Any
    streams: Mapping[str, Sampler]
    init: Init
    objective: Objective
    predict: Predict
    updates: Updates = Updates()
    epoch_size: int | None = None
    augment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    whole_batch: str = ""
    representation: Any = None
    views: Mapping[str, Predict] = dataclasses.field(default_factory=dict)
    report: Report | None = None
    notes: Sequence[str] = ()
    prior: Prior = None
    project: Project | None = None
    prepare: Prepare | None = None
    sharpened: Any = None


@dataclasses.dataclass(frozen=True)
class ClosedForm:
    """A stage without training: its `init` computes the variables, as nearest class means and tau-normalisation do.

    Attributes:
      name, network, init, predict, views, report, prior, prepare: as those of a ``Stage``.
      representation: the flax module by which `init` gets features; None = the network of the stage before.
      updates: only the layout of its checkpoints depends on it: a stage that is taken from config.init_from has those
        of the trained stage that it replaces.
    """

    name: str
    network: Any
    init: Init
    predict: Predict
    representation: Any = None
    views: Mapping[str, Predict] = dataclasses.field(default_factory=dict)
    report: Report | None = None
    updates: Updates = Updates()
    prior: Prior = None
    prepare: Prepare | None = None


AnyStage = Stage | ClosedForm


def trained(stages: Sequence[AnyStage]) -> list[Stage]:
    """The stages that are trained, in order."""
    return [stage for stage in stages if isinstance(stage, Stage)]


def under(path: str, prefix: str) -> bool:
    """Whether ``path`` ("head/classifier/kernel") is or lies under ``prefix`` ("head", "head/classifier")."""
    return path == prefix or path.startswith(prefix.rstrip("/") + "/")
