"""Zhong et al., CVPR 2021 (MiSLAS)."""

from tests.recipes.table import Part

CODE = "Zhong et al. (2021), authors' config"

DEFAULTS: Part = {
    "Zhong et al. (2021), authors' config for CIFAR-100-LT": {
        "mislas.smooth_head": 0.4,
        "mislas.smooth_tail": 0.1,
        "mislas.classifier_rate": 0.2,
        "mislas.shift_norm": True,
    },
    "Zhong et al. (2021): all of the network": {"mislas.representation": "all"},
    "Kang et al. (2020), authors' code": {"mislas.images_per_class": 4},
}
MIXUP: Part = {"Zhong et al. (2021): mixup": {"mix.name": "mixup"}}
LESS_MIXUP: Part = {**MIXUP, "Zhong et al. (2021), authors' config: alpha 0.2": {"mix.alpha": 0.2}}
DECAY = {"optimizer.schedule.decay": 0.1}
SMOOTH = {"mislas.smooth_head": 0.3, "mislas.smooth_tail": 0.0}
COSINE = {"optimizer.learning_rate": 0.1, "optimizer.schedule.cosine_includes": "start"}
FIRST: dict[str, Part] = {
    "cifar10": {**MIXUP, CODE: {**DECAY, **SMOOTH, "mislas.shift_norm": False, "mislas.classifier_rate": 0.5}},
    "cifar100": {**MIXUP, CODE: DECAY},
    "imagenet": {
        **LESS_MIXUP,
        CODE: {
            **COSINE,
            **SMOOTH,
            "model.backbone": "resnet50",
            "mislas.classifier_rate": 0.05,
            "epochs": 180,
            "batch_size": 256,
        },
    },
    "places": {
        **LESS_MIXUP,
        CODE: {**COSINE, "mislas.classifier_rate": 0.05, "epochs": 90, "optimizer.backbone_rate": 1.0},
        "ours: in the place of a new block on a frozen network": {"mislas.representation": "last_block"},
    },
    "inat": {**LESS_MIXUP, CODE: {**COSINE, **SMOOTH, "mislas.classifier_rate": 0.05, "batch_size": 256}},
    **dict.fromkeys(("mnist5k", "folder", "list"), MIXUP),
}
EPOCHS: Part = {CODE: {"second_stage_epochs": 10}}
CIFAR: Part = {
    CODE: {
        "second_stage_epochs": 10,
        "second_stage_optimizer.schedule.name": "cosine",
        "second_stage_optimizer.schedule.unit": "epoch",
        "second_stage_optimizer.schedule.cosine_includes": "start",
        "second_stage_optimizer.schedule.warmup_epochs": 0,
    }
}
SECOND: dict[str, Part] = {
    "cifar10": CIFAR,
    "cifar100": CIFAR,
    **dict.fromkeys(("imagenet", "places", "inat", "mnist5k", "folder", "list"), EPOCHS),
}
