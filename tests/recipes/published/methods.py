"""The parameters of each method, which hold on every data set unless its recipe says otherwise, and its words."""

from collections.abc import Mapping

from tests.recipes.published import multilabel
from tests.recipes.published.defaults import SHORT
from tests.recipes.table import Part, Recipe, Tables, Word, named, recipe, second_stage

CAO = "Cao et al. (2019), authors' code"
CUI19 = "Cui et al. (2019), authors' CIFAR scripts"
KANG = "Kang et al. (2020), section 5.1"
KANG_CODE = "Kang et al. (2020), authors' code"
HOU = "Hou et al. (2019, LUCIR), authors' code"

# ------------------------------------------------------------------------------------------------------- the papers'

RESLT = {
    "Cui et al. (2022), authors' code: by data set and imbalance (constants.py)": {"reslt.alpha": None},
    "Cui et al. (2022), section 3.2: three groups, the branches' sum": {
        "reslt.groups": 3,
        "reslt.variant": "full",
    },
    "Cui et al. (2022), authors' code: one divisor for all counted terms": {"reslt.divisor": "pooled"},
    "Cui et al. (2022), authors' code on CIFAR: batch norms alone, weights as they are": {
        "reslt.head": "bn",
        "reslt.gamma": -1.0,
    },
    "Cui et al. (2022), authors' code (after_1x1conv)": {"reslt.conv_before_pool": True},
    "ours: exact logarithms (the authors add 1e-7, which cuts gradients off)": {
        "reslt.probability_epsilon": 0.0,
        "reslt.fusion_epsilon": 0.0,
    },
    "ours: groups by count where no positions are published": {"reslt.boundaries": ()},
    "Cui et al. (2022), table 5: mixup only in rows with a section sign": {"reslt.mixup": 0.0},
    "Cui et al. (2022), section 4.1: a plain backbone": {"reslt.experts": 0},
    "Wang et al. (2021, RIDE), authors' code: reduce_dimension": {"reslt.reduce": True},
}

DECOUPLING = {
    KANG: {"decoupling.second_stage": "crt", "decoupling.representation": "all", "decoupling.retrain": "classifier"},
    KANG_CODE: {
        "decoupling.images_per_class": 4,
        "decoupling.ncm_features": "centered_l2",
        "decoupling.ncm_metric": "euclidean",
    },
    "ours: the frozen backbone's statistics do not drift, as they do in the authors' code": {"decoupling.norm": "auto"},
    "Kang et al. (2020), section 5.1: on augmented images": {
        "decoupling.solver": "sgd",
        "decoupling.cached": False,
    },
    "Kang et al. (2020), section 4 and B.5: validation images if there are any, else training images": {
        "decoupling.tau_from": "auto"
    },
    "Kang et al. (2020), section 4: plain length normalisation": {"decoupling.tau": 1.0},
    "Kang et al. (2020), B.6": {"decoupling.mlp_layers": 2, "decoupling.mlp_hidden": 2048},
    "Kang et al. (2020), B.7": {"decoupling.cosine_relu": True},
    "Gidaris and Komodakis (2018), section 3.2": {"decoupling.cosine_scale": 10.0},
}
# the second stage's words; the epochs are the method's: 10 (30 on iNaturalist), LWS 5
DECOUPLING_SHORT: Part = {
    **SHORT,
    "as the first stage": {
        "second_stage_optimizer.nesterov": True,
        "second_stage_optimizer.weight_decay": 5e-4,
        "second_stage_epochs": 10,
    },
}
DECOUPLING_WORDS: dict[str, Word] = {
    "short": DECOUPLING_SHORT,
    "crt": {},
    "lws": {
        "Kang et al. (2020), section 4": {"decoupling.second_stage": "lws"},
        "Kang et al. (2020), authors' configs cls_lws": {"second_stage_epochs": 5},
    },
    "tau": {"Kang et al. (2020), eq. 3": {"decoupling.second_stage": "tau"}},
    "ncm": {"Kang et al. (2020), section 4": {"decoupling.second_stage": "ncm"}},
    "mlp": {"Kang et al. (2020), B.6": {"decoupling.second_stage": "mlp"}},
    "cosine": {"Kang et al. (2020), B.7": {"decoupling.second_stage": "cosine"}},
    "cosine_norelu": {
        "Kang et al. (2020), B.7": {"decoupling.second_stage": "cosine", "decoupling.cosine_relu": False}
    },
    "joint": {"Kang et al. (2020), section 5.1": {"decoupling.second_stage": "joint"}},
    "cached": {"ours: features computed once": {"decoupling.cached": True}},
    "ncm,ncm_metric=cosine,ncm_features=l2": {
        "Kang et al. (2020), section 4: cosine similarity": {
            "decoupling.second_stage": "ncm",
            "decoupling.ncm_metric": "cosine",
            "decoupling.ncm_features": "l2",
        }
    },
    "tau,tau_from=learned": {
        "Kang et al. (2020), B.5": {"decoupling.second_stage": "tau", "decoupling.tau_from": "learned"}
    },
    "images_per_class=8": {"a given number": {"decoupling.images_per_class": 8}},
    "norm=batch": {"the authors' drifting statistics": {"decoupling.norm": "batch"}},
    "second_stage_epochs=3": {"a given number": {"second_stage_epochs": 3}},
    "retrain=last_block,backbone_rate=0.5": {
        "Kang et al. (2020), table 1: LB+C": {
            "decoupling.retrain": "last_block",
            "second_stage_optimizer.backbone_rate": 0.5,
        }
    },
    "mlp,mlp_layers=3,mlp_hidden=512": {
        "Kang et al. (2020), table 10": {
            "decoupling.second_stage": "mlp",
            "decoupling.mlp_layers": 3,
            "decoupling.mlp_hidden": 512,
        }
    },
    "solver=lbfgs": {"ours: the optimum of that training": {"decoupling.cached": True, "decoupling.solver": "lbfgs"}},
    "tau=0.5": {
        "a given tau": {"decoupling.second_stage": "tau", "decoupling.tau_from": "value", "decoupling.tau": 0.5}
    },
}

ASYNCHRONOUS = {
    "asynchronous modelling, section 3: two phases, cosine similarity": {
        "asynchronous.plain": False,
        "asynchronous.similarity": "cosine",
    },
    "asynchronous modelling, appendix A: many- and medium-shot classes first": {"asynchronous.split": 0},
    "asynchronous modelling, figure 2(a)": {"asynchronous.bank_size": 10},
    "asynchronous modelling, appendix A: lambda = sqrt(old / new)": {
        "asynchronous.lambda_base": 1.0,
        "asynchronous.lambda_value": None,
    },
    "ours: the graph loss keeps the scale of the others (the paper sums over nodes of raw features)": {
        "asynchronous.node_reduction": "mean",
        "asynchronous.normalize_features": True,
    },
    "asynchronous modelling, eq. 6: no temperature": {"asynchronous.temperature": 1.0},
    HOU: {
        "asynchronous.margin": 0.5,
        "asynchronous.margin_weight": 1.0,
        "asynchronous.margin_top_k": 2,
        "asynchronous.margin_scope": "exemplars",
        "asynchronous.margin_reduction": "mean",
    },
    "ours: an epoch is the phase's images": {"asynchronous.epoch_size": 0},
    "ours: both phases alike (section 3.2.1 speaks of the first)": {"asynchronous.second_sampler": ""},
    "Hou et al. (2019, LUCIR): new rows start at mean features": {"asynchronous.imprint": True},
}


def two_phases(first: Recipe) -> Recipe:
    """The second phase with the first one's optimizer, at a tenth of its learning rate."""
    rate = first["optimizer.learning_rate"][0] / 10
    source = "ours: better on held-out training images (docs/methods/asynchronous.md)"
    return second_stage(first, {source: {"second_stage_optimizer.learning_rate": rate}})


def one_rate(made: Recipe) -> Recipe:
    rate = made["optimizer.learning_rate"][0]
    return recipe(made, {"asynchronous modelling, algorithm 1": {"second_stage_optimizer.learning_rate": rate}})


ASYNCHRONOUS_WORDS: dict[str, Word] = {
    "short": lambda first: recipe(
        two_phases(recipe(first, SHORT)), {"as the first phase": {"second_stage_epochs": 10}}
    ),
    "plain": lambda made: recipe(
        one_rate(made), {"asynchronous modelling, section 4.1: 'Ours (plain)'": {"asynchronous.plain": True}}
    ),
    "one_rate": one_rate,
    "literal": {
        "asynchronous modelling, eqs. 6 to 9 as printed": {
            "asynchronous.node_reduction": "sum",
            "asynchronous.normalize_features": False,
            "asynchronous.margin_top_k": 0,
            "asynchronous.margin_scope": "all",
            "asynchronous.margin_reduction": "sum",
        }
    },
    "bank=2": {"a given number of exemplars": {"asynchronous.bank_size": 2}},
    "split=5": {"a given number of classes": {"asynchronous.split": 5}},
    "lambda=1.5": {"a given lambda": {"asynchronous.lambda_value": 1.5}},
    "lambda_base=2": {"a given factor": {"asynchronous.lambda_base": 2.0}},
    "second_stage_epochs=3": {"a given number": {"second_stage_epochs": 3}},
}
ONE_RATE_WORDS: dict[str, Word] = ASYNCHRONOUS_WORDS | {
    "short": lambda first: second_stage(recipe(first, SHORT), {"as the first phase": {"second_stage_epochs": 10}}),
}

AUXILIARY = {
    "Zhang et al. (2019), section 3: CBS+RRS+SS, one random angle an image": {
        "auxiliary.variant": "joint",
        "auxiliary.rotation": "random",
    },
    "Zhang et al. (2019), section 4.4: 0.5 : 1 : 1": {"auxiliary.weights": (0.5, 1.0, 1.0)},
    "Zhang et al. (2019), section 4.4: Z = 4 where the classes suffice (constants.py)": {
        "auxiliary.images_per_class": None
    },
    "Zhang et al. (2019), section 4.3: a 512-dim layer": {"model.features": 512},
    "ours: ftRRS+CBS keeps the feature extractor of RRS-only alone (table 3)": {"auxiliary.finetune_classifier": "new"},
}
AUXILIARY_WORDS: dict[str, Word] = {
    "short": lambda first: second_stage(recipe(first, SHORT), {"ours: ten epochs": {"second_stage_epochs": 10}}),
    "no_ss": {"Zhang et al. (2019), table 1: CBS+RRS": {"auxiliary.rotation": "none"}},
    "rrs_only": {"Zhang et al. (2019), section 4.3": {"auxiliary.variant": "rrs_only"}},
    "cbs_only": {"Zhang et al. (2019), section 4.3": {"auxiliary.variant": "cbs_only"}},
    "ft": {"Zhang et al. (2019), table 3: ftRRS+CBS": {"auxiliary.variant": "finetuned"}},
    "weights=1:1": {"Zhang et al. (2019), table 4": {"auxiliary.weights": (1.0, 1.0, 1.0)}},
    "rotation=all_four": {"ours: all four angles": {"auxiliary.rotation": "all_four"}},
    "images_per_class=8": {"a given number": {"auxiliary.images_per_class": 8}},
}

# --------------------------------------------------------------------------------------------------- the baselines

DEFERRED = {"Cao et al. (2019), authors' code: from epoch 160 of 200": {"baseline.deferred_part": 0.8}}
BETA = {CUI19: {"baseline.beta": 0.9999}}
MARGIN = {CAO: {"baseline.max_margin": 0.5, "baseline.scale": 30.0}}
# class-aware batches, so that each has several images of a class
PAIRS = {"Liu et al. (2019, OLTR), authors' issue 44: compared methods with four images of a class in a row": {
    "data.sampler": "class_cycle"
}}  # fmt: skip
BASELINES = {
    "focal": {CAO: {"baseline.gamma": 1.0}},
    "cb_ce": BETA,
    "cb_focal": {CUI19: {"baseline.beta": 0.9999, "baseline.gamma": 1.0}},
    "cost_sensitive": {"Kang et al. (2020) and others: 1 / n": {"baseline.gamma": 1.0}},
    "ldam": MARGIN,
    "ldam_drw": {**MARGIN, **DEFERRED, **BETA},
    "ce_drw": {**DEFERRED, **BETA},
    "ce_drs": DEFERRED,
    "mixup": {"Zhang et al. (2018), as in BagofTricks-LT: uniform": {"baseline.alpha": 1.0}},
    "cutmix": {"Yun et al. (2019), section 3.1: uniform": {"baseline.alpha": 1.0}},
    "bbn": {"Zhou et al. (2020), eq. 4: T by the epochs (constants.py)": {"baseline.horizon": 0}},
    "causal_norm": {
        "Tang et al. (2020), authors' configs": {
            "baseline.heads": 2,
            "baseline.scale": 16.0,
            "baseline.gamma": 0.03125,
        },
        "Tang et al. (2020), authors' CIFAR-10 config": {"baseline.alpha": 1.0},
        "Tang et al. (2020), authors' code on CIFAR": {"baseline.momentum": "constant"},
    },
    "ride": {
        "Wang et al. (2021), authors' configs": {
            "baseline.experts": 3,
            "baseline.reduce": True,
            "baseline.head": "cosine",
            "baseline.use_ldam": True,
            "baseline.scale": 30.0,
        },
        "Wang et al. (2021), authors' code: defaults of the loss": {
            "baseline.diversity": -0.2,
            "baseline.reweight_factor": 0.05,
        },
        "Wang et al. (2021), authors' configs: from epoch 160 of 200, 80 of 100": {"baseline.reweighted_from": 0.8},
    },
    "balanced_softmax": {},
    "logit_adjustment": {"Menon et al. (2021), section 6: tau = 1": {"baseline.tau": 1.0}},
    "seql": {
        "BagofTricks-LT: gamma, and lambda as half the mean class's share": {
            "baseline.gamma": 0.9,
            "baseline.rare_share": 0.5,
        }
    },
    "lifted": {
        **PAIRS,
        "Oh Song et al. (2016), eq. 4": {"baseline.margin": 1.0, "baseline.normalize": False},
        "ours: of the gradient's size": {"baseline.weight": 0.1},
    },
    "range": {
        **PAIRS,
        "Zhang et al. (2017), section 3": {"baseline.k": 2},
        "ours: on unit vectors": {
            "baseline.weight": 1.0,
            "baseline.normalize": True,
            "baseline.margin": 1.0,
            "baseline.alpha": 0.1,
            "baseline.beta": 1.0,
        },
    },
    "triplet": {
        **PAIRS,
        "Hoffer and Ailon (2015)": {"baseline.form": "ratio", "baseline.normalize": False},
        "Schroff et al. (2015, FaceNet), for form=margin": {"baseline.margin": 0.2},
        "ours: of the gradient's size": {"baseline.weight": 1.0},
    },
    "proxy": {
        **PAIRS,
        "Movshovitz-Attias et al. (2017), eq. 4": {"baseline.normalize": True},
        "ours: of the gradient's size": {"baseline.weight": 1.0},
    },
}
# of two stages, the second as long as the first unless a recipe says otherwise
TWO_STAGES: dict[str, Part] = {
    "lfme": {
        "Xiang et al. (2020), authors' config": {
            "baseline.temperature": 2.0,
            "baseline.distillation_weight": 1.0,
            "baseline.decay_from": 0.3,
            "baseline.images_per_class": 4,
        },
        "Xiang et al. (2020), authors' code: weight 1 after half of the epochs": {"baseline.curriculum_part": 0.5},
        "Xiang et al. (2020), section 3: groups by shots": {"baseline.boundaries": ()},
        "ours: an expert's epoch is its images": {"baseline.expert_epoch_size": 0},
    },
    "fslwf": {
        "ours: classes of 20 images and more are the base": {"baseline.base_classes": 0},
        "Gidaris and Komodakis (2018), authors' ImageNet script: 10 images, 250 of 389 classes": {
            "baseline.images_per_class": 10,
            "baseline.novel_part": 0.64,
        },
        "Gidaris and Komodakis (2018), authors' scripts": {
            "baseline.scale": 10.0,
            "baseline.attention_scale": 10.0,
            "baseline.dropout": 0.5,
        },
    },
    "fsa": {
        "ours: classes of 20 images and more lend": {"baseline.head_classes": 0},
        "an unofficial implementation of Chu et al. (2020)": {
            "baseline.confusing": 15,
            "baseline.copies": 15,
            "baseline.specific_above": 0.8,
            "baseline.generic_below": 0.2,
            "second_stage_epochs": 10,
        },
    },
}
# what the second stages of these methods have of their own on every data set
SECOND_STAGES: dict[str, Part] = {
    "fsa": {
        "ours: ten epochs are too few for the first stage's warm-up and milestones": {
            "second_stage_optimizer.schedule.name": "cosine",
            "second_stage_optimizer.schedule.warmup_epochs": 0,
        }
    }
}
FEW_SHOT_SCRIPT: Part = {"Gidaris and Komodakis (2018), authors' ImageNet script": {"baseline.attention_scale": 30.0}}
OLTR: Part = {
    "Liu et al. (2019, OLTR), authors' configs": {
        "oltr.attention": True,
        "oltr.images_per_class": 4,
        "oltr.centroid_weight": 0.01,
        "oltr.train_backbone": True,
    },
    "Liu et al. (2019, OLTR), authors' loss": {"oltr.repel_weight": 0.01, "oltr.margin": 10.0},
    "Liu et al. (2019, OLTR), authors' configs: 0.01 for centroids, 0.1 * 0.01 (centroid_weight) * 10": {
        "oltr.centroid_rate": 10.0
    },
    "ours: both stages have the layer, if any": {"oltr.first_stage_features": True},
    "ours: the statistics of each batch where the backbone is trained": {"oltr.norm": "auto"},
}
# the second stage of ImageNet-LT: features 0.01, classifier 0.1
OLTR_SECOND: Part = {
    "Liu et al. (2019, OLTR), authors' config of ImageNet-LT's second stage": {
        "second_stage_optimizer.learning_rate": 0.1,
        "second_stage_optimizer.backbone_rate": 0.1,
    }
}
THIRDS: Part = {
    "Liu et al. (2019, OLTR), authors' configs": {
        "second_stage_optimizer.schedule.name": "step",
        "second_stage_optimizer.schedule.unit": "epoch",
        "second_stage_optimizer.schedule.warmup_epochs": 0,
        "second_stage_optimizer.schedule.decay": 0.1,
    }
}
MEMORY_ALONE: Part = {
    "Kang et al. (2020), B.4: the memory alone, on a representation learned as theirs": {
        "oltr.attention": False,
        "oltr.train_backbone": False,
        "second_stage_optimizer.backbone_rate": 1.0,
    }
}
OF_CRT: Part = {
    "Kang et al. (2020), B.4: by cross-entropy alone, as cRT": {
        "oltr.centroid_weight": 0.0,
        "second_stage_optimizer.schedule.name": "cosine",
        "second_stage_optimizer.schedule.unit": "epoch",
        "second_stage_optimizer.schedule.cosine_includes": "end",
    }
}

# method -> the defaults of its settings
DEFAULTS: dict[str, Part] = {
    "reslt": RESLT,
    "decoupling": DECOUPLING,
    "asynchronous": ASYNCHRONOUS,
    "auxiliary": AUXILIARY,
    **BASELINES,
    **TWO_STAGES,
    **multilabel.DEFAULTS,
    "oltr": {**OLTR, "ours: the memory alone unless a recipe says otherwise": {"oltr.attention": False}},
}


def baselines(stem: str, training: Recipe, as_authors: Mapping[str, Part], parameters: Mapping[str, Part]) -> Tables:
    """The words of a file of baselines; the default is ldam_drw.

    Args:
      stem: the file.
      training: of the data set.
      as_authors: method -> where its authors train otherwise on this data set.
      parameters: method -> its parameters on this data set.
    """

    def of(name: str) -> Recipe:
        changes = as_authors.get(name, {}), parameters.get(name, {})
        return recipe(training, named(name, "baselines"), BASELINES[name], *changes)

    return {stem: of("ldam_drw")} | {f"{stem}:{name}": of(name) for name in BASELINES}


def two_stages(stem: str, training: Recipe, changes: Mapping[str, Part], second: Mapping[str, Part]) -> Tables:
    """The words of a file of baselines that name methods of two stages.

    Args:
      stem: the file.
      training: of the data set.
      changes: method -> where it differs on this data set.
      second: method -> where its second stage differs from its first.
    """
    made = {}
    for name, part in TWO_STAGES.items():
        first = recipe(training, named(name, "baselines"), part, changes.get(name, {}))
        as_many = {"as the first stage": {"second_stage_epochs": first.get("second_stage_epochs", first["epochs"])[0]}}
        made[f"{stem}:{name}"] = second_stage(first, as_many, SECOND_STAGES.get(name, {}), second.get(name, {}))
    return made


def oltr(stem: str, training: Recipe, first: Part, length: Part, crt: Part, second: Part = OLTR_SECOND) -> Tables:
    """The word oltr of a file of baselines, and its memory on other representations (Kang et al., 2020, B.4).

    Args:
      stem: the file.
      training: of the data set.
      first: where OLTR's first stage differs from it.
      length: epochs and milestones of the memory.
      crt: epochs and rate of cRT's second stage.
      second: the rest of the second stage.
    """
    usual = recipe(training, named("oltr", "baselines"), OLTR)
    alone = second_stage(usual, length, THIRDS, MEMORY_ALONE)
    return {
        f"{stem}:oltr": second_stage(recipe(usual, first), length, THIRDS, second),
        f"{stem}:oltr,on=representation": alone,
        f"{stem}:oltr,on=crt": recipe(alone, OF_CRT, crt),
    }
