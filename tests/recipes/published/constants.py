"""Published numbers that are not settings: found in the code, by name, and published, with their source."""

import inspect
import types
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ltjax import class_counts, losses
from ltjax.data.augment import autoaugment, color_jitter, crops, cutout, randaugment, registry
from ltjax.data.datasets import assemble, cifar, lt_benchmarks, mnist
from ltjax.data.sampling import class_cycle
from ltjax.losses import ride as ride_loss
from ltjax.methods import reweighting
from ltjax.methods.asynchronous import stages as asynchronous
from ltjax.methods.auxiliary import images_per_class
from ltjax.methods.bbn import LONGER, conventional_weight
from ltjax.methods.causal_norm import CausalNormSettings, mean_momentum
from ltjax.methods.decoupling import tau_search
from ltjax.methods.oltr_recipe import thirds
from ltjax.methods.reslt import settings as reslt
from ltjax.methods.reslt.variants import VARIANTS
from ltjax.methods.ride import first_reweighted_epoch
from ltjax.methods.stage import Context
from ltjax.methods.two_stages import FEW
from ltjax.models.norm import BatchNorm


def default(function: Callable[..., Any], name: str) -> Any:
    """The default of an argument."""
    return inspect.signature(function).parameters[name].default


def moving(rate: float, momentum: str) -> float:
    """The momentum of causal norm's mean feature at a learning rate."""
    start = jnp.int32(0)
    context = Context(start, start, 90, jnp.float32(0), jax.random.key(0), {}, {}, learning_rate=rate)
    settings = CausalNormSettings(momentum=momentum)
    return round(float(mean_momentum(settings, context)), 6)


def groups(convention: str) -> list[str]:
    """The shot group of classes of 101, 100, 99, 21, 20 and 19 images."""
    masks = class_counts.shot_groups(np.array([101, 100, 99, 21, 20, 19]), convention)
    return [next(name for name, mask in masks.items() if mask[i]) for i in range(6)]


def hole(side: int) -> int:
    """The width of cutout's square in the middle of an image."""
    image = np.zeros((1, side, side, 1), np.uint8)
    middle = {"hole_y": np.array([2**15]), "hole_x": np.array([2**15])}
    return int(np.any(cutout.cutout(image, middle)[0, :, :, 0], axis=0).sum())


def policies(table: Any) -> list[str]:
    """The policies as lines "operation, probability in tenths, level, twice"."""
    return [" ".join(str(value) for operation in pair for value in operation) for pair in table]


def third_epochs(epochs: int) -> tuple[int, ...]:
    """The milestones of OLTR's schedule."""
    schedule: dict[str, Any] = {}
    thirds(types.SimpleNamespace(schedule=schedule), epochs)
    return tuple(schedule["milestones"])


CIFAR_POLICIES = """
Invert 1 7 Contrast 2 6; Rotate 7 2 TranslateX 3 9; Sharpness 8 1 Sharpness 9 3; ShearY 5 8 TranslateY 7 9;
AutoContrast 5 8 Equalize 9 2; ShearY 2 7 Posterize 3 7; Color 4 3 Brightness 6 7; Sharpness 3 9 Brightness 7 9;
Equalize 6 5 Equalize 5 1; Contrast 6 7 Sharpness 6 5; Color 7 7 TranslateX 5 8; Equalize 3 7 AutoContrast 4 8;
TranslateY 4 3 Sharpness 2 6; Brightness 9 6 Color 2 8; Solarize 5 2 Invert 0 3; Equalize 2 0 AutoContrast 6 0;
Equalize 2 8 Equalize 6 4; Color 9 9 Equalize 6 6; AutoContrast 8 4 Solarize 2 8; Brightness 1 3 Color 7 0;
Solarize 4 5 AutoContrast 9 3; TranslateY 9 9 TranslateY 7 9; AutoContrast 9 2 Solarize 8 3;
Equalize 8 8 Invert 1 3; TranslateY 7 9 AutoContrast 9 1
"""
IMAGENET_POLICIES = """
Posterize 4 8 Rotate 6 9; Solarize 6 5 AutoContrast 6 5; Equalize 8 8 Equalize 6 3; Posterize 6 7 Posterize 6 6;
Equalize 4 7 Solarize 2 4; Equalize 4 4 Rotate 8 8; Solarize 6 3 Equalize 6 7; Posterize 8 5 Equalize 10 2;
Rotate 2 3 Solarize 6 8; Equalize 6 8 Posterize 4 6; Rotate 8 8 Color 4 0; Rotate 4 9 Equalize 6 2;
Equalize 0 7 Equalize 8 8; Invert 6 4 Equalize 10 8; Color 6 4 Contrast 10 8; Rotate 8 8 Color 10 2;
Color 8 8 Solarize 8 7; Sharpness 4 7 Invert 6 8; ShearX 6 5 Equalize 10 9; Color 4 0 Equalize 6 3;
Equalize 4 7 Solarize 2 4; Solarize 6 5 AutoContrast 6 5; Invert 6 4 Equalize 10 8; Color 6 4 Contrast 10 8;
Equalize 8 8 Equalize 6 3
"""


def listed(text: str) -> list[str]:
    """The policies of a text."""
    return [" ".join(line.split()) for line in text.split(";")]


INAT = lt_benchmarks.SPECS["inat2018"]
# source -> name -> (in the code, published)
CONSTANTS: dict[str, dict[str, tuple[Any, Any]]] = {
    "Cao et al. (2019), authors' code, for both CIFAR": {
        "normalisation mean": (cifar.MEAN, (0.4914, 0.4822, 0.4465)),
        "normalisation std": (cifar.STD, (0.2023, 0.1994, 0.2010)),
        "of both data sets": (
            [(spec.mean, spec.std) for spec in cifar.SPECS.values()],
            [((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))] * 2,
        ),
        "training images": (cifar.TRAIN_SIZE, 50_000),
        "images": (cifar.IMAGE_SHAPE, (32, 32, 3)),
        "pad_crop_flip": (registry.TRANSFORMS["pad_crop_flip"].draw.keywords, {"pad": 4, "flip": True}),
        "the padding": (registry.TRANSFORMS["pad_crop_flip"].apply.keywords, {"pad": 4}),
        "beta": (reweighting.BETA, 0.9999),
        "beta by default": (default(class_counts.drw_weights, "beta"), 0.9999),
        "re-weighted from, of 200 epochs": (reweighting.first_deferred_epoch(200, 0.8), 160),
        "margin of the rarest class": (default(losses.ldam_loss, "max_margin"), 0.5),
        "factor on cosines": (default(losses.ldam_loss, "scale"), 30.0),
    },
    "Kang et al. (2020), authors' code (torchvision)": {
        "ImageNet's mean": (assemble.MEAN, (0.485, 0.456, 0.406)),
        "ImageNet's std": (assemble.STD, (0.229, 0.224, 0.225)),
        "ImageNet-LT": (lt_benchmarks.SPECS["imagenet_lt"].mean, (0.485, 0.456, 0.406)),
        "Places-LT": (lt_benchmarks.SPECS["places_lt"].std, (0.229, 0.224, 0.225)),
        "iNaturalist's mean": (INAT.mean, (0.466, 0.471, 0.380)),
        "iNaturalist's std": (INAT.std, (0.195, 0.194, 0.192)),
        "ColorJitter": (color_jitter.STRENGTH, 0.4),
        "RandomResizedCrop's scale": (crops.SCALE, (0.08, 1.0)),
        "RandomResizedCrop's ratio": (crops.RATIO, (3 / 4, 4 / 3)),
        "RandomResizedCrop's tries": (crops.TRIES, 10),
        "grid of tau": (tau_search.TAUS, tuple(k / 10 for k in range(21))),
        "ClassAwareSampler's num_samples_cls": (default(class_cycle.class_cycle, "images_per_visit"), 4),
    },
    "sections on the data sets": {
        "classes": (
            {name: spec.num_classes for name, spec in lt_benchmarks.SPECS.items()},
            {"imagenet_lt": 1000, "places_lt": 365, "inat2018": 8142},
        ),
    },
    "ITU-R 601, as in Pillow": {"grey": (color_jitter.GREY.tolist(), [0.299, 0.587, 0.114])},
    "Cubuk et al. (2019), appendix": {
        "CIFAR": (policies(autoaugment.POLICIES), listed(CIFAR_POLICIES)),
        "ImageNet": (policies(autoaugment.IMAGENET), listed(IMAGENET_POLICIES)),
        "at the highest level": (
            (autoaugment.SHEAR, autoaugment.TRANSLATION, autoaugment.DEGREES, autoaugment.BITS, autoaugment.BLEND),
            (0.3, 150 / 331, 30.0, 4, 0.9),
        ),
        "levels": (autoaugment.LEVELS, 10),
    },
    "Cubuk et al. (2020, RandAugment), two operations at level 9 of 10": {
        "RandAugment": (randaugment.DEFAULT, randaugment.Strength(2, 9.0, 0.0)),
        "highest level": (randaugment.HIGHEST, 10),
    },
    "DeVries and Taylor (2017), section 3.2: 16 of 32 pixels": {"cutout": (hole(32), 16)},
    "PyTorch's batch normalisation, 1 - 0.1": {
        "momentum": (BatchNorm.momentum, 0.9),
        "epsilon": (BatchNorm.epsilon, 1e-5),
    },
    "Kang et al. (2020), section 5.1": {
        "strict": (groups("strict"), ["many", "medium", "medium", "medium", "medium", "few"]),
    },
    "Zhang et al. (2019), section 4.2": {
        "inclusive": (groups("inclusive"), ["many", "many", "medium", "medium", "few", "few"]),
    },
    "Zhang et al. (2019), section 4.4: 4, or the next that divides the batch and needs no more classes": {
        f"{batch} of {classes} classes": (images_per_class(batch, classes), published)
        for batch, classes, published in (
            (128, 1000, 4), (96, 1000, 4), (128, 365, 4), (256, 8142, 4), (128, 100, 4), (128, 10, 16), (64, 10, 8),
        )
    },
    "Zhang et al. (2019), algorithm 1": {
        "images of a class": (default(class_cycle.distinct_classes, "images_per_class"), 4)
    },
    "asynchronous modelling, appendix A: many- and medium-shot classes": {
        "images": (asynchronous.FREQUENT_IMAGES, 20),
        "images by default": (default(class_counts.frequent_classes, "least"), 20),
    },
    "Liu et al. (2019): few-shot classes have less": {"images": (FEW, 20)},
    "Cui et al. (2022), authors' code": {
        "alpha": (
            reslt.ALPHA,
            {"cifar10": {100: 0.998, 50: 0.998, 10: 0.96}, "cifar100": {100: 0.995, 50: 0.99, 10: 0.72}},
        ),
    },
    "Cui et al. (2022), figure 2 and section 3.1: fusion, one branch, branches alone": {
        "variants": (
            {name: (one.fusion, one.one_branch, one.branches_alone) for name, one in VARIANTS.items()},
            {
                **{name: ("sum", False, False) for name in ("full", "a", "b", "c")},
                "d": ("main", False, False),
                "e": ("sum", True, False),
                "baseline": ("sum", False, True),
            },
        ),
    },
    "ours: between the paper's 0.90 of iNaturalist and others": {
        "alpha of other data sets": (reslt.published_alpha("other", 40.0), 0.9)
    },
    "Zhou et al. (2020, BBN), authors' code": {
        "T": (LONGER, {90: 100, 180: 200}),
        "weight halfway": (float(conventional_weight(jnp.int32(100), 200)), 0.75),
    },
    "Tang et al. (2020, Causal Norm), authors' code": {
        "on CIFAR": (moving(0.01, "constant"), 0.9),
        "at a rate of 0.2": (moving(0.2, "learning_rate"), 0.9),
        "at a rate of 0.01": (moving(0.01, "learning_rate"), 0.95),
        "at a rate of 0": (moving(0.0, "learning_rate"), 1.0),
    },
    "Wang et al. (2021, RIDE), authors' code": {
        "margin of the rarest class": (ride_loss.MAX_MARGIN, 0.5),
        "beta": (ride_loss.BETA, 0.9999),
        "diversity": (default(losses.ride_loss, "diversity"), -0.2),
        "reweight_factor": (default(losses.ride_loss, "reweight_factor"), 0.05),
        "scale": (default(losses.ride_loss, "scale"), 30.0),
        "re-weighted from, of 200 epochs": (first_reweighted_epoch(200, 0.8), 160),
        "re-weighted from, of 100 epochs": (first_reweighted_epoch(100, 0.8), 80),
    },
    "Liu et al. (2019, OLTR), authors' configs": {
        "thirds of 60": (third_epochs(60), (20, 40)),
        "thirds of 30": (third_epochs(30), (10, 20)),
    },
    "ours: rising milestones for any number of epochs": {"thirds of 1": (third_epochs(1), (1, 2))},
    "Hou et al. (2019, LUCIR), authors' code": {"margin": (default(losses.margin_ranking_loss, "margin"), 0.5)},
    "Xiang et al. (2020, LFME), authors' config": {
        "temperature": (default(losses.distillation_loss, "temperature"), 2.0)
    },
    "MNIST, as everywhere": {
        "mean": (mnist.SPEC.mean, (0.1307,)),
        "std": (mnist.SPEC.std, (0.3081,)),
        "training images of a class": (mnist.TRAIN_PER_CLASS, 400),
        "pad_crop": (registry.TRANSFORMS["pad_crop"].draw.keywords, {"pad": 2, "flip": False}),
        "the padding": (registry.TRANSFORMS["pad_crop"].apply.keywords, {"pad": 2}),
    },
}  # fmt: skip
