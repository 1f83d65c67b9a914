"""MNIST-5k-LT, and the user's images from a folder or from list files: no paper has them, all numbers are ours."""

from tests.recipes.published import methods
from tests.recipes.published.defaults import DEFAULTS, MNIST_RUNS, SHORT, USER_RUNS
from tests.recipes.table import Part, Tables, named, recipe, second_stage, with_words

OURS = "ours: three seeds in docs/results.md"
NOT_TUNED = "ours: not tuned"

# ------------------------------------------------------------------------------------------------------------ MNIST-5k

MNIST: Part = {
    "configs/mnist5k_*.py": {"data.name": "mnist5k", "recipe": "mnist5k"},
    OURS: {
        "data.imbalance": 40.0,
        "data.augment": "pad_crop",
        "model.backbone": "resnet8",
        "epochs": 20,
        "batch_size": 64,
        "optimizer.learning_rate": 0.1,
        "optimizer.momentum": 0.9,
        "optimizer.nesterov": True,
        "optimizer.weight_decay": 5e-4,
        "optimizer.schedule.name": "cosine",
        "optimizer.schedule.unit": "step",
        "optimizer.schedule.warmup_epochs": 2,
    },
}
RESLT: Part = {"ours: of 0.5 and 0.9 on 30 % of the training images, two seeds": {"reslt.alpha": 0.5}}
RESLT_WORDS: dict[str, Part] = {
    "short": SHORT,
    "experts=3": {"ours: RIDE's form": {"model.backbone": "ride_resnet8", "reslt.experts": 3, "reslt.reduce": True}},
    "strong": {"Cui et al. (2022), table 5: mixup": {"reslt.mixup": 1.0}},
    "long": {"ours: twice the epochs": {"epochs": 40}, "unused": {"optimizer.schedule.milestones": (320, 360)}},
    "groups=4": {"Cui et al. (2022), table 9": {"reslt.groups": 4}},
    "variant=baseline": {"Cui et al. (2022), section 3.1": {"reslt.variant": "baseline"}},
}
ASYNCHRONOUS: Part = {
    "asynchronous modelling, section 3.2.1: progressively balanced": {"data.sampler": "progressive"},
    "ours: five steps of 64; the 105 images of the second phase would give one": {"asynchronous.epoch_size": 320},
    "asynchronous modelling, algorithm 1: one T": {"second_stage_epochs": 20},
}
DECOUPLING: Part = {
    "ours: the classifier's 10 epochs of Kang et al. (2020), section 5.1, but per step: docs/results.md": {
        "second_stage_epochs": 10,
        "second_stage_optimizer.schedule.name": "cosine",
        "second_stage_optimizer.schedule.unit": "step",
        "second_stage_optimizer.schedule.warmup_epochs": 0,
    },
    "ours: of the grid on 30 % of the training images, two seeds": {
        "decoupling.tau": 0.4,
        "decoupling.tau_from": "value",
    },
}
ONE_EPOCH: Part = {
    "ours: at most three times the first stage": {
        "epochs": 1,
        "second_stage_epochs": 3,
        "optimizer.schedule.warmup_epochs": 0,
    }
}
AUXILIARY: Part = {"ours: a step has four batches": {"epochs": 4}}
FINETUNING: Part = {"ours: half the first stage": {"second_stage_epochs": 2}}
AS_AUTHORS: dict[str, Part] = {
    "bbn": {"ours: 20 epochs' worth of images, two batches a step": {"model.backbone": "bbn_resnet8", "epochs": 10}},
    "ride": {"ours: RIDE's form": {"model.backbone": "ride_resnet8"}},
    "lfme": {"ours: as many draws as the training set has images": {"baseline.expert_epoch_size": 1166}},
    "causal_norm": {"ours: as CIFAR-10": {"model.backbone": "bbn_resnet8", "baseline.alpha": 1.0}},
}
OLTR_LENGTH: Part = {
    "ours: half the first stage": {
        "second_stage_epochs": 10,
        "second_stage_optimizer.schedule.milestones": (3, 7),
    }
}
OLTR_CRT: Part = {"ours: as cRT": {"second_stage_epochs": 10}}

# ---------------------------------------------------------------------------------------------------- the user's images

USERS: Part = {
    "the user's images as they are": {"data.imbalance": 1.0},
    NOT_TUNED: {
        "data.augment": "crop224_flip",
        "model.backbone": "resnet10",
        "epochs": 100,
        "batch_size": 64,
        "optimizer.learning_rate": 0.05,
        "optimizer.momentum": 0.9,
        "optimizer.nesterov": True,
        "optimizer.weight_decay": 5e-4,
        "optimizer.schedule.name": "cosine",
        "optimizer.schedule.unit": "step",
        "optimizer.schedule.warmup_epochs": 5,
    },
}
USERS_RESLT: Part = {
    NOT_TUNED: {"reslt.alpha": 0.9},
    "Cui et al. (2022), authors' code for ResNet-10": {"reslt.head": "conv", "reslt.conv_before_pool": False},
    "Cui et al. (2022): the paper's classifier": {"reslt.gamma": -1.0},
}

OF_64_PIXELS: Part = {
    "as 256 and 224": {"data.image_size": 64, "data.resize": 73, "data.augment": "crop64_flip"},
}


def tables() -> Tables:
    """Of all config files of these data sets."""
    base = recipe(DEFAULTS, MNIST_RUNS, MNIST)
    asynchronous = recipe(base, named("asynchronous"), methods.ASYNCHRONOUS, ASYNCHRONOUS)
    decoupling = recipe(base, named("decoupling"), methods.DECOUPLING)
    auxiliary = recipe(base, named("auxiliary"), methods.AUXILIARY, AUXILIARY)
    made = {
        **with_words("mnist5k_ce", recipe(base, named("ce")), {"short": SHORT}),
        **with_words("mnist5k_reslt", recipe(base, named("reslt"), methods.RESLT, RESLT), RESLT_WORDS),
        **with_words("mnist5k_asynchronous", second_stage(asynchronous), methods.ONE_RATE_WORDS),
        **with_words("mnist5k_decoupling", second_stage(decoupling, DECOUPLING), methods.DECOUPLING_WORDS),
        "mnist5k_decoupling:epochs=1": recipe(second_stage(decoupling, DECOUPLING), ONE_EPOCH),
        **with_words("mnist5k_auxiliary", second_stage(auxiliary, FINETUNING), methods.AUXILIARY_WORDS),
        **methods.baselines("mnist5k_baselines", base, AS_AUTHORS, {}),
        **methods.two_stages("mnist5k_baselines", base, AS_AUTHORS, {}),
        **methods.oltr("mnist5k_baselines", base, {}, OLTR_LENGTH, OLTR_CRT),
    }
    for name in ("folder", "list"):
        its = recipe(DEFAULTS, USER_RUNS, USERS, {f"configs/{name}_*.py": {"data.name": name, "recipe": name}})
        reslt = recipe(its, named("reslt"), methods.RESLT, USERS_RESLT)
        made |= with_words(f"{name}_ce", recipe(its, named("ce")), {"short": SHORT, "image_size=64": OF_64_PIXELS})
        made |= with_words(f"{name}_reslt", reslt, {"short": SHORT, "backbone=resnet10": {}})
    return made
