"""GPaCo: Cui et al. (2023)."""

from tests.recipes.table import Part

CUI23 = "Cui et al. (2023, GPaCo), authors' scripts"

DEFAULTS: Part = {
    f"{CUI23} for CIFAR-100-LT": {
        "gpaco.width": 32,
        "gpaco.queue": 1024,
        "gpaco.temperature": 0.05,
        "gpaco.alpha": 0.01,
        "gpaco.beta": 1.0,
        "gpaco.gamma": 1.0,
    },
    "ours: no other augmentation unless a recipe has one": {"gpaco.augment": ""},
}
CIFAR: Part = {
    f"{CUI23} for CIFAR-100-LT": {
        "epochs": 400,
        "data.augment": "autoaugment_flip_cutout",
        "gpaco.augment": "simclr_blur20",
        "optimizer.weight_decay": 5e-4,
        "optimizer.schedule.warmup_epochs": 10,
        "optimizer.schedule.decay": 0.1,
    },
    f"{CUI23}: epochs above 320 and 360, counted from 0": {"optimizer.schedule.milestones": (321, 361)},
}
FILES: Part = {
    f"{CUI23} for ImageNet-LT": {
        "gpaco.width": 128,
        "gpaco.queue": 8192,
        "gpaco.temperature": 0.2,
        "gpaco.alpha": 0.05,
    },
    f"{CUI23} (sim)": {"gpaco.augment": "crop224_flip_jitter_grey_blur"},
}
LARGE: Part = {
    **FILES,
    f"{CUI23} (randcls)": {"data.augment": "crop224_flip_jitter_randaugment_n2_m10_std0.5"},
    f"{CUI23}, all": {
        "epochs": 400,
        "batch_size": 128,
        "optimizer.schedule.warmup_epochs": 10,
        "optimizer.schedule.cosine_includes": "neither",
    },
}
USERS: Part = {**FILES, "the file's training": {"epochs": 100}}
FIRST: dict[str, Part] = {
    "cifar10": CIFAR,
    "cifar100": CIFAR,
    "imagenet": {
        **LARGE,
        f"{CUI23} for ResNeXt-50 (randclsstack)": {
            "data.augment": "crop224_flip_jitter_randaugment_n3_m10_std0.5",
            "gpaco.augment": "crop224_flip_jitter_grey_blur_randaugment_n3_m10_std0.5",
            "optimizer.learning_rate": 0.06,
        },
    },
    "inat": {**LARGE, f"{CUI23} for iNaturalist": {"optimizer.learning_rate": 0.04}},
    "places": {
        **FILES,
        f"{CUI23} for Places-LT (sim_sim)": {
            "data.augment": "crop224_flip_jitter_grey_blur",
            "gpaco.alpha": 0.02,
            "epochs": 30,
        },
    },
    "folder": USERS,
    "list": USERS,
    "mnist5k": {"the file's training": {"epochs": 20}},
}
