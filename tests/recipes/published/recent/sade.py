"""SADE: Zhang et al. (NeurIPS 2022)."""

from tests.recipes.table import Part

CODE = "Zhang et al. (2022, SADE), authors' config"
HEAD = "Zhang et al. (2022, SADE), authors' code"

DEFAULTS: Part = {
    f"{CODE} for CIFAR-100-LT and ImageNet-LT": {"sade.tau": 2.0},
    f"{CODE}: reduce_dimension, use_norm": {"sade.reduce": True, "sade.head": "cosine"},
    f"{HEAD}: s": {"sade.scale": 30.0},
}
CIFAR: Part = {
    CODE: {
        "model.backbone": "ride_resnet32",
        "epochs": 200,
        "batch_size": 128,
        "optimizer.learning_rate": 0.1,
        "optimizer.momentum": 0.9,
        "optimizer.nesterov": True,
        "optimizer.weight_decay": 5e-4,
        "optimizer.schedule.name": "step",
        "optimizer.schedule.unit": "epoch",
        "optimizer.schedule.warmup_epochs": 5,
        "optimizer.schedule.milestones": (160, 180),
        "optimizer.schedule.decay": 0.1,
    },
    f"{HEAD}: crop, flip, RandomRotation(15)": {"data.augment": "pad_crop_flip_rotate15"},
    f"{HEAD}: rate * (e + 1) / 5": {"optimizer.schedule.warmup_start": 0.0},
}
USERS: Part = {"ours: RIDE's form of the recipe's network": {"model.backbone": "ride_resnet10"}}
FIRST: dict[str, Part] = {
    "cifar100": CIFAR,
    "cifar10": {
        **{f"not published; CIFAR-100: {source}": says for source, says in CIFAR.items()},
        "the authors at github.com/Vanint/SADE-AgnosticLT/issues/11": {
            "sade.reduce": False,
            "optimizer.learning_rate": 0.05,
        },
    },
    "imagenet": {
        CODE: {
            "model.backbone": "ride_resnext50_32x4d",
            "epochs": 180,
            "batch_size": 64,
            "optimizer.learning_rate": 0.025,
            "optimizer.momentum": 0.9,
            "optimizer.nesterov": True,
            "optimizer.weight_decay": 5e-4,
            "optimizer.schedule.name": "cosine",
            "optimizer.schedule.unit": "epoch",
            "optimizer.schedule.cosine_includes": "start",
            "optimizer.schedule.warmup_epochs": 0,
        }
    },
    "places": {
        f"{CODE}: share_lr is a tenth of lr": {
            "model.backbone": "ride_resnet152",
            "sade.tau": 1.0,
            "sade.reduce": False,
            "epochs": 30,
            "batch_size": 128,
            "optimizer.learning_rate": 0.01,
            "optimizer.backbone_rate": 0.1,
            "optimizer.momentum": 0.9,
            "optimizer.nesterov": True,
            "optimizer.weight_decay": 4e-4,
            "optimizer.schedule.name": "step",
            "optimizer.schedule.unit": "epoch",
            "optimizer.schedule.warmup_epochs": 0,
            "optimizer.schedule.milestones": (10, 20),
            "optimizer.schedule.decay": 0.1,
        }
    },
    "inat": {
        CODE: {
            "model.backbone": "ride_resnet50",
            "sade.tau": 1.0,
            "epochs": 100,
            "batch_size": 512,
            "optimizer.learning_rate": 0.2,
            "optimizer.momentum": 0.9,
            "optimizer.nesterov": True,
            "optimizer.weight_decay": 2e-4,
            "optimizer.schedule.name": "step",
            "optimizer.schedule.unit": "epoch",
            "optimizer.schedule.warmup_epochs": 5,
            "optimizer.schedule.milestones": (60, 80),
            "optimizer.schedule.decay": 0.1,
        }
    },
    "mnist5k": {"ours: RIDE's form": {"model.backbone": "ride_resnet8"}},
    "folder": USERS,
    "list": USERS,
}
