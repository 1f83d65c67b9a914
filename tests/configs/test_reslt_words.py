"""What every word of ResLT's config files changes: exactly the published settings, each with its source."""

import numpy as np
import pytest

from ltjax.class_counts import branch_masks
from ltjax.errors import InputError
from ltjax.settings.schema import flat
from tests import recipes

CODE = "the authors' public code"
WITH_BATCH_128 = {"batch_size": 128, "optimizer.recipe_batch_size": 128, "optimizer.learning_rate": 0.05}
# data set -> words -> (where it is published, every setting that differs from the recipe without words)
WORDS = {
    "cifar10": {
        "imbalance=50": (f"{CODE}: alpha 0.998 as at 100", {"data.imbalance": 50.0}),
        "imbalance=10": (CODE, {"data.imbalance": 10.0, "reslt.alpha": 0.96}),
        "imbalance=50,variant=baseline": ("table 1", {"data.imbalance": 50.0, "reslt.variant": "baseline"}),
        "groups=2": ("table 9", {"reslt.groups": 2, "reslt.boundaries": ()}),
        "groups=3": ("table 9: the method itself", {}),
        "groups=5": ("table 9", {"reslt.groups": 5, "reslt.boundaries": ()}),
        "strong": ("table 5: mixup and AutoAugment", {"reslt.mixup": 1.0, "data.augment": "autoaugment_flip"}),
        "long": ("ours: twice the epochs", {"epochs": 400, "optimizer.schedule.milestones": (320, 360)}),
    },
    "cifar100": {
        "imbalance=50": (CODE, {"data.imbalance": 50.0, "reslt.alpha": 0.99}),
        "imbalance=10": (CODE, {"data.imbalance": 10.0, "reslt.alpha": 0.72}),
        "alpha=0.9": ("figure 5", {"reslt.alpha": 0.9}),
        "groups=4": ("table 9", {"reslt.groups": 4, "reslt.boundaries": ()}),
        "width=3": ("section 4.2.2, figure 4", {"model.width": 3}),
        "variant=c": ("figure 2", {"reslt.variant": "c"}),
        "variant=separate_conv": ("figure 7", {"reslt.variant": "separate_conv"}),
        "strong": ("table 5: mixup and AutoAugment", {"reslt.mixup": 1.0, "data.augment": "autoaugment_flip"}),
        "experts=3": ("table 5, on RIDE's network", {"reslt.experts": 3, "model.backbone": "ride_resnet32"}),
    },
    "imagenet": {
        "backbone=resnet10": (
            f"table 6, {CODE}",
            {"model.backbone": "resnet10", "reslt.gamma": 0.3, "reslt.conv_before_pool": False},
        ),
        "backbone=resnext101_32x4d": (
            f"section 4.1: batch 128 and rate 0.05; {CODE}: gamma as ResNeXt-50",
            {"model.backbone": "resnext101_32x4d", **WITH_BATCH_128},
        ),
        "experts=3": (
            f"table 7, {CODE}: experts of three quarters of the channels, batch 128, rate 0.05",
            {"model.backbone": "ride_resnext50_32x4d", "reslt.experts": 3, **WITH_BATCH_128},
        ),
        "strong": (
            "table 3: mixup and AutoAugment",
            {"reslt.mixup": 1.0, "data.augment": "crop224_flip_autoaugment"},
        ),
        "gamma=-1": ("equation 1: no normalised classifier", {"reslt.gamma": -1.0}),
    },
    "inat": {
        "backbone=resnet152": ("section 4.1", {"model.backbone": "resnet152", **WITH_BATCH_128}),
        "experts=3": (
            f"table 7, {CODE}: all channels, five epochs of warm-up",
            {
                "model.backbone": "ride_resnet50",
                "reslt.experts": 3,
                "reslt.reduce": False,
                "optimizer.schedule.warmup_epochs": 5,
                "optimizer.schedule.cosine_includes": "neither",
            },
        ),
        "long": ("table 2: 360 epochs", {"epochs": 360, "optimizer.schedule.milestones": (320, 360)}),
        "strong,pretrained=w.npz": (
            "table 2: mixup, from ImageNet's weights; no AutoAugment",
            {"reslt.mixup": 1.0, "model.pretrained": "w.npz", "model.needs_pretrained": True},
        ),
        "alpha=0.9": ("section 4.2.5", {"reslt.alpha": 0.9}),
    },
    "places": {
        "pretrained=w.npz": ("section 4.1, table 4", {"model.pretrained": "w.npz"}),
    },
}  # fmt: skip
CASES = [(dataset, words, *value) for dataset, table in WORDS.items() for words, value in table.items()]


@pytest.mark.parametrize("dataset, words, source, expected", CASES, ids=[f"{d}:{w}" for d, w, _, _ in CASES])
def test_a_word_changes_what_is_published_and_nothing_else(dataset, words, source, expected):
    assert source
    pretrained = "pretrained=other.npz" if "pretrained" in words else ""
    plain = flat(recipes.resolved(dataset, "reslt", pretrained).to_dict())
    found = flat(recipes.resolved(dataset, "reslt", words).to_dict())
    assert {key: value for key, value in found.items() if value != plain.get(key)} == expected


# Sections 4.1 and 4.2 and, where they are silent, the authors' public code.
RECIPES = {
    "cifar10": {
        "reslt.alpha": 0.998, "reslt.boundaries": (2, 4), "evaluation.index_boundaries": (3, 6),
    },
    "cifar100": {
        "reslt.alpha": 0.995, "reslt.boundaries": (35, 70), "evaluation.index_boundaries": (35, 70),
        "reslt.head": "bn", "reslt.gamma": -1.0, "reslt.groups": 3, "reslt.mixup": 0.0, "reslt.variant": "full",
        "reslt.divisor": "pooled", "reslt.experts": 0,
    },
    "imagenet": {
        "reslt.alpha": 0.99, "reslt.boundaries": (175, 780), "reslt.head": "conv", "reslt.gamma": 0.7,
        "reslt.conv_before_pool": True, "data.augment": "crop224_flip_jitter", "optimizer.nesterov": False,
    },
    "inat": {
        "reslt.alpha": 0.85, "reslt.boundaries": (1542,), "reslt.groups": 2, "reslt.head": "conv",
        "reslt.gamma": 0.3, "reslt.conv_before_pool": True, "data.augment": "crop224_flip",
        "optimizer.weight_decay": 1e-4, "optimizer.schedule.warmup_epochs": 0,
    },
}  # fmt: skip


@pytest.mark.parametrize("dataset", RECIPES)
def test_the_published_method(dataset):
    found = flat(recipes.resolved(dataset, "reslt").to_dict())
    assert {key: found[key] for key in RECIPES[dataset]} == RECIPES[dataset]


def test_the_boundaries_leave_the_authors_numbers_of_classes():
    counts = np.arange(8142, 0, -1)
    inat = branch_masks(counts, boundaries=recipes.build("inat", "reslt").reslt.boundaries)
    assert inat.sum(1).tolist() == [8142, 6600]
    imagenet = branch_masks(counts[:1000], boundaries=recipes.build("imagenet", "reslt").reslt.boundaries)
    assert imagenet.sum(1).tolist() == [1000, 825, 220]


@pytest.mark.parametrize(
    "words, message", [("experts=3", "this config file has no expert variant"), ("strong", "pretrained=FILE")]
)
def test_what_places_does_not_have_is_one_line(words, message):
    with pytest.raises(InputError, match=message):
        recipes.build("places", "reslt", words)
