"""GLMC, global and local mixture consistency: a blend and a pasted box of the same two images must look alike.

Du et al., "Global and local mixture consistency cumulative learning for long-tailed visual recognition", CVPR 2023. Of
each pair of images, the second of a stream of its own, one view of both is blended (mixup) and another view pasted
(CutMix), in the same share. Two classifiers learn both, one from the labels as they are, one from labels that count by
the inverse frequency of their class. The weight a = 1 - (e / T)^2 of epoch e goes from the first to the second, which
is the one that is tested:

    loss = a (CE(x_mix) + CE(x_cut)) + (1 - a) (wCE(u_mix) + wCE(u_cut)) - gamma (cos(p_mix, z_cut) + cos(p_cut, z_mix))
"""

import dataclasses

import jax
import jax.numpy as jnp

from ltjax.class_counts import inverse_frequency_weights
from ltjax.data import Data
from ltjax.data.sampling.independent import power
from ltjax.data.sampling.sampler import another_view
from ltjax.losses import cosine_consistency_loss, cross_entropy
from ltjax.methods.common import accuracy, build_network, configured_sampler, dtypes, one_stage, watched
from ltjax.methods.mixing import box
from ltjax.methods.stage import Outcome, Stage, Term
from ltjax.models import ConsistencyHead
from ltjax.settings import Block, Settings, setting
from ltjax.settings.schema import integer, not_negative, number, positive


@dataclasses.dataclass(frozen=True, kw_only=True)
class GLMCSettings(Block):
    """config.glmc: the authors' values on CIFAR-100-LT."""

    consistency_weight: float = setting(10.0, "gamma, the weight of the consistency of both mixtures", not_negative)
    label_power: float = setting(
        1.2, "the rebalanced labels count by the inverse frequency of their class to this power", not_negative
    )
    resample_power: float = setting(
        0.0,
        "the second stream draws a class by its frequency to the power of 1 less this: 0 = as the images are, 1 = all "
        "classes alike",
        number(0, 2),
    )
    alpha: float = setting(1.0, "parameter of Beta(alpha, alpha), from which the mixing share is drawn", positive)
    width: int = setting(128, "width of the projections and predictions", integer(1, 65536))


def glmc(config: Settings, settings: GLMCSettings, data: Data) -> list[Stage]:
    """One stage of two streams, each with two views."""
    network = build_network(config, data, ConsistencyHead(data.num_classes, settings.width, **dtypes(config)))
    sampler, partner = configured_sampler(config), power(1 - settings.resample_power)
    streams = {
        "image": sampler,
        "second": another_view(sampler, "image"),
        "partner": partner,
        "second_partner": another_view(partner, "partner"),
    }
    inverse = inverse_frequency_weights(data.class_counts, settings.label_power)
    class_weights = jnp.asarray(inverse / inverse.sum() * data.num_classes, jnp.float32)

    def objective(apply, params, model_state, batch, context):
        share_key, box_key = jax.random.split(context.key)
        share = jax.random.beta(share_key, settings.alpha, settings.alpha)
        images, labels = ({name: batch[name][key] for name in streams} for key in ("image", "label"))
        inside = box(box_key, images["second"].shape[1:3], share)[..., None]
        # two passes, as each mixture has batch statistics of its own
        mixed, model_state = apply(
            params, model_state, blended(images["image"], images["partner"], share), project=True
        )
        cut, model_state = apply(
            params, model_state, jnp.where(inside, images["second_partner"], images["second"]), project=True
        )
        mixed, cut, partners = mixed.logits, cut.logits, labels["partner"]

        def losses(logits: jax.Array, weights: jax.Array) -> jax.Array:
            """[B]; the labels count by ``weights`` [C]."""
            ours = weights[labels["image"]] * cross_entropy(logits, labels["image"])
            return share * ours + (1 - share) * weights[partners] * cross_entropy(logits, partners)

        plain_weight = cumulative_weight(context.epoch, context.epochs)
        of_plain, of_rebalanced = (
            losses(mixed[name], weights) + losses(cut[name], weights)
            for name, weights in (("plain", jnp.ones_like(class_weights)), ("classifier", class_weights))
        )
        consistency = cosine_consistency_loss(mixed["prediction"], cut["projection"])
        consistency += cosine_consistency_loss(cut["prediction"], mixed["projection"])
        terms = {
            "plain": Term(of_plain, scale=plain_weight),
            "rebalanced": Term(of_rebalanced, scale=1 - plain_weight),
            "consistency": Term(consistency, scale=settings.consistency_weight),
        }
        larger = jnp.where(share >= 0.5, labels["image"], partners)
        metrics = {"accuracy": accuracy(mixed["classifier"], larger), "glmc/plain_weight": plain_weight}
        return Outcome(terms, model_state, metrics | watched(config, of_plain, larger))

    return one_stage(config, data, network, objective, streams=streams)


def blended(images: jax.Array, others: jax.Array, share: jax.Array) -> jax.Array:
    """mixup of uint8 images, rounded to the nearest level.

    Example:
      >>> blended(jnp.full((1, 1), 200, jnp.uint8), jnp.zeros((1, 1), jnp.uint8), jnp.float32(0.25)).tolist()
      [[50]]
    """
    exact = jnp.promote_types(images.dtype, jnp.float32)
    blend = share * images.astype(exact) + (1 - share) * others.astype(exact)
    return (jnp.round(blend) if jnp.issubdtype(images.dtype, jnp.integer) else blend).astype(images.dtype)


def cumulative_weight(epoch: jax.Array, epochs: int) -> jax.Array:
    """The weight of the plain classifier: 1 - (e / T)^2, ``epoch`` e counting from 0.

    Example:
      >>> [float(cumulative_weight(jnp.int32(epoch), 200)) for epoch in (0, 100)]
      [1.0, 0.75]
    """
    return 1 - (epoch / jnp.float32(epochs)) ** 2
