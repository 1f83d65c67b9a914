"""PaCo: Cui et al. (2021)."""

from tests.recipes.table import Part

CUI21 = "Cui et al. (2021, PaCo), authors' scripts"

DEFAULTS: Part = {
    f"{CUI21} for CIFAR-100-LT": {
        "paco.width": 32,
        "paco.queue": 1024,
        "paco.temperature": 0.05,
        "paco.alpha": 0.01,
        "paco.beta": 1.0,
        "paco.gamma": 1.0,
    },
    f"{CUI21} (moco-m)": {"paco.momentum": 0.999},
    "ours: no other augmentation unless a recipe has one": {"paco.augment": ""},
}
CIFAR: Part = {
    f"{CUI21} for CIFAR-100-LT": {
        "epochs": 400,
        "data.augment": "autoaugment_flip_cutout",
        "paco.augment": "simclr_blur",
        "optimizer.learning_rate": 0.05,
        "optimizer.weight_decay": 5e-4,
        "optimizer.schedule.warmup_epochs": 10,
        "optimizer.schedule.decay": 0.1,
    },
    f"{CUI21}: epochs above 320 and 360, counted from 0": {"optimizer.schedule.milestones": (321, 361)},
}
FILES: Part = {
    f"{CUI21} for ImageNet-LT": {
        "paco.augment": "crop224_flip_jitter_grey_blur",
        "paco.width": 128,
        "paco.queue": 8192,
        "paco.temperature": 0.2,
        "paco.alpha": 0.05,
    }
}
LARGE: Part = {
    **FILES,
    f"{CUI21}, all": {
        "epochs": 400,
        "batch_size": 128,
        "optimizer.learning_rate": 0.02,
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
        f"{CUI21} for ResNeXt-50 (randclsstack_sim)": {
            "data.augment": "crop224_flip_jitter_grey_blur_randaugment_n2_m10_std0.5",
            "paco.temperature": 0.07,
        },
    },
    "inat": {**LARGE, f"{CUI21} (randcls_sim)": {"data.augment": "crop224_flip_jitter_randaugment_n2_m10_std0.5"}},
    "places": {
        **FILES,
        f"{CUI21} for Places-LT (sim_sim)": {
            "data.augment": "crop224_flip_jitter_grey_blur",
            "paco.alpha": 0.05,
            "epochs": 30,
        },
    },
    "folder": USERS,
    "list": USERS,
    "mnist5k": {"the file's training": {"epochs": 20}},
}
