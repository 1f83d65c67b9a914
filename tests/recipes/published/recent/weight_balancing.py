"""Alshammari et al., CVPR 2022."""

from tests.recipes.table import Part

CODE = "Alshammari et al. (2022), authors' code for CIFAR-100-LT"

DEFAULTS: Part = {
    CODE: {"weight_balancing.max_norm": 0.1, "weight_balancing.beta": 0.9999},
    "Alshammari et al. (2022): class-balanced cross-entropy": {"weight_balancing.loss": "cross_entropy"},
}
BINARY: Part = {"Alshammari et al. (2022), authors' code": {"weight_balancing.loss": "binary"}}
CIFAR: Part = {
    **BINARY,
    CODE: {
        "batch_size": 64,
        "optimizer.learning_rate": 0.01,
        "optimizer.weight_decay": 5e-3,
        "optimizer.schedule.name": "cosine",
        "optimizer.schedule.unit": "epoch",
        "optimizer.schedule.cosine_includes": "end",
        "optimizer.schedule.warmup_epochs": 0,
    },
}
FIRST: dict[str, Part] = {
    "cifar10": {**CIFAR, "ours, not published: as CIFAR-100-LT": {"batch_size": 64}},
    "cifar100": CIFAR,
    **dict.fromkeys(("imagenet", "places", "inat", "mnist5k", "folder", "list"), BINARY),
}
CLASSIFIER: Part = {CODE: {"second_stage_epochs": 10, "second_stage_optimizer.weight_decay": 0.1}}


def _by_batch(rate: float) -> Part:
    return {
        **CLASSIFIER,
        "ours, not published: 0.01 for batches of 64": {"second_stage_optimizer.learning_rate": rate},
    }


SECOND: dict[str, Part] = {
    "cifar10": CLASSIFIER,
    "cifar100": CLASSIFIER,
    "imagenet": _by_batch(0.08),
    "places": {
        **_by_batch(0.04),
        "ours: the backbone is frozen": {"second_stage_optimizer.backbone_rate": 1.0},
    },
    "inat": _by_batch(0.08),
    **dict.fromkeys(("mnist5k", "folder", "list"), _by_batch(0.01)),
}
