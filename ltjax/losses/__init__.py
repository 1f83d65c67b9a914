"""Losses for long-tailed recognition: pure functions ``f(logits, labels, *, ..., where=None)``, jax only."""

from ltjax.losses.reduction import weighted_mean
from ltjax.losses.reslt import ResLTLoss, ResLTTerms, reslt_loss, reslt_terms
from ltjax.losses.softmax import cross_entropy

__all__ = ["ResLTLoss", "ResLTTerms", "cross_entropy", "reslt_loss", "reslt_terms", "weighted_mean"]
