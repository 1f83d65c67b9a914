"""Classifiers and scores on given features, without a training loop: pure functions, jax only.

Kernels are ``[d, C]`` as in Flax. Inputs may be of any float dtype and are computed in at least float32; every matrix
product is exact to that precision (``Precision.HIGHEST``).
"""

from ltjax.classifiers.calibration import fit_temperature
from ltjax.classifiers.exemplars import select_exemplars
from ltjax.classifiers.linear import adjust_logits, causal_norm_logits, cosine_logits, lws_logits, tau_normalize
from ltjax.classifiers.nearest_mean import class_means, class_means_of_rows, ncm_logits, ncm_transform
from ltjax.classifiers.prior import change_prior, estimate_prior

__all__ = [
    "adjust_logits",
    "causal_norm_logits",
    "change_prior",
    "class_means",
    "class_means_of_rows",
    "cosine_logits",
    "estimate_prior",
    "fit_temperature",
    "lws_logits",
    "ncm_logits",
    "ncm_transform",
    "select_exemplars",
    "tau_normalize",
]
