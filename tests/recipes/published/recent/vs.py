"""Kini et al., NeurIPS 2021."""

from tests.recipes.table import Part

CAO = "Cao et al. (2019), authors' code"

DEFAULTS: Part = {
    "not confirmed: Kini et al. (2021), CIFAR-10-LT (README, an example: 0.2 and 1.2)": {
        "vs.gamma": 0.15,
        "vs.tau": 1.25,
    },
    "Kini et al. (2021), the VS loss: no margin of the true class alone, a linear classifier, no class weights": {
        "vs.max_margin": 0.0,
        "vs.head": "linear",
        "vs.deferred": False,
    },
    CAO: {"vs.scale": 30.0, "vs.deferred_part": 0.8, "vs.beta": 0.9999},
}
CIFAR100 = {"vs.gamma": 0.05, "vs.tau": 0.75}
NOT_PUBLISHED: Part = {"ours, not published: as CIFAR-100-LT": CIFAR100}
FIRST: dict[str, Part] = {
    "cifar100": {"not confirmed: Kini et al. (2021), CIFAR-100-LT": CIFAR100},
    "imagenet": NOT_PUBLISHED,
    "places": NOT_PUBLISHED,
    "inat": NOT_PUBLISHED,
}
