"""MDCS: Zhao et al. (ICCV 2023)."""

from typing import Any

from tests.recipes.table import Part

CODE = "Zhao et al. (2023, MDCS), authors' code"
CONFIG = "Zhao et al. (2023, MDCS), authors' config"
OURS = "ours: RIDE's form of the recipe's network"

DEFAULTS: Part = {
    f"{CODE}: powers of the class counts": {"mdcs.strengths": (-0.5, 1.0, 2.5)},
    f"{CODE}: 0.6 min(epoch / 20, 1)": {"mdcs.distillation": 0.6, "mdcs.distillation_warmup": 20},
    "that of the weak view": {"mdcs.augment": ""},
    f"{CONFIG}: reduce_dimension, use_norm": {"mdcs.reduce": True, "mdcs.head": "cosine"},
    f"{CODE}: s": {"mdcs.scale": 30.0},
}
SGD: dict[str, Any] = {"optimizer.momentum": 0.9, "optimizer.nesterov": True, "optimizer.schedule.unit": "epoch"}
STEPS: dict[str, Any] = {"optimizer.schedule.name": "step", "optimizer.schedule.decay": 0.1}
CIFAR: Part = {
    CONFIG: {
        **SGD,
        **STEPS,
        "model.backbone": "ride_resnet32",
        "epochs": 400,
        "batch_size": 64,
        "optimizer.learning_rate": 0.1,
        "optimizer.weight_decay": 5e-4,
        "optimizer.schedule.warmup_epochs": 10,
        "optimizer.schedule.milestones": (200, 320, 380),
    },
    f"{CODE}: rate * (e + 1) / 10": {"optimizer.schedule.warmup_start": 0.0},
    f"{CODE}: crop, flip, RandomRotation(15)": {"data.augment": "pad_crop_flip_rotate15"},
    f"{CODE}: crop, flip, AutoAugment, cutout": {"mdcs.augment": "autoaugment_flip_cutout"},
}
STRONG: Part = {
    f"{CODE} for ImageNet-LT: crop, flip, jitter, RandAugment": {
        "mdcs.augment": "crop224_flip_jitter_randaugment_n2_m10_std0.5"
    }
}
FIRST: dict[str, Part] = {
    "cifar100": CIFAR,
    "cifar10": {**CIFAR, f"{CONFIG} of CIFAR-10": {"optimizer.schedule.warmup_epochs": 20}},
    "imagenet": {
        **STRONG,
        CONFIG: {
            **SGD,
            "model.backbone": "ride_resnext50_32x4d",
            "epochs": 180,
            "batch_size": 256,
            "optimizer.learning_rate": 0.1,
            "optimizer.weight_decay": 5e-4,
            "optimizer.schedule.name": "cosine",
            "optimizer.schedule.cosine_includes": "start",
            "optimizer.schedule.warmup_epochs": 0,
        },
    },
    "places": {
        **STRONG,
        f"{CONFIG}: share_lr is a tenth of lr": {
            **SGD,
            **STEPS,
            "model.backbone": "ride_resnet152",
            "mdcs.reduce": False,
            "epochs": 30,
            "batch_size": 64,
            "optimizer.learning_rate": 0.01,
            "optimizer.backbone_rate": 0.1,
            "optimizer.weight_decay": 4e-4,
            "optimizer.schedule.warmup_epochs": 0,
            "optimizer.schedule.milestones": (10, 20),
        },
    },
    "inat": {
        **STRONG,
        CONFIG: {
            **SGD,
            **STEPS,
            "model.backbone": "ride_resnet50",
            "epochs": 400,
            "batch_size": 512,
            "optimizer.learning_rate": 0.2,
            "optimizer.weight_decay": 2e-4,
            "optimizer.schedule.warmup_epochs": 5,
            "optimizer.schedule.milestones": (200, 300, 380),
        },
    },
    "mnist5k": {OURS: {"model.backbone": "ride_resnet8"}, "ours: a twentieth": {"mdcs.distillation_warmup": 1}},
    "folder": {OURS: {"model.backbone": "ride_resnet10"}, "ours: a twentieth": {"mdcs.distillation_warmup": 5}},
    "list": {OURS: {"model.backbone": "ride_resnet10"}, "ours: a twentieth": {"mdcs.distillation_warmup": 5}},
}
