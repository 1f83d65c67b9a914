"""One file a method. METHODS: name -> the method; a config file is written with ``new_config`` and ``with_words``."""

from ltjax.methods import oltr_recipe, refusals, two_stages
from ltjax.methods.asynchronous import settings as of_asynchronous
from ltjax.methods.asynchronous.stages import asynchronous
from ltjax.methods.auxiliary import WORDS as AUXILIARY_WORDS
from ltjax.methods.auxiliary import AuxiliarySettings, auxiliary
from ltjax.methods.bbn import BBNSettings, bbn
from ltjax.methods.bcl import BCLSettings, bcl
from ltjax.methods.causal_norm import CausalNormSettings, causal_norm
from ltjax.methods.ce import cross_entropy_method
from ltjax.methods.cmo import CMOSettings, cmo
from ltjax.methods.decoupling import settings as of_decoupling
from ltjax.methods.decoupling.stages import decoupling
from ltjax.methods.disalign import DisAlignSettings, disalign
from ltjax.methods.focal import ClassBalancedFocalSettings, FocalSettings, class_balanced_focal, focal
from ltjax.methods.fsa import FSASettings, fsa
from ltjax.methods.fsa import resolve as resolve_fsa
from ltjax.methods.fslwf import FSLwFSettings, fslwf
from ltjax.methods.gcl import GCLSettings, gcl
from ltjax.methods.glmc import GLMCSettings, glmc
from ltjax.methods.ib import IBSettings, ib
from ltjax.methods.lade import LADESettings, lade
from ltjax.methods.ldam import LDAMDRWSettings, LDAMSettings, ldam, ldam_drw
from ltjax.methods.lfme import LFMESettings, lfme
from ltjax.methods.lift import WORDS as LIFT_WORDS
from ltjax.methods.lift import LIFTSettings, lift
from ltjax.methods.logit_adjustment import LogitAdjustmentSettings, balanced_softmax, logit_adjustment
from ltjax.methods.mdcs import MDCSSettings, mdcs
from ltjax.methods.method import AnyMethod, Method
from ltjax.methods.metric_learning import (
    LiftedSettings,
    ProxySettings,
    RangeSettings,
    TripletSettings,
    lifted,
    proxy,
    range_method,
    triplet,
)
from ltjax.methods.mislas import MiSLASSettings, mislas
from ltjax.methods.mixup import MixupSettings, cutmix, mixup
from ltjax.methods.multilabel import (
    AsymmetricSettings,
    BinarySettings,
    ClassBalancedBinarySettings,
    DistributionBalancedSettings,
    asymmetric,
    binary,
    class_balanced_binary,
    distribution_balanced,
)
from ltjax.methods.oltr import OLTRSettings, oltr
from ltjax.methods.paco import GPaCoSettings, PaCoSettings, gpaco, paco
from ltjax.methods.proco import ProCoSettings, proco
from ltjax.methods.reslt import settings as of_reslt
from ltjax.methods.reslt.stages import reslt
from ltjax.methods.reweighting import (
    ClassBalancedSettings,
    CostSensitiveSettings,
    DeferredSettings,
    DeferredWeightsSettings,
    class_balanced_ce,
    cost_sensitive,
    deferred_resampling,
    deferred_reweighting,
)
from ltjax.methods.ride import WORDS as RIDE_WORDS
from ltjax.methods.ride import RIDESettings, ride
from ltjax.methods.sade import SADESettings, sade
from ltjax.methods.seql import SEQLSettings, seql
from ltjax.methods.shike import SHIKESettings, shike
from ltjax.methods.vs import VSSettings, vs
from ltjax.methods.weight_balancing import WeightBalancingSettings, weight_balancing
from ltjax.settings import Block

METHODS: dict[str, AnyMethod] = {
    "ce": Method(cross_entropy_method, Block, refuses={}),
    # the four papers
    "reslt": Method(reslt, of_reslt.ResLTSettings, "reslt", of_reslt.WORDS, of_reslt.resolve, refuses=refusals.RESLT),
    "decoupling": Method(
        decoupling, of_decoupling.DecouplingSettings, "decoupling", of_decoupling.WORDS, of_decoupling.resolve,
        refuses=refusals.DECOUPLING,
    ),
    "asynchronous": Method(
        asynchronous, of_asynchronous.AsynchronousSettings, "asynchronous", of_asynchronous.WORDS,
        of_asynchronous.resolve, refuses=refusals.ASYNCHRONOUS,
    ),
    "auxiliary": Method(auxiliary, AuxiliarySettings, "auxiliary", AUXILIARY_WORDS, refuses=refusals.AUXILIARY),
    # the baselines of their tables
    "focal": Method(focal, FocalSettings, "baseline", refuses=refusals.OWN_LOSS),
    "cb_ce": Method(class_balanced_ce, ClassBalancedSettings, "baseline", refuses={}),
    "cb_focal": Method(class_balanced_focal, ClassBalancedFocalSettings, "baseline", refuses=refusals.CB_FOCAL),
    "cost_sensitive": Method(cost_sensitive, CostSensitiveSettings, "baseline", refuses={}),
    "ldam": Method(ldam, LDAMSettings, "baseline", refuses=refusals.OWN_LOSS | refusals.COSINE_ALREADY),
    "ldam_drw": Method(ldam_drw, LDAMDRWSettings, "baseline", refuses=refusals.OWN_LOSS | refusals.COSINE_ALREADY),
    "ce_drw": Method(deferred_reweighting, DeferredWeightsSettings, "baseline", refuses={}),
    "ce_drs": Method(deferred_resampling, DeferredSettings, "baseline", refuses={}),
    "mixup": Method(mixup, MixupSettings, "baseline", refuses=refusals.MIXES_ALREADY),
    "cutmix": Method(cutmix, MixupSettings, "baseline", refuses=refusals.MIXES_ALREADY),
    "bbn": Method(bbn, BBNSettings, "baseline", refuses=refusals.BBN),
    "causal_norm": Method(causal_norm, CausalNormSettings, "baseline", refuses=refusals.COSINE_ALREADY),
    "ride": Method(ride, RIDESettings, "baseline", RIDE_WORDS, refuses=refusals.RIDE),
    "balanced_softmax": Method(balanced_softmax, Block, "baseline", refuses=refusals.OWN_ADJUSTMENT),
    "logit_adjustment": Method(logit_adjustment, LogitAdjustmentSettings, "baseline", refuses=refusals.OWN_ADJUSTMENT),
    "seql": Method(seql, SEQLSettings, "baseline", refuses=refusals.OWN_LOSS),
    "lifted": Method(lifted, LiftedSettings, "baseline", refuses=refusals.COMPARES_IMAGES),
    "range": Method(range_method, RangeSettings, "baseline", refuses=refusals.COMPARES_IMAGES),
    "triplet": Method(triplet, TripletSettings, "baseline", refuses=refusals.COMPARES_IMAGES),
    "proxy": Method(proxy, ProxySettings, "baseline", refuses=refusals.PROXY),
    "lfme": Method(lfme, LFMESettings, "baseline", two_stages.WORDS, two_stages.as_many_epochs, refuses=refusals.LFME),
    "fslwf": Method(
        fslwf, FSLwFSettings, "baseline", two_stages.WORDS, two_stages.as_many_epochs, refuses=refusals.FSLWF
    ),
    "fsa": Method(fsa, FSASettings, "baseline", two_stages.WORDS, resolve_fsa, refuses=refusals.FSA),
    "oltr": Method(
        oltr, OLTRSettings, "oltr", {"short": oltr_recipe.short, "from_scratch": oltr_recipe.from_scratch},
        refuses=refusals.OLTR,
    ),
    # since 2021
    "disalign": Method(
        disalign, DisAlignSettings, "disalign", resolve=two_stages.epochs_of_second_stage(10),
        refuses=refusals.DISALIGN,
    ),
    "gcl": Method(gcl, GCLSettings, "gcl", resolve=two_stages.epochs_of_second_stage(30), refuses=refusals.GCL),
    "mislas": Method(
        mislas, MiSLASSettings, "mislas", resolve=two_stages.epochs_of_second_stage(10), refuses=refusals.MISLAS
    ),
    "weight_balancing": Method(
        weight_balancing, WeightBalancingSettings, "weight_balancing", resolve=two_stages.epochs_of_second_stage(10),
        refuses=refusals.WEIGHT_BALANCING,
    ),
    "vs": Method(vs, VSSettings, "vs", refuses=refusals.VS),
    "lade": Method(lade, LADESettings, "lade", refuses=refusals.LADE),
    "ib": Method(ib, IBSettings, "ib", refuses=refusals.IB),
    "sade": Method(sade, SADESettings, "sade", refuses=refusals.SADE),
    "mdcs": Method(mdcs, MDCSSettings, "mdcs", refuses=refusals.MDCS),
    "shike": Method(shike, SHIKESettings, "shike", two_stages.WORDS, two_stages.as_many_epochs, refuses=refusals.SHIKE),
    "bcl": Method(bcl, BCLSettings, "bcl", refuses=refusals.OF_VIEWS),
    "paco": Method(paco, PaCoSettings, "paco", refuses=refusals.OF_VIEWS),
    "gpaco": Method(gpaco, GPaCoSettings, "gpaco", refuses=refusals.OF_VIEWS),
    "glmc": Method(glmc, GLMCSettings, "glmc", refuses=refusals.GLMC),
    "cmo": Method(cmo, CMOSettings, "cmo", refuses=refusals.CMO),
    "proco": Method(proco, ProCoSettings, "proco", refuses=refusals.OF_VIEWS),
    # of images with several labels
    "bce": Method(binary, BinarySettings, "multilabel", refuses=refusals.SEVERAL_LABELS, several_labels=True),
    "cb_bce": Method(
        class_balanced_binary, ClassBalancedBinarySettings, "multilabel", refuses=refusals.SEVERAL_LABELS,
        several_labels=True,
    ),
    "distribution_balanced": Method(
        distribution_balanced, DistributionBalancedSettings, "multilabel", refuses=refusals.SEVERAL_LABELS,
        several_labels=True,
    ),
    "asymmetric": Method(
        asymmetric, AsymmetricSettings, "multilabel", refuses=refusals.SEVERAL_LABELS, several_labels=True
    ),
    # on large pretrained backbones
    "lift": Method(lift, LIFTSettings, "lift", LIFT_WORDS, refuses=refusals.LIFT),
}  # fmt: skip
