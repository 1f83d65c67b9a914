"""BCL: Zhu et al. (2022)."""

from tests.recipes.table import Part

ZHU = "not confirmed: Zhu et al. (2022), CIFAR"
ZHU_CODE = "Zhu et al. (2022), authors' code"

DEFAULTS: Part = {
    ZHU: {
        "bcl.classification_weight": 2.0,
        "bcl.contrastive_weight": 0.6,
        "bcl.temperature": 0.1,
        "bcl.width": 128,
        "bcl.hidden": 512,
    },
    f"{ZHU_CODE} (use_norm)": {"bcl.classifier": "cosine", "bcl.scale": 30.0},
    "ours: no other augmentation unless a recipe has one": {"bcl.augment": ""},
}
CIFAR: Part = {
    f"{ZHU}: AutoAugment and cutout, SimAugment": {
        "data.augment": "autoaugment_flip_cutout",
        "bcl.augment": "simclr",
    },
    ZHU: {
        "batch_size": 256,
        "optimizer.learning_rate": 0.15,
        "optimizer.weight_decay": 5e-4,
        "optimizer.schedule.decay": 0.1,
    },
}
FILES: Part = {
    ZHU_CODE: {
        "bcl.classification_weight": 1.0,
        "bcl.contrastive_weight": 0.35,
        "bcl.temperature": 0.07,
        "bcl.width": 1024,
        "bcl.hidden": 0,
    },
    f"{ZHU_CODE} (sim-sim)": {"bcl.augment": "crop224_flip_simclr"},
}
CLASSIFIED: Part = {f"{ZHU_CODE} (randncls)": {"data.augment": "crop224_flip_jitter_randaugment_n2_m10_std0.5"}}
LARGE: Part = {
    **FILES,
    **CLASSIFIED,
    f"{ZHU_CODE}: cosine of (e + 1) / (epochs + 1)": {"optimizer.schedule.cosine_includes": "neither"},
}
FIRST: dict[str, Part] = {
    "cifar10": CIFAR,
    "cifar100": CIFAR,
    "imagenet": {**LARGE, f"{ZHU_CODE}, README": {"batch_size": 256, "optimizer.learning_rate": 0.1}},
    "inat": {**LARGE, f"{ZHU_CODE}, README": {"epochs": 100, "batch_size": 256}},
    "places": {**FILES, **CLASSIFIED},
    "folder": FILES,
    "list": FILES,
}
