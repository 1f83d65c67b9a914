"""LIFT, ``configs/*_lift.py``: Shi et al. (2024)."""

from tests.recipes.published.defaults import CIFAR_RUNS, LARGE_RUNS, USER_RUNS
from tests.recipes.published.defaults import DEFAULTS as OF_ALL
from tests.recipes.table import Part, Tables, named, recipe

SHI = "Shi et al. (2024), authors' config (utils/config.py, clip_vit_b16.yaml)"
SHI_DATA = "Shi et al. (2024), authors' code: RandomResizedCrop and a mirror image"

DEFAULTS: Part = {
    SHI: {
        "lift.templates": "a photo of a {}.",
        "lift.scale": 25.0,
        "lift.loss": "logit_adjusted",
        "lift.ensemble": "none",
        "lift.expand": 24,
        "lift.zero_shot": False,
    },
    "Shi et al. (2024), authors' code (utils/losses.py)": {
        "lift.rho": 1.0,
        "lift.alpha": 0.1,
        "lift.penalty": 0.1,
        "lift.weighted_by": "class",
    },
    "ours: class means, which need no text": {"lift.start": "class_means"},
    "Menon et al. (2021), equation 10, as the authors' code has it": {"lift.tau": 1.0},
    "Lin et al. (2017), section 5": {"lift.gamma": 2.0},
    "Cui et al. (2019), CIFAR scripts": {"lift.beta": 0.9999},
}
TRAINING: Part = {
    SHI: {
        "lift.start": "text",
        "model.backbone": "clip_vit_b16",
        "tuning.name": "adaptformer",
        "epochs": 10,
        "batch_size": 128,
        "optimizer.learning_rate": 0.01,
        "optimizer.momentum": 0.9,
        "optimizer.weight_decay": 5e-4,
        "optimizer.schedule.name": "cosine",
        "optimizer.schedule.unit": "epoch",
    },
    "ours: the rates are for pretrained weights": {"model.needs_pretrained": True},
}
SMALL: Part = {
    SHI_DATA: {"data.augment": "resized_crop_flip"},
    "Shi et al. (2024), authors' config (resolution)": {"model.input_size": 224},
    "Liu et al. (2019): many > 100, few < 20": {"evaluation.shots": "strict"},
    "ours: half precision": {"dtype": "bfloat16"},
}
LARGE: Part = {SHI_DATA: {"data.augment": "crop224_flip"}}
CIFAR10: Part = {"configs/cifar10_*.py": {"data.name": "cifar10", "recipe": "cifar10"}}
CIFAR100: Part = {"configs/cifar100_*.py": {"data.name": "cifar100", "recipe": "cifar100"}}


def benchmark(name: str) -> Part:
    return {"the data set as it is": {"data.name": name, "recipe": name, "data.imbalance": 1.0}}


SETS: dict[str, tuple[Part, ...]] = {
    "cifar10": (CIFAR_RUNS, SMALL, CIFAR10),
    "cifar100": (CIFAR_RUNS, SMALL, CIFAR100),
    "imagenet": (LARGE_RUNS, LARGE, benchmark("imagenet_lt")),
    "places": (LARGE_RUNS, LARGE, benchmark("places_lt")),
    "inat": (
        LARGE_RUNS, LARGE, benchmark("inat2018"),
        {"Shi et al. (2024), authors' script (num_epochs)": {"epochs": 20}},
    ),
    "folder": (USER_RUNS, LARGE, benchmark("folder"), {"ours: for a few thousand images": {"batch_size": 32}}),
    "list": (USER_RUNS, LARGE, benchmark("list"), {"ours: for a few thousand images": {"batch_size": 32}}),
}  # fmt: skip
WORDS: dict[str, Part] = {
    "class_means": {"Shi et al. (2024), table 7": {"lift.start": "class_means"}},
    "imagenet21k": {
        "Shi et al. (2024), authors' config (in21k_vit_b16.yaml)": {
            "model.backbone": "vit_b16",
            "lift.start": "class_means",
        }
    },
    "tuning=lora": {"Shi et al. (2024), table 6": {"tuning.name": "lora"}},
    "zero_shot": {
        "Radford et al. (2021), section 3.1.4: nothing is trained": {"lift.zero_shot": True, "tuning.name": "all"},
        "Radford et al. (2021), section 2.5: the largest scale": {"lift.scale": 100.0},
    },
    "report_ensemble": {"Shi et al. (2024), tables 1 to 4, without and with TTE": {"lift.ensemble": "report"}},
    "start=random": {"Shi et al. (2024), authors' script of table 7 (init_head None)": {"lift.start": "random"}},
    "loss=reweighted": {"Shi et al. (2024), authors' script of table 16 (GRW)": {"lift.loss": "reweighted"}},
    "tuning=all,rate=0.0005": {
        "Shi et al. (2024), authors' script of table 6 (full_tuning)": {
            "tuning.name": "all",
            "optimizer.learning_rate": 0.0005,
        }
    },
    "ensemble": {"Shi et al. (2024), tables 1 to 4, TTE": {"lift.ensemble": "predict"}},
}


def tables() -> Tables:
    """Of configs/*_lift.py and their words."""
    made: Tables = {}
    for dataset, parts in SETS.items():
        base = recipe(OF_ALL, named("lift"), DEFAULTS, TRAINING, *parts)
        made[f"{dataset}_lift"] = base
        if dataset == "cifar100":
            made |= {f"{dataset}_lift:{word}": recipe(base, part) for word, part in WORDS.items()}
    return made
