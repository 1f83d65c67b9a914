"""Li et al., CVPR 2022 (GCL)."""

from tests.recipes.table import Part

CODE = "Li et al. (2022), authors' code"
CIFAR_CODE = "Li et al. (2022), authors' code for CIFAR"
PLACES_CODE = "Li et al. (2022), authors' code for Places-LT"

DEFAULTS: Part = {
    CIFAR_CODE: {
        "gcl.scale": 30.0,
        "gcl.cloud": 0.5,
        "gcl.second_scale": 20.0,
        "gcl.second_margin": 0.1,
        "gcl.second_gamma": 1.0,
        "gcl.second_mixup": 1.0,
    },
    "Li et al. (2022), authors' code: CBEN sampler": {"gcl.beta": 0.9999, "gcl.beta_spread": 1e-5},
    "Li et al. (2022): all of the network": {"gcl.representation": "all"},
}
MIXUP: Part = {CODE: {"mix.name": "mixup"}}
LESS_MIXUP: Part = {PLACES_CODE: {"mix.name": "mixup", "mix.alpha": 0.2}}
CIFAR: Part = {**MIXUP, CIFAR_CODE: {"batch_size": 64, "optimizer.schedule.decay": 0.1}}
LARGE = {"optimizer.learning_rate": 0.1, "mix.name": "mixup", "mix.alpha": 0.2}
FIRST: dict[str, Part] = {
    "cifar10": CIFAR,
    "cifar100": CIFAR,
    "imagenet": {
        "ours, not published: as Places-LT, and the usual rate": LARGE,
        "Li et al. (2022), authors' public issues": {"epochs": 200, "model.backbone": "resnet50"},
        "ours, not published: as iNaturalist": {"batch_size": 256},
    },
    "places": {
        **LESS_MIXUP,
        f"{PLACES_CODE}: the network": {
            "gcl.cloud": 1.0,
            "gcl.second_scale": 15.0,
            "epochs": 90,
            "batch_size": 512,
            "optimizer.learning_rate": 0.2,
            "optimizer.backbone_rate": 1.0,
            "optimizer.schedule.name": "step",
            "optimizer.schedule.warmup_epochs": 5,
            "optimizer.schedule.milestones": (60, 80),
            "optimizer.schedule.decay": 0.1,
        },
        "ours: in the place of a new block on a frozen network": {"gcl.representation": "last_block"},
        "ours: the authors' code mixes the labels there, and not the images": {"gcl.second_mixup": 0.0},
    },
    "inat": {
        "ours, not published: as Places-LT, and the usual rate": LARGE,
        "Li et al. (2022), the name of the authors' log": {"batch_size": 256},
    },
    **dict.fromkeys(("mnist5k", "folder", "list"), MIXUP),
}


def _second(rate: float, source: str, **schedule: object) -> Part:
    settings = {f"second_stage_optimizer.schedule.{key}": value for key, value in schedule.items()}
    return {
        CODE: {"second_stage_epochs": 30},
        source: {"second_stage_optimizer.learning_rate": rate, **settings},
    }


COSINE = {"name": "cosine", "unit": "epoch", "cosine_includes": "start", "warmup_epochs": 0}
OURS = "ours, not published: CIFAR's rate, by the batch size"
SECOND: dict[str, Part] = {
    "cifar10": _second(0.008, CIFAR_CODE, **COSINE),
    "cifar100": _second(0.008, CIFAR_CODE, **COSINE),
    "imagenet": _second(0.032, OURS, cosine_includes="start"),
    "places": _second(0.002, PLACES_CODE, **COSINE),
    "inat": _second(0.032, OURS, cosine_includes="start"),
    **dict.fromkeys(("mnist5k", "folder", "list"), _second(0.008, OURS)),
}
