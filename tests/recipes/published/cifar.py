"""CIFAR-10-LT and CIFAR-100-LT with ResNet-32."""

from tests.recipes.published import best, methods, recent
from tests.recipes.published.defaults import CIFAR_RUNS, COMMON_WORDS, DEFAULTS, SHORT
from tests.recipes.table import Part, Tables, named, recipe, second_stage, with_words

CAO = "Cao et al. (2019, LDAM-DRW), authors' code"
CUI = "Cui et al. (2022), section 4.1"
CUI_CODE = "Cui et al. (2022), authors' code"
APPENDIX = "asynchronous modelling, appendix A"
ZHOU = "Zhou et al. (2020, BBN), authors' config"
WANG = "Wang et al. (2021, RIDE), authors' config"
TANG = "Tang et al. (2020, Causal Norm), authors' config"

DATA: Part = {
    "every CIFAR-LT paper": {"model.backbone": "resnet32", "data.augment": "pad_crop_flip", "data.imbalance": 100.0},
    "Cui et al. (2022), section 4.1: groups by frequency rank": {"evaluation.shots": "index"},
}
OF_DATASET: dict[str, Part] = {
    "cifar10": {
        "configs/cifar10_*.py": {"data.name": "cifar10", "recipe": "cifar10"},
        "Cui et al. (2022), section 4.1: classes 0-2, 3-5, 6-9": {"evaluation.index_boundaries": (3, 6)},
    },
    "cifar100": {
        "configs/cifar100_*.py": {"data.name": "cifar100", "recipe": "cifar100"},
        "Cui et al. (2022), section 4.1: classes 0-34, 35-69, 70-99": {"evaluation.index_boundaries": (35, 70)},
    },
}

# the training of LDAM-DRW, which the tables' baselines share
CE: Part = {
    CAO: {
        "epochs": 200,
        "batch_size": 128,
        "optimizer.learning_rate": 0.1,
        "optimizer.momentum": 0.9,
        "optimizer.nesterov": False,
        "optimizer.weight_decay": 2e-4,
        "optimizer.schedule.name": "step",
        "optimizer.schedule.unit": "epoch",
        "optimizer.schedule.warmup_epochs": 5,
        "optimizer.schedule.warmup_start": 0.0,
        "optimizer.schedule.milestones": (160, 180),
        "optimizer.schedule.decay": 0.01,
    }
}

RESLT: Part = {
    CUI: {
        "epochs": 200,
        "batch_size": 128,
        "optimizer.learning_rate": 0.1,
        "optimizer.momentum": 0.9,
        "optimizer.schedule.name": "step",
        "optimizer.schedule.unit": "epoch",
        "optimizer.schedule.warmup_epochs": 5,
        "optimizer.schedule.milestones": (160, 180),
        "optimizer.schedule.decay": 0.1,
    },
    CUI_CODE: {
        "optimizer.nesterov": True,
        "optimizer.weight_decay": 5e-4,
        "optimizer.schedule.warmup_start": 1 / 3,
    },
}
# by data set: where the branches' groups begin, alpha by imbalance factor
RESLT_GROUPS = {"cifar10": (2, 4), "cifar100": (35, 70)}
RESLT_ALPHA = {
    "cifar10": {100.0: 0.998, 50.0: 0.998, 10.0: 0.96},
    "cifar100": {100.0: 0.995, 50.0: 0.99, 10.0: 0.72},
}
RESLT_WORDS: dict[str, Part] = {
    "strong": {
        "Cui et al. (2022), table 5: mixup and AutoAugment": {"data.augment": "autoaugment_flip"},
        "ours: a uniform share": {"reslt.mixup": 1.0},
    },
    "long": {"ours: twice the epochs": {"epochs": 400, "optimizer.schedule.milestones": (320, 360)}},
    "experts=3": {
        "Cui et al. (2022), table 5: RIDE's backbone": {"model.backbone": "ride_resnet32", "reslt.experts": 3},
        "Wang et al. (2021, RIDE), authors' config: reduce_dimension": {"reslt.reduce": True},
    },
    "groups=4": {"Cui et al. (2022), table 9": {"reslt.groups": 4}, "ours: by count": {"reslt.boundaries": ()}},
    "groups=3": {},
    "variant=a": {"Cui et al. (2022), figure 2": {"reslt.variant": "a"}},
    "alpha=0.9": {"Cui et al. (2022), figure 5": {"reslt.alpha": 0.9}},
    "gamma=0.5": {"a given gamma": {"reslt.gamma": 0.5}},
    "head=conv": {"a given head": {"reslt.head": "conv"}},
    "width=2": {"Cui et al. (2022), figure 4": {"model.width": 2}},
    "pretrained=w.npz": {"given weights": {"model.pretrained": "w.npz"}},
}

# algorithm 1 has one T for both phases and no second schedule
ASYNCHRONOUS: Part = {
    APPENDIX: {
        "epochs": 200,
        "second_stage_epochs": 200,
        "batch_size": 64,
        "optimizer.learning_rate": 0.1,
        "optimizer.momentum": 0.9,
        "optimizer.weight_decay": 5e-4,
        "optimizer.schedule.name": "step",
        "optimizer.schedule.unit": "epoch",
        "optimizer.schedule.milestones": (160, 180),
        "optimizer.schedule.decay": 0.01,
    },
    "not in the paper: none": {"optimizer.nesterov": False, "optimizer.schedule.warmup_epochs": 0},
    "asynchronous modelling, section 3.2.1: progressively balanced": {"data.sampler": "progressive"},
}
SPLIT: dict[str, Part] = {
    "cifar10": {"ours: 70 %, CIFAR-100's share, for all classes have 50 images or more": {"asynchronous.split": 7}},
    "cifar100": {"asynchronous modelling, appendix A: 70, by the rule of 20 images": {"asynchronous.split": 0}},
}

DECOUPLING: Part = {
    "ours: the classifier's 10 epochs, cosine per epoch to 0, as Kang et al. (2020), section 5.1": {
        "second_stage_epochs": 10,
        "second_stage_optimizer.schedule.name": "cosine",
        "second_stage_optimizer.schedule.unit": "epoch",
        "second_stage_optimizer.schedule.cosine_includes": "end",
        "second_stage_optimizer.schedule.warmup_epochs": 0,
    }
}

AUXILIARY: Part = {
    "ours: the paper has no CIFAR": {
        "epochs": 200,
        "batch_size": 128,
        "optimizer.learning_rate": 0.1,
        "optimizer.momentum": 0.9,
        "optimizer.nesterov": False,
        "optimizer.weight_decay": 5e-4,
        "optimizer.schedule.unit": "step",
        "optimizer.schedule.warmup_epochs": 5,
        "optimizer.schedule.decay": 0.01,
    },
    "Zhang et al. (2019), section 4.4": {"optimizer.schedule.name": "cosine"},
}
FINETUNING: Part = {"ours: two thirds of the first stage, as OLTR's 60 of 90": {"second_stage_epochs": 133}}

# where a baseline's authors train otherwise; the scripts of BBN and of Causal Norm count epochs from 1
AS_AUTHORS: dict[str, Part] = {
    "bbn": {
        ZHOU: {
            "model.backbone": "bbn_resnet32",
            "optimizer.weight_decay": 2e-4,
            "optimizer.schedule.warmup_epochs": 5,
            "optimizer.schedule.milestones": (119, 159),
            "optimizer.schedule.decay": 0.01,
        },
        "Zhou et al. (2020, BBN), authors' code": {
            "optimizer.nesterov": True,
            "optimizer.schedule.warmup_start": 1 / 3,
        },
    },
    "ride": {
        WANG: {
            "model.backbone": "ride_resnet32",
            "optimizer.nesterov": True,
            "optimizer.weight_decay": 5e-4,
            "optimizer.schedule.warmup_epochs": 5,
            "optimizer.schedule.milestones": (160, 180),
            "optimizer.schedule.decay": 0.01,
        }
    },
    "causal_norm": {
        TANG: {
            "model.backbone": "bbn_resnet32",
            "batch_size": 256,
            "optimizer.learning_rate": 0.2,
            "optimizer.weight_decay": 5e-4,
            "optimizer.schedule.warmup_epochs": 5,
            "optimizer.schedule.milestones": (119, 159),
            "optimizer.schedule.decay": 0.01,
        },
        "Tang et al. (2020, Causal Norm), authors' code": {"optimizer.schedule.warmup_start": 1 / 3},
    },
}
OLTR_LENGTH: Part = {
    "ours: as ImageNet-LT": {
        "second_stage_epochs": 60,
        "second_stage_optimizer.schedule.milestones": (20, 40),
    }
}
OLTR_SHORT: Part = {
    "ours: ten epochs in thirds": {
        "second_stage_epochs": 10,
        "second_stage_optimizer.nesterov": True,
        "second_stage_optimizer.weight_decay": 5e-4,
        "second_stage_optimizer.schedule.milestones": (3, 7),
    }
}
OLTR_CRT: Part = {"ours: as ImageNet-LT": {"second_stage_epochs": 10}}
PARAMETERS: dict[str, dict[str, Part]] = {
    "cifar10": {
        "ride": {"Wang et al. (2021, RIDE), authors' default": {"baseline.diversity": -0.2}},
        "causal_norm": {TANG: {"baseline.alpha": 1.0}},
        "lfme": {"ours: the groups of the tables": {"baseline.boundaries": (3, 6)}},
        "fslwf": {"ours: all but the tables' few-shot classes": {"baseline.base_classes": 6}},
        "fsa": {"ours: all but the tables' few-shot classes": {"baseline.head_classes": 6}},
    },
    "cifar100": {
        "ride": {"Wang et al. (2021, RIDE), authors' script": {"baseline.diversity": -0.45}},
        "causal_norm": {TANG: {"baseline.alpha": 1.5}},
        "lfme": {"ours: the groups of the tables": {"baseline.boundaries": (35, 70)}},
        "fslwf": {"ours: all but the tables' few-shot classes": {"baseline.base_classes": 70}},
        "fsa": {"ours: all but the tables' few-shot classes": {"baseline.head_classes": 70}},
    },
}


def tables(dataset: str) -> Tables:
    """Of all config files of one of the two data sets."""
    base = recipe(DEFAULTS, CIFAR_RUNS, DATA, OF_DATASET[dataset])
    of_alpha = {
        factor: {CUI_CODE: {"reslt.alpha": value, "data.imbalance": factor}}
        for factor, value in RESLT_ALPHA[dataset].items()
    }
    groups = {CUI_CODE: {"reslt.boundaries": RESLT_GROUPS[dataset]}}
    reslt = recipe(base, named("reslt"), methods.RESLT, RESLT, of_alpha[100.0], groups)
    asynchronous = recipe(base, named("asynchronous"), methods.ASYNCHRONOUS, ASYNCHRONOUS, SPLIT[dataset])
    decoupling = recipe(base, named("decoupling"), methods.DECOUPLING, CE)
    auxiliary = recipe(base, named("auxiliary"), methods.AUXILIARY, AUXILIARY)
    baselines = methods.baselines(f"{dataset}_baselines", recipe(base, CE), AS_AUTHORS, PARAMETERS[dataset])
    oltr = methods.oltr(f"{dataset}_baselines", recipe(base, CE), {}, OLTR_LENGTH, OLTR_CRT)
    return {
        **with_words(f"{dataset}_ce", recipe(base, named("ce"), CE), {"short": SHORT, **COMMON_WORDS}),
        **with_words(
            f"{dataset}_reslt",
            reslt,
            {"short": SHORT, **RESLT_WORDS, **{f"imbalance={factor:g}": part for factor, part in of_alpha.items()}},
        ),
        **with_words(f"{dataset}_asynchronous", methods.two_phases(asynchronous), methods.ASYNCHRONOUS_WORDS),
        **with_words(f"{dataset}_decoupling", second_stage(decoupling, DECOUPLING), methods.DECOUPLING_WORDS),
        **with_words(f"{dataset}_auxiliary", second_stage(auxiliary, FINETUNING), methods.AUXILIARY_WORDS),
        **baselines,
        **methods.two_stages(f"{dataset}_baselines", recipe(base, CE), PARAMETERS[dataset], {}),
        **oltr,
        f"{dataset}_baselines:oltr,short": recipe(oltr[f"{dataset}_baselines:oltr"], SHORT, OLTR_SHORT),
        f"{dataset}_baselines:bbn,short": recipe(baselines[f"{dataset}_baselines:bbn"], SHORT),
        **recent.tables(dataset, recipe(base, CE)),
        **best.tables(dataset, recipe(base, CE)),
    }
