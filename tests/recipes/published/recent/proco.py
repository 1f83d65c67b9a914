"""ProCo: Du et al. (2024)."""

from tests.recipes.table import Part

DU_CIFAR = "Du et al. (2024), authors' CIFAR code"
DU_CODE = "Du et al. (2024), authors' code"

DEFAULTS: Part = {
    DU_CIFAR: {
        "proco.weight": 1.0,
        "proco.temperature": 0.1,
        "proco.width": 128,
        "proco.hidden": 512,
        "proco.classifier": "linear",
    },
    f"{DU_CODE} (NormedLinear)": {"proco.scale": 30.0},
    "ours: no other augmentation unless a recipe has one": {"proco.augment": ""},
}
CIFAR: Part = {
    DU_CIFAR: {
        "data.augment": "autoaugment_flip_cutout",
        "proco.augment": "simclr",
        "batch_size": 256,
        "optimizer.learning_rate": 0.3,
        "optimizer.schedule.decay": 0.1,
    },
}
FILES: Part = {
    DU_CODE: {
        "proco.temperature": 0.07,
        "proco.width": 1024,
        "proco.hidden": 0,
    },
    f"{DU_CODE}, scripts (use_norm)": {"proco.classifier": "cosine"},
    f"{DU_CODE} (sim-sim)": {"proco.augment": "crop224_flip_simclr"},
}
CLASSIFIED: Part = {f"{DU_CODE} (randncls)": {"data.augment": "crop224_flip_jitter_randaugment_n2_m10_std0.5"}}
LARGE: Part = {
    **FILES,
    **CLASSIFIED,
    f"{DU_CODE}: cosine of (e + 1) / (epochs + 1)": {"optimizer.schedule.cosine_includes": "neither"},
}
FIRST: dict[str, Part] = {
    "cifar10": CIFAR,
    "cifar100": CIFAR,
    "imagenet": {**LARGE, f"{DU_CODE}, scripts": {"batch_size": 256, "optimizer.learning_rate": 0.1}},
    "inat": {**LARGE, f"{DU_CODE}, scripts": {"epochs": 90, "batch_size": 256}},
    "places": {**FILES, **CLASSIFIED},
    "folder": FILES,
    "list": FILES,
}
