"""Places-LT with ResNet-152 from ImageNet weights."""

from tests.recipes.published import best, methods, recent, ride
from tests.recipes.published.defaults import DEFAULTS, LARGE_RUNS
from tests.recipes.table import Part, Tables, named, recipe, second_stage, with_words

KANG = "Kang et al. (2020), section 5.1"
KANG_CODE = "Kang et al. (2020), authors' configs"
CUI = "Cui et al. (2022), section 4.1"

DATA: Part = {
    "configs/places_*.py": {"data.name": "places_lt", "recipe": "places_lt"},
    "the whole data set": {"data.imbalance": 1.0},
    "Kang et al. (2020), authors' code: RandomResizedCrop, flip, ColorJitter": {"data.augment": "crop224_flip_jitter"},
    "all four papers: from ImageNet's weights": {"model.backbone": "resnet152", "model.needs_pretrained": True},
}

# "joint"; the authors' first stage is not published
CE: Part = {
    KANG: {"optimizer.momentum": 0.9, "optimizer.schedule.name": "cosine"},
    "Kang et al. (2020), authors' config of the second stage": {
        "batch_size": 256,
        "optimizer.nesterov": False,
        "optimizer.weight_decay": 5e-4,
    },
    "Liu et al. (2019, OLTR), authors' config": {"epochs": 30},
    "not published: asynchronous modelling's rates, 0.05 and 5e-4": {
        "optimizer.learning_rate": 0.05,
        "optimizer.backbone_rate": 0.01,
    },
    "Kang et al. (2020), authors' code": {
        "optimizer.schedule.unit": "epoch",
        "optimizer.schedule.warmup_epochs": 0,
        "optimizer.schedule.cosine_includes": "end",
    },
}

DECOUPLING: Part = {
    "Kang et al. (2020), authors' issue 2: the last block": {"decoupling.representation": "last_block"},
    KANG_CODE: {"second_stage_epochs": 10, "second_stage_optimizer.learning_rate": 0.1},
    "Kang et al. (2020), section 4: the classifier alone": {"second_stage_optimizer.backbone_rate": 1.0},
    "Kang et al. (2020), table 9: of the validation images": {"decoupling.tau": 0.8},
}

RESLT: Part = {
    CUI: {
        "epochs": 30,
        "batch_size": 128,
        "optimizer.learning_rate": 0.05,
        "optimizer.backbone_rate": 1.0,
        "optimizer.momentum": 0.9,
        "optimizer.schedule.name": "cosine",
    },
    "not published: as ImageNet-LT": {
        "optimizer.nesterov": False,
        "optimizer.weight_decay": 5e-4,
        "optimizer.schedule.unit": "epoch",
        "reslt.alpha": 0.99,
        "reslt.head": "conv",
        "reslt.gamma": 0.7,
        "reslt.conv_before_pool": True,
    },
    "ours: no warm-up of pretrained weights": {"optimizer.schedule.warmup_epochs": 0},
    "not published: groups by count": {"reslt.boundaries": ()},
}
RESLT_WORDS: dict[str, Part] = {
    "backbone=resnet152": {},
    "backbone_rate=0.01": {"ours: 5e-4 for the backbone, 0.05 for the head": {"optimizer.backbone_rate": 0.01}},
}

ASYNCHRONOUS: Part = {
    "asynchronous modelling, appendix A: 5e-4 and 0.05": {
        "epochs": 60,
        "second_stage_epochs": 60,
        "optimizer.learning_rate": 0.05,
        "optimizer.backbone_rate": 0.01,
        "optimizer.momentum": 0.9,
        "optimizer.weight_decay": 5e-4,
        "optimizer.schedule.name": "step",
        "optimizer.schedule.unit": "epoch",
        "optimizer.schedule.milestones": (20, 40),
        "optimizer.schedule.decay": 0.01,
        "asynchronous.split": 0,  # 294, by the rule of 20 images
    },
    "asynchronous modelling, section 3.2.1: progressively balanced": {"data.sampler": "progressive"},
    "not in the paper: Kang et al. (2020)'s batch": {
        "batch_size": 256,
        "optimizer.nesterov": False,
        "optimizer.schedule.warmup_epochs": 0,
    },
}

AUXILIARY: Part = {
    "Zhang et al. (2019), section 4.4": {"optimizer.schedule.name": "cosine"},
    "Liu et al. (2019, OLTR), authors' config, which Zhang et al. (2019) refer to: 0.001 and 0.1": {
        "epochs": 30,
        "batch_size": 128,
        "optimizer.learning_rate": 0.1,
        "optimizer.backbone_rate": 0.01,
        "optimizer.momentum": 0.9,
        "optimizer.nesterov": False,
        "optimizer.weight_decay": 5e-4,
    },
    "ours: per epoch, without warm-up": {"optimizer.schedule.unit": "epoch", "optimizer.schedule.warmup_epochs": 0},
    "Zhang et al. (2019), section 4.2: many >= 100, few <= 20": {"evaluation.shots": "inclusive"},
}
FINETUNING: Part = {"ours: two thirds of the first stage, as OLTR's 60 of 90": {"second_stage_epochs": 20}}

AS_AUTHORS: dict[str, Part] = {
    "bbn": {
        "not published": {
            "model.backbone": "bbn_resnet50",
            "model.needs_pretrained": False,
            "optimizer.backbone_rate": 1.0,
        }
    },
    "ride": {"not published: as ImageNet-LT": {**ride.IMAGENET[ride.WANG], "model.needs_pretrained": False}},
    "causal_norm": {
        "Tang et al. (2020, Causal Norm), authors' code: from random weights": {"model.needs_pretrained": False},
        "Tang et al. (2020, Causal Norm), authors' config": {
            "model.backbone": "resnext50_32x4d",
            "baseline.alpha": 3.0,
            "epochs": 90,
            "batch_size": 512,
            "optimizer.learning_rate": 0.2,
            "optimizer.backbone_rate": 1.0,
            "optimizer.momentum": 0.9,
            "optimizer.weight_decay": 5e-4,
            "optimizer.schedule.name": "cosine",
        },
        "Tang et al. (2020, Causal Norm), authors' code off CIFAR": {"baseline.momentum": "learning_rate"},
    },
}
OLTR_FIRST: Part = {
    "Liu et al. (2019, OLTR), authors' config: 0.001 and 0.1": {
        "epochs": 30,
        "batch_size": 128,
        "optimizer.learning_rate": 0.1,
        "optimizer.backbone_rate": 0.01,
        "optimizer.momentum": 0.9,
        "optimizer.weight_decay": 5e-4,
        "optimizer.schedule.name": "step",
        "optimizer.schedule.unit": "epoch",
        "optimizer.schedule.warmup_epochs": 0,
        "optimizer.schedule.milestones": (10, 20),
        "optimizer.schedule.decay": 0.1,
        "model.features": 512,
    }
}
OLTR_LENGTH: Part = {
    "Liu et al. (2019, OLTR), authors' config": {
        "second_stage_epochs": 30,
        "second_stage_optimizer.schedule.milestones": (10, 20),
    }
}
OLTR_SECOND: Part = {
    "Liu et al. (2019, OLTR), authors' config: 0.01, and 1e-4 for the layer and the attention": {
        "second_stage_optimizer.learning_rate": 0.01,
        "second_stage_optimizer.backbone_rate": 0.01,
        "oltr.train_backbone": False,
    },
    "Liu et al. (2019, OLTR), authors' code: the frozen backbone stays in train mode": {"oltr.norm": "batch"},
    "Liu et al. (2019, OLTR), authors' config: 0.01 for centroids, 0.01 * 0.01 (centroid_weight) * 100": {
        "oltr.centroid_rate": 100.0
    },
}
OLTR_CRT: Part = {KANG_CODE: {"second_stage_epochs": 10, "second_stage_optimizer.learning_rate": 0.1}}

# the word from_scratch
FROM_SCRATCH: Part = {
    "ours: one rate for all where nothing is pretrained": {
        "model.needs_pretrained": False,
        "optimizer.backbone_rate": 1.0,
    }
}
BOTH_STAGES: Part = {"ours: in both stages": {"second_stage_optimizer.backbone_rate": 1.0}}
ALL_TRAINED: Part = {"ours: not the last block alone": {"decoupling.representation": "all"}}


def tables() -> Tables:
    """Of all config files of the data set."""
    base = recipe(DEFAULTS, LARGE_RUNS, DATA)
    asynchronous = recipe(base, named("asynchronous"), methods.ASYNCHRONOUS, ASYNCHRONOUS)
    decoupling = recipe(base, named("decoupling"), methods.DECOUPLING, CE)
    auxiliary = recipe(base, named("auxiliary"), methods.AUXILIARY, AUXILIARY)
    made = methods.baselines("places_baselines", recipe(base, CE), AS_AUTHORS, {})
    words: dict[str, Part] = {"from_scratch": FROM_SCRATCH}
    in_both: dict[str, Part] = {"from_scratch": FROM_SCRATCH | BOTH_STAGES}
    return {
        **with_words("places_ce", recipe(base, named("ce"), CE), words),
        **with_words("places_reslt", recipe(base, named("reslt"), methods.RESLT, RESLT), RESLT_WORDS | words),
        **with_words("places_asynchronous", methods.two_phases(asynchronous), methods.ASYNCHRONOUS_WORDS | in_both),
        **with_words(
            "places_decoupling",
            second_stage(decoupling, DECOUPLING),
            methods.DECOUPLING_WORDS | {"from_scratch": FROM_SCRATCH | ALL_TRAINED},
        ),
        **with_words("places_auxiliary", second_stage(auxiliary, FINETUNING), methods.AUXILIARY_WORDS | in_both),
        **made,
        "places_baselines:focal,from_scratch": recipe(made["places_baselines:focal"], FROM_SCRATCH),
        **methods.two_stages("places_baselines", recipe(base, CE), {"fslwf": methods.FEW_SHOT_SCRIPT}, {}),
        **methods.oltr("places_baselines", recipe(base, CE), OLTR_FIRST, OLTR_LENGTH, OLTR_CRT, OLTR_SECOND),
        **recent.tables("places", recipe(base, CE)),
        **best.tables("places", recipe(base, CE)),
    }
