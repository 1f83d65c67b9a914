"""SHIKE: Jin et al. (CVPR 2023)."""

from tests.recipes.table import Part

CODE = "Jin et al. (2023, SHIKE), authors' code"
OURS = "ours: not published"

DEFAULTS: Part = {
    f"{CODE}: num_exps": {"shike.experts": 3},
    f"{CODE}: 10 and 1 times kl_div, a mean over classes too": {
        "shike.nontarget": 10.0,
        "shike.mutual": 1.0,
    },
    f"{CODE}: use_norm, s": {"shike.head": "cosine", "shike.scale": 30.0},
}
CIFAR: Part = {
    CODE: {
        "model.backbone": "shike_resnet32",
        "data.augment": "autoaugment_flip_cutout",
        "epochs": 180,
        "batch_size": 128,
        "optimizer.momentum": 0.9,
        "optimizer.nesterov": False,
        "optimizer.weight_decay": 5e-4,
        "optimizer.schedule.name": "cosine",
        "optimizer.schedule.unit": "epoch",
    },
    f"{CODE}: 0.15 (e + 1) / 6 for e < 5, then 0.15 (1 + cos(pi (e - 5) / 175)) / 2": {
        "optimizer.learning_rate": 0.15,
        "optimizer.schedule.warmup_epochs": 6,
        "optimizer.schedule.warmup_start": 0.0,
        "optimizer.schedule.cosine_includes": "neither",
    },
}
CIFAR_SECOND: Part = {
    f"{CODE}: the last 20 of 200 epochs": {"second_stage_epochs": 20},
    f"{CODE}: 0.0375 + 0.0125 e for e < 5, then 0.1 (1 + cos(pi (e - 5) / 15)) / 2": {
        "second_stage_optimizer.learning_rate": 0.1,
        "second_stage_optimizer.schedule.warmup_start": 0.25,
    },
}
LARGE_SECOND: Part = {
    OURS: {"second_stage_epochs": 20, "second_stage_optimizer.schedule.warmup_epochs": 0},
}
FIRST: dict[str, Part] = {
    "cifar100": CIFAR,
    "cifar10": {f"not published; CIFAR-100: {source}": says for source, says in CIFAR.items()},
    "imagenet": {OURS: {"model.backbone": "shike_resnext50_32x4d"}},
    "places": {OURS: {"model.backbone": "shike_resnet152"}},
    "inat": {OURS: {"model.backbone": "shike_resnet50"}},
    "mnist5k": {OURS: {"model.backbone": "shike_resnet8"}},
    "folder": {OURS: {"model.backbone": "shike_resnet10"}},
    "list": {OURS: {"model.backbone": "shike_resnet10"}},
}
SECOND: dict[str, Part] = {
    "cifar100": CIFAR_SECOND,
    "cifar10": CIFAR_SECOND,
    "imagenet": LARGE_SECOND,
    "places": LARGE_SECOND,
    "inat": LARGE_SECOND,
    "mnist5k": {**LARGE_SECOND, "ours: a quarter of the first stage": {"second_stage_epochs": 5}},
    "folder": LARGE_SECOND,
    "list": LARGE_SECOND,
}
