"""Zhang et al., CVPR 2021 (DisAlign)."""

from tests.recipes.table import Part

CODE = "Zhang et al. (2021), authors' ImageNet-LT config"

DEFAULTS: Part = {
    CODE: {"disalign.rho": 1.2},
    "ours: the second stage begins with the classifier as it is (2 in the authors' code)": {"disalign.start": 1.0},
}
FIRST: dict[str, Part] = {
    "imagenet": {
        CODE: {"model.zero_init": True, "batch_size": 256, "optimizer.learning_rate": 0.1},
        "Zhang et al. (2021), authors' code": {"disalign.start": 2.0},
    },
}
EPOCHS: Part = {CODE: {"second_stage_epochs": 10}}
CIFAR: Part = {
    **EPOCHS,
    "ours, not published: cosine per epoch to 0, as ImageNet-LT": {
        "second_stage_optimizer.schedule.name": "cosine",
        "second_stage_optimizer.schedule.unit": "epoch",
        "second_stage_optimizer.schedule.cosine_includes": "end",
        "second_stage_optimizer.schedule.warmup_epochs": 0,
    },
}
SECOND: dict[str, Part] = {
    "cifar10": CIFAR,
    "cifar100": CIFAR,
    "imagenet": EPOCHS,
    "places": {
        **EPOCHS,
        "ours, not published: the rate of ImageNet-LT": {
            "second_stage_optimizer.learning_rate": 0.1,
            "second_stage_optimizer.backbone_rate": 1.0,
        },
    },
    **dict.fromkeys(("inat", "mnist5k", "folder", "list"), EPOCHS),
}
