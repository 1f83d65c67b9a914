"""Losses for long-tailed recognition: pure functions ``f(logits, labels, *, ..., where=None)``, jax only."""

from ltjax.losses.focal import focal_loss, sigmoid_focal_loss
from ltjax.losses.margin import ldam_loss, margin_ranking_loss
from ltjax.losses.reduction import weighted_mean
from ltjax.losses.reslt import ResLTLoss, ResLTTerms, reslt_loss, reslt_terms
from ltjax.losses.softmax import balanced_softmax_loss, cross_entropy, logit_adjusted_loss, mixup_loss

__all__ = [
    "ResLTLoss",
    "ResLTTerms",
    "balanced_softmax_loss",
    "cross_entropy",
    "focal_loss",
    "ldam_loss",
    "logit_adjusted_loss",
    "margin_ranking_loss",
    "mixup_loss",
    "reslt_loss",
    "reslt_terms",
    "sigmoid_focal_loss",
    "weighted_mean",
]
