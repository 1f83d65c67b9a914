"""CMO: Park et al. (2022)."""

from tests.recipes.table import Part

PARK = "Park et al. (2022, CMO), authors' code"

DEFAULTS: Part = {
    f"{PARK}, README: CE-DRW + CMO": {"cmo.loss": "ce_drw"},
    f"{PARK} (opts.py)": {"cmo.probability": 0.5, "cmo.alpha": 1.0, "cmo.foreground_power": 1.0},
    f"{PARK}: 3 < epoch < epochs - 3": {"cmo.first_epochs": 4, "cmo.last_epochs": 3},
}
FIRST: dict[str, Part] = {
    "imagenet": {
        f"{PARK}, README: BS + CMO": {
            "cmo.loss": "balanced_softmax",
            "model.backbone": "resnet50",
            "epochs": 100,
            "batch_size": 128,
        },
        PARK: {
            "optimizer.learning_rate": 0.1,
            "optimizer.weight_decay": 2e-4,
            "optimizer.schedule.name": "step",
            "optimizer.schedule.warmup_epochs": 5,
            "optimizer.schedule.milestones": (60, 80),
            "optimizer.schedule.decay": 0.1,
        },
    },
    "inat": {
        f"{PARK}, README": {"epochs": 100, "batch_size": 256},
        PARK: {
            "optimizer.learning_rate": 0.1,
            "optimizer.weight_decay": 2e-4,
            "optimizer.schedule.name": "step",
            "optimizer.schedule.warmup_epochs": 5,
            "optimizer.schedule.milestones": (75,),
            "optimizer.schedule.decay": 0.1,
        },
    },
}
