"""iNaturalist 2018 with ResNet-50."""

from tests.recipes.published import best, methods, recent, ride
from tests.recipes.published.defaults import DEFAULTS, LARGE_RUNS
from tests.recipes.table import Part, Tables, Word, named, recipe, second_stage, with_words

KANG = "Kang et al. (2020), section 5.1"
KANG_CODE = "Kang et al. (2020), authors' configs"
CUI = "Cui et al. (2022), section 4.1"
CUI_CODE = "Cui et al. (2022), authors' code"

DATA: Part = {
    "configs/inat_*.py": {"data.name": "inat2018", "recipe": "inat2018"},
    "the whole data set": {"data.imbalance": 1.0},
    "Kang et al. (2020), authors' code: RandomResizedCrop, flip, no ColorJitter": {"data.augment": "crop224_flip"},
}

# "joint"
CE: Part = {
    KANG: {
        "model.backbone": "resnet50",
        "batch_size": 512,
        "optimizer.learning_rate": 0.2,
        "optimizer.momentum": 0.9,
        "optimizer.schedule.name": "cosine",
    },
    "Kang et al. (2020), table 3: 90 and 200 epochs": {"epochs": 200},
    KANG_CODE: {
        "optimizer.nesterov": False,
        "optimizer.weight_decay": 1e-4,
        "optimizer.schedule.warmup_epochs": 0,
        "optimizer.schedule.unit": "epoch",
        "optimizer.schedule.cosine_includes": "end",
    },
}

DECOUPLING: Part = {
    KANG_CODE: {
        "second_stage_epochs": 30,
        "second_stage_optimizer.learning_rate": 0.2,
        "second_stage_optimizer.weight_decay": 1e-4,
        "second_stage_optimizer.schedule.name": "cosine",
    },
    "Kang et al. (2020), table 9: of the validation images": {"decoupling.tau": 0.3},
}
DECOUPLING_WORDS: dict[str, Word] = {
    "short": lambda first: recipe(
        first,
        methods.DECOUPLING_SHORT,
        {"ours: three times the first stage's, at most 30": {"second_stage_epochs": 30}},
    ),
    "epochs=90": {"Kang et al. (2020), table 3": {"epochs": 90}},
    "mlp,mlp_layers=3": {
        "Kang et al. (2020), table 11": {"decoupling.second_stage": "mlp", "decoupling.mlp_layers": 3}
    },
}

RESLT: Part = {
    CUI: {
        "epochs": 200,
        "batch_size": 256,
        "optimizer.learning_rate": 0.1,
        "optimizer.momentum": 0.9,
        "optimizer.schedule.name": "cosine",
        "model.backbone": "resnet50",
    },
    "Cui et al. (2022), authors' code; the paper has 0.90": {"reslt.alpha": 0.85},
    CUI_CODE: {
        "optimizer.nesterov": False,
        "optimizer.weight_decay": 1e-4,
        "optimizer.schedule.unit": "epoch",
        "optimizer.schedule.warmup_epochs": 0,
        "reslt.head": "conv",
        "reslt.gamma": 0.3,
        "reslt.conv_before_pool": True,
    },
    "Cui et al. (2022), authors' code: the 6,600 rarest of 8,142 have a second branch": {
        "reslt.groups": 2,
        "reslt.boundaries": (1542,),
    },
}
RESLT_WORDS: dict[str, Part] = {
    "backbone=resnet50": {},
    "backbone=resnet152": {
        CUI: {"model.backbone": "resnet152", "batch_size": 128, "optimizer.learning_rate": 0.05},
        "not published: as ResNet-50": {"reslt.gamma": 0.3, "reslt.conv_before_pool": True},
    },
    "experts=3": {
        "Cui et al. (2022), table 7: RIDE's ResNet-50": {"model.backbone": "ride_resnet50", "reslt.experts": 3},
        "Cui et al. (2022), authors' script of RIDE's backbone": {
            "batch_size": 256,
            "optimizer.learning_rate": 0.1,
            "optimizer.schedule.warmup_epochs": 5,
            "reslt.reduce": False,
            "reslt.gamma": 0.3,
            "reslt.conv_before_pool": True,
        },
        "Cui et al. (2022), authors' code: over (e - 4) / 196": {"optimizer.schedule.cosine_includes": "neither"},
    },
    "long": {
        "Cui et al. (2022), table 2: 360 epochs": {"epochs": 360},
        "unused": {"optimizer.schedule.milestones": (320, 360)},
    },
    "strong,pretrained=w.npz": {
        "Cui et al. (2022), table 2: mixup, torchvision's weights": {
            "model.pretrained": "w.npz",
            "model.needs_pretrained": True,
        },
        "ours: a uniform share": {"reslt.mixup": 1.0},
    },
}

ASYNCHRONOUS: Part = {
    "asynchronous modelling, appendix A and section 4.1": {
        "model.backbone": "resnet50",
        "epochs": 200,
        "second_stage_epochs": 200,
        "optimizer.learning_rate": 0.05,
        "optimizer.momentum": 0.9,
        "optimizer.weight_decay": 5e-4,
        "optimizer.schedule.name": "cosine",
    },
    "asynchronous modelling, section 3.2.1: progressively balanced": {"data.sampler": "progressive"},
    "not in the paper: as Kang et al. (2020)": {
        "batch_size": 512,
        "optimizer.nesterov": False,
        "optimizer.schedule.unit": "epoch",
        "optimizer.schedule.warmup_epochs": 0,
    },
}

AUXILIARY: Part = {
    "ours: the paper has no iNaturalist; Cui et al. (2022)'s batch and rate": {
        "model.backbone": "resnet50",
        "epochs": 200,
        "batch_size": 256,
        "optimizer.learning_rate": 0.1,
        "optimizer.momentum": 0.9,
        "optimizer.nesterov": False,
        "optimizer.weight_decay": 1e-4,
        "optimizer.schedule.unit": "epoch",
        "optimizer.schedule.warmup_epochs": 0,
    },
    "Zhang et al. (2019), section 4.4": {"optimizer.schedule.name": "cosine"},
}
FINETUNING: Part = {"ours: two thirds of the first stage, as OLTR's 60 of 90": {"second_stage_epochs": 133}}

AS_AUTHORS: dict[str, Part] = {
    # their scripts count epochs from 1
    "bbn": {
        "Zhou et al. (2020, BBN), authors' config": {
            "model.backbone": "bbn_resnet50",
            "epochs": 180,
            "batch_size": 128,
            "optimizer.learning_rate": 0.05,
            "optimizer.momentum": 0.9,
            "optimizer.weight_decay": 1e-4,
            "optimizer.schedule.name": "step",
            "optimizer.schedule.unit": "epoch",
            "optimizer.schedule.milestones": (119, 159),
            "optimizer.schedule.decay": 0.1,
        },
        "Zhou et al. (2020, BBN), authors' code": {"optimizer.nesterov": True},
    },
    "ride": ride.INAT,
    "causal_norm": {
        "not published: as ImageNet-LT": {
            "model.backbone": "resnet50",
            "baseline.alpha": 3.0,
            "baseline.momentum": "learning_rate",
            "epochs": 90,
            "batch_size": 512,
            "optimizer.learning_rate": 0.2,
        }
    },
}
OLTR_LENGTH: Part = {
    "ours: as ImageNet-LT": {
        "second_stage_epochs": 60,
        "second_stage_optimizer.schedule.milestones": (20, 40),
    }
}
OLTR_CRT: Part = {KANG_CODE: {"second_stage_epochs": 30}}


def tables() -> Tables:
    """Of all config files of the data set."""
    base = recipe(DEFAULTS, LARGE_RUNS, DATA)
    asynchronous = recipe(base, named("asynchronous"), methods.ASYNCHRONOUS, ASYNCHRONOUS)
    decoupling = recipe(base, named("decoupling"), methods.DECOUPLING, CE)
    auxiliary = recipe(base, named("auxiliary"), methods.AUXILIARY, AUXILIARY)
    return {
        **with_words("inat_ce", recipe(base, named("ce"), CE), {}),
        **with_words("inat_reslt", recipe(base, named("reslt"), methods.RESLT, RESLT), RESLT_WORDS),
        **with_words("inat_asynchronous", methods.two_phases(asynchronous), methods.ASYNCHRONOUS_WORDS),
        **with_words(
            "inat_decoupling", second_stage(decoupling, DECOUPLING), methods.DECOUPLING_WORDS | DECOUPLING_WORDS
        ),
        **with_words("inat_auxiliary", second_stage(auxiliary, FINETUNING), methods.AUXILIARY_WORDS),
        **methods.baselines("inat_baselines", recipe(base, CE), AS_AUTHORS, {}),
        **methods.two_stages("inat_baselines", recipe(base, CE), {"fslwf": methods.FEW_SHOT_SCRIPT}, {}),
        **methods.oltr("inat_baselines", recipe(base, CE), {}, OLTR_LENGTH, OLTR_CRT),
        **recent.tables("inat", recipe(base, CE)),
        **best.tables("inat", recipe(base, CE)),
    }
