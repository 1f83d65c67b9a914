"""Supervised contrastive losses for long tails: each image against the images of its batch and against its class."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ltjax.arrays import (
    Array,
    ArrayLike,
    Scalar,
    any_promotion,
    as_float,
    check_features,
    jit,
    l2_normalize,
    per_class,
    product,
)
from ltjax.class_counts import PerClass
from ltjax.losses.examples import all_if_none, at_label, check_mask, mask_examples, mask_losses, of_label
from ltjax.losses.reduction import divide_or_zero, gathered, replicated, weighted_mean


@any_promotion
def balanced_contrastive_loss(
    features: ArrayLike,
    labels: ArrayLike,
    prototypes: ArrayLike,
    *,
    temperature: Scalar = 0.1,
    normalize: bool = True,
    where: ArrayLike | None = None,
    axis_name: str | None = None,
) -> Array:
    """Balanced contrastive learning: every class has the same weight among what an image is compared with.

    For image i of class y, with the other images k of the batch and one prototype a class, s the cosine::

        own    = the other images of class y and its prototype
        loss_i = -mean_{p in own} log( exp(s_ip / t) / sum_classes c mean_{k of c, not i} exp(s_ik / t) )

    The mean within each class is the paper's class averaging; the prototype, which puts every class into every batch,
    its class complement. The result is the mean over the images.

    Args:
      features: ``[B, d]``, any float dtype; computed in at least float32. Several views of an image are several rows.
      labels: integers ``[B]`` in 0..C-1; a label outside gives NaN, unless masked.
      prototypes: ``[C, d]``, trained with the network.
      temperature: t.
      normalize: L2-normalise both first.
      where: bool ``[B]``; masked examples are compared with nothing and nothing with them.
      axis_name: inside ``shard_map``, the mesh axis that the batch lies on: the result is that of the whole batch.
        So are gradients taken inside with ``check_vma=True``, shard_map's default; without it they are multiplied by
        the number of devices.

    Returns:
      A scalar; 0 when everything is masked.

    Raises:
      ValueError: if the shapes do not fit.

    Example:
      >>> import numpy as np
      >>> print(f"{balanced_contrastive_loss(np.eye(2), np.array([0, 1]), np.eye(2), temperature=1.0):.4f}")
      0.3133

    Elsewhere: the authors' code has this form; temperature 0.07 on ImageNet-LT and iNaturalist.

    Reference: Zhu et al., Balanced Contrastive Learning for Long-Tailed Visual Recognition, CVPR 2022.
    """
    features, labels, where = gathered(axis_name, features, labels, where)
    features, labels = check_features(features, labels)
    prototypes = as_float(prototypes)
    if prototypes.ndim != 2 or prototypes.shape[1] != features.shape[1]:
        raise ValueError(f"prototypes: expected [C, {features.shape[1]}], not {list(prototypes.shape)}")
    exist = all_if_none(check_mask(where, labels.shape), labels.shape)
    loss = _balanced_contrastive(features, labels, prototypes, exist, temperature, normalize=normalize)
    return replicated(loss, axis_name)


@jit(static_argnames=("normalize",))
def _balanced_contrastive(
    features: Array, labels: Array, prototypes: Array, exist: Array, temperature: Any, normalize: bool
) -> Array:
    features, labels = mask_examples(exist, features, labels)
    if normalize:
        features, prototypes = l2_normalize(features), l2_normalize(prototypes)
    number, num_classes = len(labels), len(prototypes)
    own = at_label(labels, num_classes)
    sizes = 1 + jnp.sum(own & exist[:, None], axis=0)  # of each class in the batch, its prototype among them
    others = exist[:, None] & exist & ~jnp.eye(number, dtype=bool)
    positive = jnp.concatenate([others & (labels[:, None] == labels), own], axis=1)
    compared = jnp.concatenate([others, jnp.ones((number, num_classes), bool)], axis=1)
    # An image is not compared with itself: its own class has one less.
    divisors = jnp.concatenate([of_label(sizes, labels), sizes]) - positive
    scores = product(features, jnp.concatenate([features, prototypes]).T) / temperature
    weighed = scores - jnp.log(jnp.where(compared, divisors, 1).astype(scores.dtype))
    total = jax.nn.logsumexp(jnp.where(compared, weighed, np.finfo(scores.dtype).min), axis=1)
    losses = total - jnp.sum(jnp.where(positive, scores, 0), axis=1) / jnp.sum(positive, axis=1)
    losses = jnp.where((labels >= 0) & (labels < num_classes), losses, jnp.nan)
    return weighted_mean(losses, exist)


@any_promotion
def paco_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    features: ArrayLike,
    keys: ArrayLike,
    key_labels: ArrayLike,
    *,
    class_counts: PerClass,
    alpha: Scalar = 0.05,
    beta: Scalar = 1.0,
    gamma: Scalar = 1.0,
    temperature: Scalar = 0.2,
    normalize: bool = True,
    where: ArrayLike | None = None,
    axis_name: str | None = None,
) -> Array:
    """Parametric contrastive learning: an image against the other images, and against a learned centre of each class.

    The products with the centres are the logits x of a classifier, which the prior of the training set rebalances. For
    image i of class y, with the other images k (of the batch and among the keys), s the cosine, and w = beta for the
    centre of class y, alpha for an image of class y, 0 for all others::

        below  = sum_c exp(x_ic + log prior_c) + gamma sum_k exp(s_ik / t)
        loss_i = -(beta (x_iy + log prior_y) + alpha sum_{k of y} s_ik / t) / sum of w + log(below)

    Args:
      logits: x ``[B, C]``, any float dtype; computed in at least float32.
      labels: integers ``[B]`` in 0..C-1; a label outside gives NaN, unless masked.
      features: ``[B, d]``, of the same images.
      keys: ``[K, d]``, of further ones: other views of theirs, and a queue of earlier images. K may be 0.
      key_labels: integers ``[K]``; a key whose label is negative does not exist.
      class_counts: training images of each class ``[C]``, for the prior.
      alpha: the weight of an image of the same class.
      beta: the weight of the centre of the class.
      gamma: how much the other images count below.
      temperature: t.
      normalize: L2-normalise features and keys first.
      where: bool ``[B]``; masked examples have loss 0 and are compared with nothing, nor anything with them.
      axis_name: inside ``shard_map``, the mesh axis that the batch and the keys lie on: this device's images are
        compared with those of all devices. Without it they are compared with this device's alone. Gradients of the sum
        over the devices need ``check_vma=True``, shard_map's default; without it those taken inside are multiplied by
        the number of devices.

    Returns:
      ``[B]``, one loss per example, unreduced.

    Raises:
      ValueError: if the shapes do not fit, or the counts are invalid.

    Example:
      >>> import numpy as np
      >>> loss = paco_loss(np.zeros((2, 2)), np.array([0, 1]), np.eye(2), np.eye(2), np.array([0, 1]),
      ...                  class_counts=[1, 1], temperature=1.0)
      >>> print(np.asarray(loss).round(3))
      [2.356 2.356]

    Elsewhere: the authors' code adds 1e-12 below and 1e-9 to the prior.

    Reference: Cui et al., Parametric Contrastive Learning, ICCV 2021; Generalized Parametric
    Contrastive Learning, TPAMI 2023, without a momentum encoder.
    """
    logits = as_float(logits)
    features, labels = check_features(features, labels)
    keys, key_labels = check_features(keys, key_labels)
    if logits.ndim != 2 or len(logits) != len(features):
        raise ValueError(f"logits: expected shape [{len(features)}, C], not {list(logits.shape)}")
    if keys.shape[1] != features.shape[1]:
        raise ValueError(f"keys: expected [K, {features.shape[1]}], not {list(keys.shape)}")
    exist = all_if_none(check_mask(where, labels.shape), labels.shape)
    log_prior = per_class(class_counts, logits.shape[1], lambda counts, xp: xp.log(counts / xp.sum(counts)))
    weights = alpha, beta, gamma
    return _paco(
        logits, labels, features, keys, key_labels, exist, log_prior, weights, temperature, normalize, axis_name
    )


@jit(static_argnames=("normalize", "axis_name"))
def _paco(
    logits: Array, labels: Array, features: Array, keys: Array, key_labels: Array, exist: Array, log_prior: Any,
    weights: Any, temperature: Any, normalize: bool, axis_name: str | None,
) -> Array:  # fmt: skip
    alpha, beta, gamma = weights
    logits, labels, features = mask_examples(exist, logits, labels, features)
    keys = mask_examples(key_labels >= 0, keys)[0]
    if normalize:
        features, keys = l2_normalize(features), l2_normalize(keys)
    all_features, all_labels, all_exist = gathered(axis_name, features, labels, exist)
    keys, key_labels = gathered(axis_name, keys, key_labels)
    first = 0 if axis_name is None else jax.lax.axis_index(axis_name) * len(labels)
    itself = jnp.arange(len(all_labels)) == first + jnp.arange(len(labels))[:, None]
    others, of_others = jnp.concatenate([all_features, keys]), jnp.concatenate([all_labels, key_labels])
    there = jnp.broadcast_to(key_labels >= 0, (len(labels), len(key_labels)))
    compared = jnp.concatenate([all_exist & ~itself, there], axis=1)
    centres = logits + jnp.asarray(log_prior).astype(logits.dtype)
    scores = product(features, others.T) / temperature
    lowest = np.finfo(scores.dtype).min
    below = jnp.logaddexp(
        jax.nn.logsumexp(centres, axis=1),
        jax.nn.logsumexp(jnp.where(compared, scores, lowest), b=jnp.asarray(gamma, scores.dtype), axis=1),
    )
    positive = compared & (labels[:, None] == of_others)
    above = beta * of_label(centres, labels) + alpha * jnp.sum(jnp.where(positive, scores, 0), axis=1)
    losses = below - divide_or_zero(above, beta + alpha * jnp.sum(positive, axis=1))
    losses = jnp.where((labels >= 0) & (labels < logits.shape[1]), losses, jnp.nan)
    return mask_losses(losses, exist)
