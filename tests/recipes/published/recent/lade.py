"""Hong et al., CVPR 2021."""

from tests.recipes.table import Part

CODE = "Hong et al. (2021), authors' config"
COMMAND = "Hong et al. (2021), authors' command"

DEFAULTS: Part = {
    "Hong et al. (2021), authors' default": {"lade.alpha": 0.1},
    CODE: {"lade.penalty": 0.1},
    "Hong et al. (2021)": {"lade.weighted_by": "label"},
}
BY_CLASS: Part = {"Hong et al. (2021), authors' code": {"lade.weighted_by": "class"}}
CIFAR: Part = {
    **BY_CLASS,
    COMMAND: {"lade.penalty": 0.01},
    CODE: {
        "batch_size": 256,
        "optimizer.learning_rate": 0.2,
        "optimizer.weight_decay": 5e-4,
        "optimizer.schedule.warmup_start": 1 / 3,
        "optimizer.schedule.milestones": (119, 159),
    },
}
FIRST: dict[str, Part] = {
    "cifar100": CIFAR,
    "cifar10": {f"ours, not published: as CIFAR-100-LT, {source}": says for source, says in CIFAR.items()},
    "imagenet": {
        **BY_CLASS,
        COMMAND: {"lade.alpha": 0.05, "lade.penalty": 0.5, "optimizer.learning_rate": 0.05},
        CODE: {"epochs": 180, "batch_size": 256},
    },
    "places": {
        **BY_CLASS,
        COMMAND: {"lade.alpha": 0.005, "lade.penalty": 0.1, "optimizer.learning_rate": 0.05},
        "Hong et al. (2021), authors' config: 0.001 for the features": {"optimizer.backbone_rate": 0.02},
        CODE: {
            "batch_size": 128,
            "optimizer.schedule.name": "step",
            "optimizer.schedule.milestones": (9, 19),
            "optimizer.schedule.decay": 0.1,
        },
    },
    "inat": {
        **BY_CLASS,
        COMMAND: {"lade.alpha": 0.05, "optimizer.learning_rate": 0.1},
        CODE: {"lade.penalty": 0.5, "batch_size": 256},
    },
}
