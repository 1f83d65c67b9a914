"""One file a method. METHODS: name -> (config, data) -> its stages."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ltjax.data import Data
from ltjax.methods.asynchronous.stages import asynchronous
from ltjax.methods.auxiliary import auxiliary
from ltjax.methods.bbn import bbn
from ltjax.methods.causal_norm import causal_norm
from ltjax.methods.ce import cross_entropy_method
from ltjax.methods.decoupling.stages import decoupling
from ltjax.methods.focal import class_balanced_focal, focal
from ltjax.methods.ldam import ldam, ldam_drw
from ltjax.methods.logit_adjustment import balanced_softmax, logit_adjustment
from ltjax.methods.metric_learning import lifted, proxy, range_method, triplet
from ltjax.methods.mixup import cutmix, mixup
from ltjax.methods.oltr import oltr
from ltjax.methods.reslt.stages import reslt
from ltjax.methods.reweighting import class_balanced_ce, cost_sensitive, deferred_resampling, deferred_reweighting
from ltjax.methods.ride import ride
from ltjax.methods.stage import AnyStage

METHODS: Mapping[str, Callable[[Any, Data], Sequence[AnyStage]]] = {
    "ce": cross_entropy_method,
    # the four papers
    "reslt": reslt,
    "decoupling": decoupling,
    "asynchronous": asynchronous,
    "auxiliary": auxiliary,
    # the baselines of their tables
    "focal": focal,
    "cb_ce": class_balanced_ce,
    "cb_focal": class_balanced_focal,
    "cost_sensitive": cost_sensitive,
    "ldam": ldam,
    "ldam_drw": ldam_drw,
    "ce_drw": deferred_reweighting,
    "ce_drs": deferred_resampling,
    "mixup": mixup,
    "cutmix": cutmix,
    "bbn": bbn,
    "causal_norm": causal_norm,
    "ride": ride,
    "balanced_softmax": balanced_softmax,
    "logit_adjustment": logit_adjustment,
    "lifted": lifted,
    "range": range_method,
    "triplet": triplet,
    "proxy": proxy,
    "oltr": oltr,
}
