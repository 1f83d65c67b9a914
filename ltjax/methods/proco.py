"""ProCo, probabilistic contrastive learning: views compared with the distribution of every class on the sphere.

Du et al., "Probabilistic contrastive learning for long-tailed visual recognition", TPAMI 2024. One view of an image is
classified, two more are projected onto the unit sphere. The features of each class are von Mises-Fisher distributed;
their means are kept up to date with the images of this epoch and the last one, and stand for infinitely many images to
compare with:

    loss = CE(x + log prior, y) + alpha (ProCo(z_2) + ProCo(z_3)) / 2
"""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from ltjax.arrays import l2_normalize
from ltjax.data import Data
from ltjax.losses import logit_adjusted_loss, proco_loss
from ltjax.methods.bcl import ContrastiveSettings, contrastive_head
from ltjax.methods.common import accuracy, build_network, initialise, one_stage, uniform_prior, watched
from ltjax.methods.stage import Features, Outcome, Previous, Stage, Start, Term, Tree
from ltjax.methods.views import apart, streams_of_views, together
from ltjax.settings import Settings, setting
from ltjax.settings.schema import integer, not_negative, one_of

FIRST_LENGTH = 0.9  # of the mean of a class without an image so far, in a random direction
SUMS = "it adds up the features of all images of a batch before it compares them with their classes"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProCoSettings(ContrastiveSettings):
    """config.proco: the authors' values on CIFAR."""

    hidden: int = setting(
        512, "width of the projection's layer before the last; 0 = that of the features", integer(0, 65536)
    )
    classifier: str = setting("linear", "the classifier: cosine or linear", one_of("cosine", "linear"))
    weight: float = setting(1.0, "alpha, the weight of the contrastive loss; the cross-entropy's is 1", not_negative)


def proco(config: Settings, settings: ProCoSettings, data: Data) -> list[Stage]:
    """One stage of three views: the first is classified, the others are compared with the classes."""
    network = build_network(config, data, contrastive_head(config, settings, data))
    views = ("image", "second", "third")
    make = initialise(network, data)

    def init(key: jax.Array, previous: Previous | None, features: Features) -> Start:
        del previous, features
        variables = make(key)
        return Start(variables, extras={"classes": no_images(key, data.num_classes, settings.width)})

    def objective(apply, params, model_state, batch, context):
        images = together(*(batch[view]["image"] for view in views))
        outputs, model_state = apply(params, model_state, images, project=True)
        logits, _, _ = apart(outputs.logits["classifier"], 3)
        _, second, third = apart(outputs.logits["projection"], 3)
        projected, labels = l2_normalize(together(second, third)), batch["image"]["label"]
        of_both = together(batch["second"]["label"], batch["third"]["label"])
        classes = updated(context.extras["classes"], jax.lax.stop_gradient(projected), of_both, context.epoch)
        losses = logit_adjusted_loss(logits, labels, class_counts=data.class_counts)
        contrast = proco_loss(
            projected,
            of_both,
            means_of(classes),
            class_counts=data.class_counts,
            temperature=settings.temperature,
            normalize=False,
        )
        terms = {"classification": Term(losses), "contrastive": Term(contrast, scale=settings.weight)}
        metrics = {"accuracy": accuracy(logits, labels)} | watched(config, losses, labels)
        return Outcome(terms, model_state, metrics, {"classes": classes})

    return one_stage(
        config,
        data,
        network,
        objective,
        init=init,
        **streams_of_views(config, {"second": settings.augment, "third": settings.augment}),
        whole_batch=SUMS,
        prior=uniform_prior(data),
    )


def no_images(key: jax.Array, num_classes: int, width: int) -> dict[str, jax.Array]:
    """The statistics of the classes before the first step.

    Returns:
      ``last_sum`` and ``sum`` [C, d], of the unit features of the last epoch and of this one; ``last_count`` and
      ``count`` [C], how many they are; ``first`` [C, d], the means of classes without any; ``epoch``, of ``sum``.
    """
    nothing, none = jnp.zeros((num_classes, width)), jnp.zeros(num_classes)
    first = FIRST_LENGTH * l2_normalize(jax.random.normal(jax.random.fold_in(key, 1), nothing.shape))
    return {
        "last_sum": nothing, "last_count": none, "sum": nothing, "count": none, "first": first, "epoch": jnp.int32(0),
    }  # fmt: skip


def updated(
    classes: Mapping[str, jax.Array], features: jax.Array, labels: jax.Array, epoch: jax.Array
) -> dict[str, jax.Array]:
    """The statistics with these unit features [B, d] in them. A new epoch forgets the one before the last."""
    new = epoch != classes["epoch"]
    made: Tree = {"first": classes["first"], "epoch": epoch.astype(jnp.int32)}
    for name in ("sum", "count"):
        now, last = classes[name], classes[f"last_{name}"]
        rows = features if name == "sum" else jnp.ones_like(features[:, 0])
        added = jnp.zeros_like(now).at[labels].add(rows.astype(now.dtype))
        made |= {f"last_{name}": jnp.where(new, now, last), name: jnp.where(new, jnp.zeros_like(now), now) + added}
    return made


def means_of(classes: Mapping[str, jax.Array]) -> jax.Array:
    """The mean feature of each class [C, d].

    Example:
      >>> import numpy as np
      >>> classes = no_images(jax.random.key(0), 2, 3)
      >>> seen = updated(classes, jnp.array([[0.6, 0.8, 0.0], [0.0, 1.0, 0.0]]), jnp.array([1, 1]), jnp.int32(0))
      >>> print(np.asarray(means_of(seen)[1]).round(2), f"{jnp.linalg.norm(means_of(seen)[0]):.2f}")
      [0.3 0.9 0. ] 0.90
    """
    total = classes["sum"] + classes["last_sum"]
    count = (classes["count"] + classes["last_count"])[:, None]
    return jnp.where(count > 0, total / jnp.maximum(count, 1), classes["first"])
