"""RIDE on the large data sets."""

from tests.recipes.table import Part

WANG = "Wang et al. (2021, RIDE), authors' config"

IMAGENET: Part = {
    WANG: {
        "model.backbone": "ride_resnext50_32x4d",
        "baseline.reweight_factor": 0.02,
        "epochs": 100,
        "batch_size": 256,
        "optimizer.learning_rate": 0.1,
        "optimizer.momentum": 0.9,
        "optimizer.nesterov": True,
        "optimizer.weight_decay": 2e-4,
        "optimizer.backbone_rate": 1.0,
        "optimizer.schedule.name": "step",
        "optimizer.schedule.unit": "epoch",
        "optimizer.schedule.warmup_epochs": 5,
        "optimizer.schedule.milestones": (60, 80),
        "optimizer.schedule.decay": 0.1,
    },
    "Wang et al. (2021, RIDE), authors' code: rate * (e + 1) / 5": {"optimizer.schedule.warmup_start": 0.0},
}
INAT: Part = {
    WANG: {
        **IMAGENET[WANG],
        "model.backbone": "ride_resnet50",
        "baseline.reweight_factor": 0.015,
        "batch_size": 512,
        "optimizer.learning_rate": 0.2,
    }
}
# as the config with its epochs, for rows of Cui et al. (2022), table 7: all of the schedule scales along
EPOCHS_180: Part = {
    "Cui et al. (2022), table 7: 180 epochs": {"epochs": 180},
    "ours: the schedule scales with them": {
        "optimizer.schedule.warmup_epochs": 9,
        "optimizer.schedule.milestones": (108, 144),
    },
}
TWO_EXPERTS: Part = {"Cui et al. (2022), table 7: RIDE (2 experts)": {"baseline.experts": 2}}
