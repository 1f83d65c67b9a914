"""What most methods share: the network of a config, a fresh start, plain classification."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from ltjax import models
from ltjax.arrays import as_float, per_class
from ltjax.data import Data
from ltjax.data.sampling import SAMPLERS
from ltjax.data.sampling.sampler import Sampler
from ltjax.errors import InputError
from ltjax.losses import cross_entropy, label_aware_smoothing_loss, logit_adjusted_loss
from ltjax.losses.smoothing import smoothing_strengths
from ltjax.methods.stage import (
    Apply,
    Batch,
    Context,
    Features,
    Init,
    Outcome,
    Predict,
    Previous,
    Ratio,
    Stage,
    Start,
    Term,
    Tree,
    Updates,
    under,
)
from ltjax.methods.tuning import tuned
from ltjax.settings import ModelSettings, Settings, StageOptimizer
from ltjax.settings.user_code import lookup

NEUTRAL = ModelSettings().to_dict()
ATTENTION, FEATURE_LAYER = "attention", "head/fc"  # the paths of both; the layer is that of config.model.features
FEATURE_EXTRACTOR = ("backbone", ATTENTION, FEATURE_LAYER)  # as in OLTR's public code; the rest is the head
# but of what surrounds it
NOT_OF_THE_BACKBONE = (
    "backbone", "pretrained", "needs_pretrained", "text", "vocabulary", "input_size", "features", "head",
    "cosine_scale", "learn_cosine_scale",
)  # fmt: skip


def build_network(
    config: Settings, data: Data, head: Any, attention: Any = None, **backbone_fields: Any
) -> models.Network:
    """The config's backbone with this head, on the layer of config.model.features where that has a width.

    The method may put ``attention`` on the feature map, and set ``backbone_fields`` such as final_relu=False.
    """
    types, backbone = dtypes(config), build_backbone(config, layer_follows=True, **backbone_fields)
    backbone = tuned(backbone, config, data.num_classes)
    head = of_family(head, backbone)
    if config.model.features:
        head = of_family(models.HeadOnFeatureLayer(head, config.model.features, **types), backbone)
    return models.Network(backbone, head, data.mean, data.std, types["dtype"], attention, config.model.input_size)


def classifier(config: Settings, data: Data) -> Any:
    """The head of methods that need no special one: linear, or the cosines of config.model.head."""
    if config.model.head == "linear":
        return models.LinearHead(data.num_classes, **dtypes(config))
    scale, learned = config.model.cosine_scale, config.model.learn_cosine_scale
    return models.CosineHead(data.num_classes, scale=scale, learn_scale=learned, **dtypes(config))


def of_family(head: Any, backbone: Any) -> Any:
    """The head, whose weights start as those of the backbone's family do: of the CIFAR ResNets, or of ImageNet's."""
    if not hasattr(head, "init_family"):
        return head
    large = isinstance(backbone, models.ResNet | models.VisionTransformer)
    return head.clone(init_family="imagenet" if large else "cifar")


def build_backbone(config: Settings, layer_follows: bool = False, **fields: Any) -> Any:
    """config.model as a module. Settings with their neutral value keep the backbone's default.

    Args:
      layer_follows: whether the caller adds the layer of config.model.features.

    Raises:
      InputError: for an unknown backbone, or a setting that this one or the method's network does not have.
    """
    name = config.model.backbone
    if config.model.features and not layer_follows:
        raise InputError(
            f"config.model.features: {config.model.features}, but the network of config.method={config.method} has "
            "no such layer; set it to 0"
        )
    make = lookup(models.BACKBONES, name, "config.model.backbone")
    asked = {name: value for name, value in config.model.to_dict().items() if value != NEUTRAL[name]}
    asked = {name: value for name, value in asked.items() if name not in NOT_OF_THE_BACKBONE}
    known = inspect.signature(make).parameters
    for setting in asked | fields:
        if setting not in known:
            raise InputError(f"config.model.{setting}: the backbone '{name}' has no such setting")
    missing = [field for field in dtypes(config) if field not in known]
    if missing:
        raise InputError(
            f"config.model.backbone={name}: it takes no {' and no '.join(missing)}; name a Flax module with the fields "
            "of ltjax.models.Backbone"
        )
    backbone = make(**asked, **fields, **dtypes(config))
    if not isinstance(backbone, nn.Module):
        raise InputError(
            f"config.model.backbone={name}: it returns an object of type {type(backbone).__name__}, not a Flax module; "
            "see ltjax.models.Backbone"
        )
    return backbone


def check_backbone(config: Settings, kind: str) -> None:
    """Raises InputError unless config.model.backbone is one of the networks whose names begin with ``kind``."""
    if not config.model.backbone.startswith(kind) and ":" not in config.model.backbone:  # the user's is taken as it is
        fitting = ", ".join(name for name in models.BACKBONES if name.startswith(kind))
        raise InputError(
            f"config.model.backbone: '{config.model.backbone}' does not fit here; config.method={config.method} with "
            f"these settings takes one of {fitting}"
        )


def dtypes(config: Settings) -> dict[str, Any]:
    """For backbones and heads: parameters are float32 unless the whole computation is float64."""
    parameters = jnp.float64 if config.dtype == "float64" else jnp.float32
    return {"dtype": jnp.dtype(config.dtype), "param_dtype": parameters}


def evaluate_network(network: models.Network, variables: Tree, images: jax.Array, **options: Any) -> models.Outputs:
    """The network in evaluation mode: what a stage's predict is made of."""
    return cast(models.Outputs, network.apply(variables, images, train=False, **options))


def predicts(network: Any, scale: float = 1.0) -> Predict:
    """The network's logits: the usual `predict` of a stage.

    Args:
      network: the network.
      scale: what the loss multiplies the logits by; without it the softmax of plain cosines, as LDAM's network gives
        them, would find every class about as likely as the others.
    """
    return lambda variables, images: scale * evaluate_network(network, variables, images).logits


def configured_sampler(config: Settings) -> Sampler:
    """The sampler that config.data.sampler names, for config.epochs and config.batch_size."""
    make = lookup(SAMPLERS, config.data.sampler, "config.data.sampler")
    return make(epochs=config.epochs, batch_size=config.batch_size)


# name of a sampler -> the power of a class's count that its share of the draws goes with
SAMPLED = {
    "instance_balanced": 1.0, "class_balanced": 0.0, "class_cycle": 0.0, "distinct_classes": 0.0, "square_root": 0.5,
    "reversed": -1.0,
}  # fmt: skip


def softmax_loss(config: Settings, data: Data, tau: float | None = None) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """The loss of methods whose loss is softmax cross-entropy, as config.loss changes it: (logits, labels) -> [B].

    It is ``cross_entropy`` itself where config.loss changes nothing. ``softmax_prior`` is what its logits go with.

    Args:
      config: its loss counts.
      data: its class counts count.
      tau: of the logit adjustment; None = config.loss.tau.
    """
    settings = config.loss
    tau = settings.tau if tau is None else tau
    if not settings.label_smoothing and not tau:
        return cross_entropy
    counts = data.class_counts
    if not settings.label_smoothing:
        return functools.partial(logit_adjusted_loss, class_counts=counts, tau=tau)
    if settings.smoothing == "uniform":
        smoothed = functools.partial(cross_entropy, label_smoothing=settings.label_smoothing)
    else:
        smoothed = functools.partial(
            label_aware_smoothing_loss, class_counts=counts, head=settings.label_smoothing,
            tail=settings.tail_smoothing, form=settings.smoothing,
        )  # fmt: skip
    if not tau:
        return smoothed
    adjustment = tau * per_class(counts, data.num_classes, lambda n, xp: xp.log(n / n.sum()))

    def loss(logits: jax.Array, labels: jax.Array) -> jax.Array:
        logits = as_float(logits)
        return smoothed(logits + jnp.asarray(adjustment, logits.dtype), labels)

    return loss


def softmax_prior(
    config: Settings, data: Data, weights: Any = 1.0, tau: float | None = None, drawn: np.ndarray | None = None
) -> np.ndarray | None:
    """The prior (``Stage.prior``) of ``softmax_loss``: the classes' shares among the targets, over counts^tau.

    The targets are the labels as the sampler draws, the weights weigh and the smoothing spreads them. The adjusted
    logits fit these shares, so those of prediction, without the adjustment, fit them divided by the counts to the tau.

    Args:
      config, data, tau: those of ``softmax_loss``.
      weights: [C], of each class in the loss.
      drawn: [C], the shares of the classes in the batches; None = those of config.data.sampler (``sampled_prior``).
    """
    shares = sampled_prior(config, data, weights) if drawn is None else drawn * weights
    if shares is None:
        return None
    settings = config.loss
    if settings.label_smoothing:
        strengths = np.full(data.num_classes, settings.label_smoothing)
        if settings.smoothing != "uniform":
            strengths = smoothing_strengths(
                data.class_counts, data.num_classes, settings.label_smoothing, settings.tail_smoothing,
                settings.smoothing,
            )  # fmt: skip
        shares = shares * (1 - strengths) + np.sum(shares * strengths) / data.num_classes
    tau = settings.tau if tau is None else tau
    return np.asarray(shares * np.maximum(data.class_counts, 1).astype(np.float64) ** -tau)


def sampled_prior(config: Settings, data: Data, weights: Any = 1.0) -> np.ndarray | None:
    """The prior (``Stage.prior``) of cross-entropy on the config's sampler: the share of each class among the draws.

    None for a sampler that changes during training, for the user's, and where a class has no image.

    Args:
      config: its data.sampler counts.
      data: its class counts count.
      weights: [C], of each class in the loss.
    """
    power, counts = SAMPLED.get(config.data.sampler), np.asarray(data.class_counts, np.float64)
    return None if power is None or not counts.all() else counts**power * weights


def uniform_prior(data: Data) -> np.ndarray:
    """The prior (``Stage.prior``) of cross-entropy on as many images of every class."""
    return np.ones(data.num_classes)


def rates(optimizer: StageOptimizer) -> dict[str, float]:
    """The learning rates by parameter group, for Updates.rates."""
    factor = optimizer.backbone_rate
    return {} if factor == 1 else dict.fromkeys(FEATURE_EXTRACTOR, factor)


def fresh(network: Any, data: Data) -> Init:
    """A stage that starts from random parameters."""
    make = initialise(network, data)

    def init(key: jax.Array, previous: Previous | None, features: Features) -> Start:
        del previous, features
        return Start(make(key))

    return init


def initialise(network: Any, data: Data) -> Callable[[jax.Array], Tree]:
    """key -> random variables of the network."""
    make = jax.jit(functools.partial(network.init, train=False))  # without jit it is a hundred small programs
    return lambda key: make(key, jnp.zeros((1, *data.image_shape), jnp.uint8))


def carry_over(network: Any, data: Data, reinitialise: Sequence[str] = ()) -> Init:
    """A stage that starts from the variables of the stage before; those under ``reinitialise`` are initialised."""
    make = initialise(network, data)

    def init(key: jax.Array, previous: Previous | None, features: Features) -> Start:
        del features
        assert previous is not None
        return Start(grafted(make(key), previous.variables, reinitialise))

    return init


def grafted(fresh_variables: Tree, variables: Tree, skip: Sequence[str] = ()) -> Tree:
    """``fresh_variables``, with the arrays of ``variables`` in place of those of the same path.

    Args:
      fresh_variables: {"params": ..., "batch_stats": ...} of the new network.
      variables: those of another network, which may have more or fewer arrays.
      skip: path prefixes ("head", "head/classifier") inside each collection that are not replaced.

    Raises:
      InputError: for an array of another shape, or if nothing of the backbone fits.
    """
    initial = traverse_util.flatten_dict(fresh_variables, sep="/")
    given = traverse_util.flatten_dict(variables, sep="/")
    stays = [path for path in initial if any(under(path.partition("/")[2], prefix) for prefix in skip)]
    taken = {path: given[path] for path in initial if path in given and path not in stays}
    for path, array in taken.items():
        if array.shape != initial[path].shape:
            raise InputError(
                f"{path}: shape {list(array.shape)} in the run that this one starts from, {list(initial[path].shape)} "
                "here; use the same backbone and classes as that run"
            )
    if not any(path.startswith("params/backbone") for path in taken):
        raise InputError(
            "the run that this one starts from has another backbone, none of whose arrays fit; use the same "
            "config.model.backbone"
        )
    return traverse_util.unflatten_dict(initial | taken, sep="/")


def within(logits: jax.Array, group: np.ndarray) -> jax.Array:
    """Logits [..., C] of which only the classes of ``group`` bool [C] have a part in softmax, argmax and gradient."""
    return jnp.where(group, logits, jnp.finfo(logits.dtype).min)


def accuracy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    return jnp.mean((jnp.argmax(logits, -1) == labels).astype(jnp.float32))


def watched(config: Settings, losses: jax.Array, labels: jax.Array) -> dict[str, jax.Array | Ratio]:
    """The mean loss of each class in config.watch_classes; logged means leave out batches without an image of it."""
    classes = config.watch_classes
    return {f"class_loss/{c}": Ratio(jnp.sum(losses * (labels == c)), jnp.sum(labels == c)) for c in classes}


def classify(
    stream: str,
    loss: Callable[[jax.Array, jax.Array], jax.Array],
    *,
    config: Settings | None = None,
    weights: Callable[[jax.Array, Context], jax.Array] | None = None,
    group: np.ndarray | None = None,
) -> Callable[..., Outcome]:
    """One pass over one stream, one loss on its logits.

    Args:
      stream: its name.
      loss: (logits [B, C], labels [B]) -> [B].
      config: for the classes to watch; None watches none.
      weights: (labels [B], context) -> [B], the weight of each example in the mean; None = equal weights.
      group: bool [C], the classes that take part; None = all.
    """

    def objective(apply: Apply, params: Tree, model_state: Tree, batch: Batch, context: Context) -> Outcome:
        images, labels = batch[stream]["image"], batch[stream]["label"]
        outputs, model_state = apply(params, model_state, images)
        logits = outputs.logits if group is None else within(outputs.logits, group)
        losses = loss(logits, labels)
        terms = {"classification": Term(losses, None if weights is None else weights(labels, context))}
        seen = {} if config is None else watched(config, losses, labels)
        return Outcome(terms, model_state, {"accuracy": accuracy(logits, labels)} | seen)

    return objective


def one_stage(
    config: Settings, data: Data, network: Any, objective: Callable[..., Outcome], **fields: Any
) -> list[Stage]:
    """The usual single stage: the config's epochs, optimizer, sampler and rates, random weights, plain logits."""
    usual: dict[str, Any] = {
        "streams": {"image": configured_sampler(config)},
        "init": fresh(network, data),
        "predict": predicts(network),
        "updates": Updates(rates=rates(config.optimizer)),
    }
    return [Stage("train", network, config.epochs, config.optimizer, objective=objective, **(usual | fields))]
