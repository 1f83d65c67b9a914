"""Losses for long-tailed recognition: pure functions ``f(logits, labels, *, ..., where=None)``, jax only."""

from ltjax.losses.binary import softmax_binary_loss
from ltjax.losses.clouded import gaussian_clouded_loss
from ltjax.losses.consistency import cosine_consistency_loss
from ltjax.losses.contrastive import balanced_contrastive_loss, paco_loss
from ltjax.losses.distillation import distillation_loss
from ltjax.losses.embedding import lifted_structure_loss, proxy_loss, range_loss, triplet_loss
from ltjax.losses.equalization import softmax_equalization_loss
from ltjax.losses.experts import inverse_softmax_loss, mutual_distillation_loss, nontarget_distillation_loss
from ltjax.losses.focal import focal_loss, sigmoid_focal_loss
from ltjax.losses.graph import graph_matching_loss
from ltjax.losses.influence import influence_balanced_loss
from ltjax.losses.lade import lade_regularizer
from ltjax.losses.margin import ldam_loss, margin_ranking_loss
from ltjax.losses.multilabel import asymmetric_loss, binary_cross_entropy, distribution_balanced_loss
from ltjax.losses.reduction import weighted_mean
from ltjax.losses.reslt import ResLTLoss, ResLTTerms, reslt_loss, reslt_terms
from ltjax.losses.ride import RIDELoss, ride_loss
from ltjax.losses.rotation import random_rotations, rotate
from ltjax.losses.smoothing import label_aware_smoothing_loss
from ltjax.losses.softmax import balanced_softmax_loss, cross_entropy, logit_adjusted_loss, mixup_loss
from ltjax.losses.vector_scaling import vector_scaling_loss
from ltjax.losses.vmf import proco_loss

__all__ = [
    "RIDELoss",
    "ResLTLoss",
    "ResLTTerms",
    "asymmetric_loss",
    "balanced_contrastive_loss",
    "balanced_softmax_loss",
    "binary_cross_entropy",
    "cosine_consistency_loss",
    "cross_entropy",
    "distillation_loss",
    "distribution_balanced_loss",
    "focal_loss",
    "gaussian_clouded_loss",
    "graph_matching_loss",
    "influence_balanced_loss",
    "inverse_softmax_loss",
    "label_aware_smoothing_loss",
    "lade_regularizer",
    "ldam_loss",
    "lifted_structure_loss",
    "logit_adjusted_loss",
    "margin_ranking_loss",
    "mixup_loss",
    "mutual_distillation_loss",
    "nontarget_distillation_loss",
    "paco_loss",
    "proco_loss",
    "proxy_loss",
    "random_rotations",
    "range_loss",
    "reslt_loss",
    "reslt_terms",
    "ride_loss",
    "rotate",
    "sigmoid_focal_loss",
    "softmax_binary_loss",
    "softmax_equalization_loss",
    "triplet_loss",
    "vector_scaling_loss",
    "weighted_mean",
]
