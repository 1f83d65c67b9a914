"""GLMC: Du et al. (2023)."""

from tests.recipes.table import Part

DU23 = "Du et al. (2023, GLMC), authors' code"
README = "Du et al. (2023, GLMC), authors' README"
CODE_OF_FILES: Part = {DU23: {"optimizer.schedule.warmup_epochs": 10, "optimizer.schedule.cosine_includes": "neither"}}

DEFAULTS: Part = {
    f"{README} as first published, for CIFAR-100-LT": {
        "glmc.consistency_weight": 10.0,
        "glmc.label_power": 1.2,
        "glmc.resample_power": 0.0,
    },
    f"{DU23} (GLMC_mixed)": {"glmc.alpha": 1.0},
    f"{DU23} (hidden_dim)": {"glmc.width": 128},
}
CIFAR: Part = {
    f"{DU23}: nf=64": {"model.width": 4},
    f"{README}, for CIFAR-100-LT": {
        "batch_size": 64,
        "optimizer.learning_rate": 0.01,
        "optimizer.weight_decay": 5e-3,
    },
    DU23: {
        "optimizer.schedule.name": "cosine",
        "optimizer.schedule.warmup_epochs": 10,
        "optimizer.schedule.cosine_includes": "neither",
    },
}
FILES: Part = {
    f"{README}, for ImageNet-LT": {"glmc.label_power": 1.0, "glmc.resample_power": 0.2},
    f"{DU23} (ResNeXt-50)": {"glmc.width": 256},
}
RANDOM: Part = {f"{DU23} (randncls)": {"data.augment": "crop224_flip_jitter_randaugment_n2_m10_std0.5"}}
FIRST: dict[str, Part] = {
    "cifar10": {**CIFAR, "the authors at github.com/ynu-yangpeng/GLMC/issues/3": {"glmc.consistency_weight": 4.0}},
    "cifar100": CIFAR,
    "imagenet": {
        **FILES,
        **RANDOM,
        f"{README} as first published, for ImageNet-LT, training": {
            "epochs": 135,
            "batch_size": 128,
            "optimizer.learning_rate": 0.1,
            "optimizer.weight_decay": 2e-4,
        },
        **CODE_OF_FILES,
    },
    "inat": {
        **FILES,
        **RANDOM,
        f"{README}, for iNaturalist 2018": {
            "model.backbone": "resnext50_32x4d",
            "glmc.label_power": 1.0,
            "glmc.resample_power": 0.2,
            "epochs": 120,
            "batch_size": 128,
            "optimizer.learning_rate": 0.1,
            "optimizer.weight_decay": 1e-4,
        },
        **CODE_OF_FILES,
    },
    "places": {**FILES, **RANDOM},
    "folder": FILES,
    "list": FILES,
}
