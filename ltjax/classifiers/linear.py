"""Linear classifiers whose kernel, features or logits are rescaled."""

import jax.numpy as jnp

from ltjax.arrays import (
    Array,
    ArrayLike,
    Scalar,
    any_promotion,
    as_float,
    causal_norm_cosines,
    cosines,
    norm,
    per_class,
    product,
    rescale_columns,
    unit,
)
from ltjax.class_counts import PerClass


@any_promotion
def tau_normalize(kernel: ArrayLike, tau: Scalar) -> Array:
    """The tau-normalised kernel: a class's weights divided by their norm to the power tau. Drop the bias with it.

    Equation 3: ``w_c / |w_c|^tau``; 0 changes nothing, 1 makes all norms equal.

    Args:
      kernel: ``[d, C]``.
      tau: a scalar, 0 to 2 in the authors' grid; chosen on validation data.

    Returns:
      ``[d, C]``; a column of zeros stays zero.

    Example:
      >>> import numpy as np
      >>> print(tau_normalize(np.array([[4.0, 0.0], [0.0, 9.0]]), 0.5))
      [[2. 0.]
       [0. 3.]]

    Reference: Kang et al., Decoupling Representation and Classifier, ICLR 2020, equation 3.
    """
    return rescale_columns(as_float(kernel), tau)


@any_promotion
def lws_logits(features: ArrayLike, kernel: ArrayLike, bias: ArrayLike | None, scale: ArrayLike) -> Array:
    """Learnable weight scaling: ``(x W + b) * scale``, only the scale being trained.

    Args:
      features: ``[..., d]``; kernel: ``[d, C]``; bias: ``[C]`` or None; scale: ``[C]``, ones at first.

    Returns:
      ``[..., C]``.

    Example:
      >>> import numpy as np
      >>> print(lws_logits(np.array([1.0, 2.0]), np.eye(2), np.array([1.0, 0.0]), np.array([1.0, 3.0])))
      [2. 6.]

    Reference: Kang et al., Decoupling Representation and Classifier, ICLR 2020, section 4.2 (LWS).
    """
    logits = product(as_float(features), as_float(kernel))
    return (logits if bias is None else logits + as_float(bias)) * as_float(scale)


@any_promotion
def cosine_logits(features: ArrayLike, kernel: ArrayLike, scale: ArrayLike, *, squash: bool = False) -> Array:
    """A cosine classifier: ``scale * <x / |x|, w_c / |w_c|>``, without bias.

    Args:
      features: ``[..., d]``; kernel: ``[d, C]``; scale: a scalar (1 for ``ltjax.losses.ldam_loss``, 16 in OLTR).
      squash: OLTR's ``x / (1 + |x|)`` in place of ``x / |x|``, which keeps something of the length.

    Returns:
      ``[..., C]``; a zero feature or kernel column scores 0.

    Example:
      >>> import numpy as np
      >>> print(cosine_logits(np.array([3.0, 4.0]), np.eye(2), 10.0))
      [6. 8.]

    Reference: Liu et al., Large-Scale Long-Tailed Recognition in an Open World (OLTR), CVPR 2019, section 3.2.
    """
    features, kernel = as_float(features), as_float(kernel)
    if squash:
        return as_float(scale) * product(features / (1 + norm(features)), unit(kernel, axis=0))
    return as_float(scale) * cosines(features, kernel)


@any_promotion
def causal_norm_logits(
    features: ArrayLike,
    kernel: ArrayLike,
    *,
    num_heads: int = 2,
    scale: Scalar = 16.0,
    gamma: Scalar = 1 / 32,
    mean_feature: ArrayLike | None = None,
    alpha: Scalar = 0.0,
) -> Array:
    """Causal-norm classifier: multi-head cosine logits; at test, less the direction that all training shared.

    ``scale / H sum_h <x^h / |x^h|, w^h / (|w^h| + gamma)>`` over H parts of the feature. With a mean feature (total
    direct effect) ``x^h / |x^h|`` first loses ``alpha cos(x^h, c^h) c^h / |c^h|``.

    Args:
      features: ``[..., d]``; kernel: ``[d, C]``; d a multiple of num_heads.
      scale, gamma: tau and gamma of the paper.
      mean_feature: ``[d]``, the moving average of the training features (only its direction matters); None in training.
      alpha: strength of the subtraction: 1 on CIFAR-10, 1.5 on CIFAR-100, 3 on ImageNet-LT and Places-LT.

    Returns:
      ``[..., C]``.

    Raises:
      ValueError: if d is no multiple of num_heads.

    Example:
      >>> import numpy as np
      >>> print(np.asarray(causal_norm_logits(np.array([3.0, 4.0]), np.eye(2), num_heads=1, gamma=1.0)).round(3))
      [4.8 6.4]
      >>> mean = np.array([1.0, 0.0])
      >>> print(causal_norm_logits(np.array([3.0, 4.0]), np.eye(2), num_heads=1, gamma=1.0, mean_feature=mean, alpha=1))
      [0.  6.4]

    Reference: Tang et al., Long-Tailed Classification by Keeping the Good and Removing the Bad Momentum Causal Effect,
    NeurIPS 2020, section 4.
    """
    features, kernel = as_float(features), as_float(kernel)
    if num_heads < 1 or kernel.shape[0] % num_heads:
        raise ValueError(f"num_heads: must divide the {kernel.shape[0]} features, {num_heads} does not")
    mean = None if mean_feature is None else as_float(mean_feature)
    return scale / num_heads * causal_norm_cosines(features, kernel, num_heads, gamma, mean, alpha)


@any_promotion
def adjust_logits(logits: ArrayLike, *, class_counts: PerClass, tau: Scalar) -> Array:
    """Post-hoc logit adjustment: ``x - tau log pi``, for a network trained with plain cross-entropy.

    Args:
      logits: ``[..., C]``.
      class_counts: ``[C]`` training images per class, all positive.
      tau: strength; 1 is consistent for the balanced error.

    Returns:
      ``[..., C]``.

    Raises:
      ValueError: if class_counts are invalid, naming the class. Counts that are traced by the caller's jit are not
        checked.

    Example:
      >>> import numpy as np
      >>> print(np.asarray(adjust_logits(np.zeros(2), class_counts=[90, 10], tau=1.0)).round(3))
      [0.105 2.303]

    Reference: Menon et al., Long-Tail Learning via Logit Adjustment, ICLR 2021, equation 9.
    """
    logits = as_float(logits)
    log_prior = per_class(class_counts, logits.shape[-1], lambda n, xp: xp.log(n / n.sum()))
    return logits - tau * jnp.asarray(log_prior, logits.dtype)
