"""What one phase hands to the next: exemplars, imprinted classifier rows, and how sharp a graph matching is."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from ltjax.arrays import l2_normalize, pairwise_squared_distances, product, square_root
from ltjax.classifiers import class_means, ncm_transform, select_exemplars
from ltjax.methods.stage import Tree

KERNEL = "params/head/classifier/kernel"


def memory_bank(
    features: np.ndarray, labels: np.ndarray, bank_size: int, similarity: Literal["cosine", "negative_l2"] = "cosine"
) -> np.ndarray:
    """The exemplars of every class, by equations 2 to 5 of asynchronous modelling; a smaller class is kept whole.

    Args:
      features: [n, d], of the model that has learned these classes, without augmentation.
      labels: integers [n].
      bank_size: exemplars of a class.
      similarity: s of the equations.

    Returns:
      integers [sum of min(n_c, bank_size)], rows of ``features``, class by class in the order of picking.

    Example:
      >>> features = np.array([[0.0, 1.0], [1.0, 0.1], [1.0, 1.0], [5.0, 0.0]])
      >>> memory_bank(features, np.array([4, 4, 4, 2]), bank_size=2).tolist()
      [3, 2, 0]
    """
    picks = np.asarray(select_exemplars(features, labels, bank_size, similarity=similarity))
    return picks[picks >= 0]


def imprinted(variables: Tree, features: np.ndarray, labels: np.ndarray, old: np.ndarray) -> Tree:
    """``variables`` with the classifier's columns of new classes set by the mean features of their images.

    Column c becomes the mean of its normalised features, normalised, times the mean norm of the old columns (LUCIR's
    imprinting). A new class without images keeps its column.

    Args:
      variables: with the kernel [d, C] at params/head/classifier/kernel; not changed.
      features: [n, d], of images of new classes.
      labels: integers [n].
      old: bool [C], the classes that were learned before.

    Example:
      >>> kernel = np.array([[3.0, 1.0], [4.0, 1.0]])
      >>> made = imprinted({"params": {"head": {"classifier": {"kernel": kernel}}}}, np.array([[0.0, 0.1], [0.0, 7.0]]),
      ...                  np.array([1, 1]), old=np.array([True, False]))
      >>> made["params"]["head"]["classifier"]["kernel"].tolist()
      [[3.0, 0.0], [4.0, 5.0]]

    Source: Hou et al., "Learning a unified classifier incrementally via rebalancing" (LUCIR), CVPR 2019, and its public
    code, after Qi et al., "Low-shot learning with imprinted weights", CVPR 2018.
    """
    flat = traverse_util.flatten_dict(variables, sep="/")
    kernel = np.asarray(flat[KERNEL])
    means = class_means(ncm_transform(features, "l2"), labels, len(old))
    length = np.linalg.norm(kernel[:, old], axis=0).mean()
    columns = length * np.asarray(ncm_transform(means, "l2")).T
    new = ~old & (np.bincount(labels, minlength=len(old)) > 0)
    flat[KERNEL] = np.where(new, columns, kernel).astype(kernel.dtype)
    return traverse_util.unflatten_dict(flat, sep="/")


def attention_entropy(
    old: Any,
    new: Any,
    *,
    similarity: Literal["cosine", "negative_l2"] = "cosine",
    normalize: bool = True,
    temperature: float = 1.0,
) -> jax.Array:
    """How evenly an old node of ``graph_matching_loss`` attends to the new ones: 1 = to all equally, 0 = to one alone.

    The mean over old nodes of the entropy of a (equation 6), as a share of log B. Near 1 the loss is hardly more than
    the mean distance between all pairs.

    Args:
      old, new: [B, d]; similarity, normalize, temperature: as the loss has them.

    Returns:
      A scalar in [0, 1], without a gradient.

    Example:
      >>> nodes = np.eye(3)
      >>> print([round(float(attention_entropy(nodes, nodes, temperature=t)), 2) for t in (1.0, 0.1)])
      [0.89, 0.0]
    """
    old, new = jax.lax.stop_gradient((jnp.asarray(old), jnp.asarray(new)))
    if similarity == "cosine":
        scores = product(l2_normalize(old), l2_normalize(new).T)
    else:
        nodes = (l2_normalize(old), l2_normalize(new)) if normalize else (old, new)
        scores = -square_root(pairwise_squared_distances(*nodes))
    logs = jax.nn.log_softmax(scores / temperature, axis=-1)
    entropy = -jnp.sum(jnp.exp(logs) * logs, axis=-1)
    return jnp.mean(entropy) / np.log(max(len(old), 2))
