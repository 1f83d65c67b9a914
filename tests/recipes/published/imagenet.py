"""ImageNet-LT: ResNeXt-50, ResNet-10 and others, from random weights."""

from tests.recipes.published import best, methods, recent, ride
from tests.recipes.published.defaults import DEFAULTS, LARGE_RUNS
from tests.recipes.table import Part, Tables, named, recipe, second_stage, with_words

KANG = "Kang et al. (2020), section 5.1"
KANG_CODE = "Kang et al. (2020), authors' configs"
CUI = "Cui et al. (2022), section 4.1"
CUI_CODE = "Cui et al. (2022), authors' scripts"
TANG = "Tang et al. (2020, Causal Norm), authors' config"

DATA: Part = {
    "configs/imagenet_*.py": {"data.name": "imagenet_lt", "recipe": "imagenet_lt"},
    "the whole data set": {"data.imbalance": 1.0},
    "Kang et al. (2020), authors' code: RandomResizedCrop, flip, ColorJitter": {"data.augment": "crop224_flip_jitter"},
}

# "joint"
CE: Part = {
    KANG: {
        "model.backbone": "resnext50_32x4d",
        "epochs": 90,
        "batch_size": 512,
        "optimizer.learning_rate": 0.2,
        "optimizer.momentum": 0.9,
        "optimizer.schedule.name": "cosine",
    },
    KANG_CODE: {
        "optimizer.nesterov": False,
        "optimizer.weight_decay": 5e-4,
        "optimizer.schedule.warmup_epochs": 0,
        "optimizer.schedule.unit": "epoch",
        "optimizer.schedule.cosine_includes": "end",
    },
}
CE_WORDS: dict[str, Part] = {
    "backbone=resnet10": {"Kang et al. (2020), figure 5": {"model.backbone": "resnet10"}},
    "sampler=progressive": {"Kang et al. (2020), table 5": {"data.sampler": "progressive"}},
    "epochs=180": {"Cui et al. (2022), table 3": {"epochs": 180}},
}

DECOUPLING: Part = {
    KANG: {"second_stage_epochs": 10},
    KANG_CODE: {
        "second_stage_optimizer.learning_rate": 0.2,
        "second_stage_optimizer.weight_decay": 5e-4,
        "second_stage_optimizer.schedule.name": "cosine",
    },
    "Kang et al. (2020), table 9: of the validation images": {"decoupling.tau": 0.7},
}
DECOUPLING_WORDS: dict[str, Part] = {
    "retrain=all,backbone_rate=0.1": {
        "Kang et al. (2020), table 1: B+C (0.1 x lr)": {
            "decoupling.retrain": "all",
            "second_stage_optimizer.backbone_rate": 0.1,
        }
    },
}

RESLT: Part = {
    CUI: {
        "epochs": 180,
        "batch_size": 256,
        "optimizer.learning_rate": 0.1,
        "optimizer.momentum": 0.9,
        "optimizer.schedule.name": "cosine",
        "model.backbone": "resnext50_32x4d",
    },
    "Cui et al. (2022), section 4.2.5": {"reslt.alpha": 0.99},
    CUI_CODE: {
        "optimizer.nesterov": False,
        "optimizer.weight_decay": 5e-4,
        "optimizer.schedule.unit": "epoch",
        "optimizer.schedule.warmup_epochs": 5,
        "optimizer.schedule.warmup_start": 0.0,
        "reslt.head": "conv",
        "reslt.gamma": 0.7,
        "reslt.conv_before_pool": True,
    },
    "Cui et al. (2022), authors' code: over (e - 4) / 176": {"optimizer.schedule.cosine_includes": "neither"},
    "Cui et al. (2022), authors' code: 825 medium and tail classes, 220 tail classes": {"reslt.boundaries": (175, 780)},
}
EXPERTS: Part = {
    "Cui et al. (2022), table 7: RIDE's ResNeXt-50": {
        "model.backbone": "ride_resnext50_32x4d",
        "reslt.experts": 3,
        "reslt.reduce": True,
    },
    "Cui et al. (2022), authors' script of RIDE's backbone": {
        "batch_size": 128,
        "optimizer.learning_rate": 0.05,
        "reslt.gamma": 0.7,
        "reslt.conv_before_pool": True,
    },
}
RESLT_WORDS: dict[str, Part] = {
    "backbone=resnet10": {
        CUI: {"model.backbone": "resnet10", "batch_size": 256, "optimizer.learning_rate": 0.1},
        CUI_CODE: {"reslt.gamma": 0.3, "reslt.conv_before_pool": False},
    },
    "backbone=resnext50_32x4d": {},
    "backbone=resnext101_32x4d": {
        CUI: {"model.backbone": "resnext101_32x4d", "batch_size": 128, "optimizer.learning_rate": 0.05},
        CUI_CODE: {"reslt.gamma": 0.7, "reslt.conv_before_pool": True},
    },
    "experts=3": EXPERTS,
    "strong": {
        "Cui et al. (2022), table 3: mixup and AutoAugment": {"data.augment": "crop224_flip_autoaugment"},
        "ours: a uniform share": {"reslt.mixup": 1.0},
    },
    "long": {"ours: twice the epochs": {"epochs": 360}, "unused": {"optimizer.schedule.milestones": (320, 360)}},
}

ASYNCHRONOUS: Part = {
    "asynchronous modelling, appendix A": {
        "model.backbone": "resnet10",
        "optimizer.learning_rate": 0.05,
        "optimizer.momentum": 0.9,
        "optimizer.weight_decay": 5e-4,
        "optimizer.schedule.name": "cosine",
        "asynchronous.split": 0,  # 864, by the rule of 20 images
    },
    "asynchronous modelling, section 3.2.1: progressively balanced": {"data.sampler": "progressive"},
    "not in the paper: as Kang et al. (2020)": {
        "epochs": 90,
        "second_stage_epochs": 90,
        "batch_size": 512,
        "optimizer.nesterov": False,
        "optimizer.schedule.unit": "epoch",
        "optimizer.schedule.warmup_epochs": 0,
    },
}

AUXILIARY: Part = {
    "Zhang et al. (2019), table 1": {"model.backbone": "resnet10"},
    "Zhang et al. (2019), section 4.4": {"optimizer.schedule.name": "cosine"},
    "Liu et al. (2019, OLTR), authors' config, which Zhang et al. (2019) refer to": {
        "batch_size": 128,
        "optimizer.learning_rate": 0.1,
        "optimizer.momentum": 0.9,
        "optimizer.nesterov": False,
        "optimizer.weight_decay": 5e-4,
    },
    "ours: OLTR's 30 and 60 epochs in one stage": {"epochs": 90},
    "ours: per epoch, without warm-up": {"optimizer.schedule.unit": "epoch", "optimizer.schedule.warmup_epochs": 0},
    "Zhang et al. (2019), section 4.2: many >= 100, few <= 20": {"evaluation.shots": "inclusive"},
}
FINETUNING: Part = {"ours: two thirds of the first stage, as OLTR's 60 of 90": {"second_stage_epochs": 60}}

AS_AUTHORS: dict[str, Part] = {
    "bbn": {"not published": {"model.backbone": "bbn_resnet50"}},
    "ride": ride.IMAGENET,
    "causal_norm": {
        TANG: {
            "model.backbone": "resnext50_32x4d",
            "baseline.alpha": 3.0,
            "epochs": 90,
            "batch_size": 512,
            "optimizer.learning_rate": 0.2,
            "optimizer.momentum": 0.9,
            "optimizer.weight_decay": 5e-4,
            "optimizer.schedule.name": "cosine",
        },
        "Tang et al. (2020, Causal Norm), authors' code off CIFAR": {"baseline.momentum": "learning_rate"},
    },
}
TWO_STAGES: dict[str, Part] = {
    "lfme": {
        "Xiang et al. (2020), authors' configs of experts and student": {
            "epochs": 120,
            "batch_size": 256,
            "optimizer.learning_rate": 0.1,
            "optimizer.momentum": 0.9,
            "optimizer.weight_decay": 5e-4,
            "optimizer.schedule.name": "cosine",
        }
    },
    "fslwf": methods.FEW_SHOT_SCRIPT,
}
LFME_STUDENT: dict[str, Part] = {
    "lfme": {
        "Xiang et al. (2020), authors' config; epochs counted from 1": {
            "second_stage_epochs": 90,
            "second_stage_optimizer.schedule.name": "step",
            "second_stage_optimizer.schedule.milestones": (49, 79),
            "second_stage_optimizer.schedule.decay": 0.1,
        }
    }
}
OLTR_FIRST: Part = {
    "Liu et al. (2019, OLTR), authors' config; use_fc in the second stage only": {
        "epochs": 30,
        "batch_size": 128,
        "optimizer.learning_rate": 0.1,
        "optimizer.momentum": 0.9,
        "optimizer.weight_decay": 5e-4,
        "optimizer.schedule.name": "step",
        "optimizer.schedule.unit": "epoch",
        "optimizer.schedule.warmup_epochs": 0,
        "optimizer.schedule.milestones": (10, 20),
        "optimizer.schedule.decay": 0.1,
        "model.features": 512,
        "oltr.first_stage_features": False,
    }
}
OLTR_LENGTH: Part = {
    "Liu et al. (2019, OLTR), authors' config": {
        "second_stage_epochs": 60,
        "second_stage_optimizer.schedule.milestones": (20, 40),
    }
}
OLTR_CRT: Part = {KANG: {"second_stage_epochs": 10}}


def tables() -> Tables:
    """Of all config files of the data set."""
    base = recipe(DEFAULTS, LARGE_RUNS, DATA)
    asynchronous = recipe(base, named("asynchronous"), methods.ASYNCHRONOUS, ASYNCHRONOUS)
    decoupling = recipe(base, named("decoupling"), methods.DECOUPLING, CE)
    auxiliary = recipe(base, named("auxiliary"), methods.AUXILIARY, AUXILIARY)
    made = methods.baselines("imagenet_baselines", recipe(base, CE), AS_AUTHORS, {})
    return {
        **with_words("imagenet_ce", recipe(base, named("ce"), CE), CE_WORDS),
        **with_words("imagenet_reslt", recipe(base, named("reslt"), methods.RESLT, RESLT), RESLT_WORDS),
        **with_words("imagenet_asynchronous", methods.two_phases(asynchronous), methods.ASYNCHRONOUS_WORDS),
        **with_words(
            "imagenet_decoupling",
            second_stage(decoupling, DECOUPLING),
            methods.DECOUPLING_WORDS | DECOUPLING_WORDS,
        ),
        **with_words("imagenet_auxiliary", second_stage(auxiliary, FINETUNING), methods.AUXILIARY_WORDS),
        **made,
        **methods.two_stages("imagenet_baselines", recipe(base, CE), TWO_STAGES, LFME_STUDENT),
        **methods.oltr("imagenet_baselines", recipe(base, CE), OLTR_FIRST, OLTR_LENGTH, OLTR_CRT),
        "imagenet_baselines:ride,experts=2": recipe(made["imagenet_baselines:ride"], ride.TWO_EXPERTS),
        "imagenet_baselines:ride,epochs=180": recipe(made["imagenet_baselines:ride"], ride.EPOCHS_180),
        **recent.tables("imagenet", recipe(base, CE)),
        **best.tables("imagenet", recipe(base, CE)),
    }
