"""Park et al., ICCV 2021."""

from tests.recipes.table import Part

CODE = "Park et al. (2021), authors' code"

DEFAULTS: Part = {
    CODE: {"ib.start": 0.5, "ib.alpha": 1000.0, "ib.epsilon": 1e-3, "ib.beta": 0.9999},
    "Park et al. (2021), authors' command for IB": {"ib.weights": "inverse", "ib.gamma": 0.0},
}


def _steps(half: int, later: int, last: int) -> Part:
    return {
        "ours, not published: the steps of CIFAR in parts of the epochs": {
            "optimizer.schedule.name": "step",
            "optimizer.schedule.unit": "epoch",
            "optimizer.schedule.milestones": (half, later, last),
            "optimizer.schedule.decay": 0.01,
        }
    }


CIFAR: Part = {CODE: {"optimizer.schedule.milestones": (100, 160, 180)}}
FIRST: dict[str, Part] = {
    "cifar10": CIFAR,
    "cifar100": CIFAR,
    "imagenet": _steps(45, 72, 81),
    "places": _steps(15, 24, 27),
    "inat": _steps(100, 160, 180),
    "mnist5k": _steps(10, 16, 18),
    "folder": _steps(50, 80, 90),
    "list": _steps(50, 80, 90),
}
