"""Makes a balanced training set long-tailed, exactly as the public LDAM-DRW code makes CIFAR-LT."""

import math

import numpy as np

from ltjax.data.balanced_set import BalancedSet, BalancedSpec
from ltjax.data.dataset import Data, array_source, fingerprint, is_number
from ltjax.data.datasets.holdout import check_seed, hold_out
from ltjax.errors import InputError, choose
from ltjax.settings import DataSettings


def _exponential(largest: float, ratio: float, num_classes: int) -> list[int]:
    """n_i = int(n_max * mu^(i / (C - 1))), mu = 1 / imbalance."""
    return [int(largest * ratio ** (i / max(num_classes - 1, 1))) for i in range(num_classes)]


def _step(largest: float, ratio: float, num_classes: int) -> list[int]:
    """n_max for the first half of the classes, int(n_max * mu) for the second half."""
    head = num_classes // 2
    return [int(largest)] * head + [int(largest * ratio)] * (num_classes - head)


VALIDATION_USES = {"evaluate": True, "choose": False}  # whether held-out images replace the test images
PROFILES = {"exp": _exponential, "step": _step}


def long_tailed_counts(largest: float, num_classes: int, imbalance: float, profile: str = "exp") -> np.ndarray:
    """How many training images each class keeps; class 0 keeps the most.

    Args:
      largest: n_max, images per class of the balanced set.
      num_classes: C.
      imbalance: n_max / n_min, at least 1.
      profile: ``exp`` or ``step``.

    Returns:
      int64 [C].

    Raises:
      InputError: for an unknown profile, an imbalance below 1, or one that leaves a class without an image.

    Example:
      >>> long_tailed_counts(5000, 10, 100)
      array([5000, 2997, 1796, 1077,  645,  387,  232,  139,   83,   50])

    Source: Cao et al., "Learning imbalanced datasets with label-distribution-aware margin loss", NeurIPS 2019,
    section 4.
    """
    count = choose(PROFILES, profile, "config.data.profile")
    if not is_number(imbalance) or not math.isfinite(imbalance) or imbalance < 1:
        raise InputError(
            f"config.data.imbalance: {imbalance!r} is not possible; it is the size of the largest class divided by "
            "that of the smallest and must be 1 (balanced) or more"
        )
    counts = np.array(count(largest, 1.0 / imbalance, num_classes), dtype=np.int64)
    if counts.min() < 1:
        raise InputError(
            f"config.data.imbalance: {imbalance:g} leaves {int((counts < 1).sum())} of {num_classes} classes without a "
            f"training image; set it to at most {int(largest)}, the size of the largest class"
        )
    return counts


def select(labels: np.ndarray, counts: np.ndarray, seed: int) -> np.ndarray:
    """The images that are kept, in the order of the long-tailed set (class after class).

    The procedure of the public LDAM-DRW code: one generator seeded once; for each label in ascending order the
    positions of its images, ascending, are shuffled in place and the first n_i are taken.

    Args:
      labels: integer [N], the whole balanced training set in its official order.
      counts: integer [C].
      seed: 0 .. 2^32 - 1 (``rand_number`` in that code).

    Returns:
      int64 [sum(counts)], positions in ``labels``.

    Example:
      >>> select(np.array([0, 1, 0, 1, 0, 1]), np.array([2, 1]), seed=0)
      array([4, 2, 5])
    """
    check_seed(seed)
    generator = np.random.RandomState(seed)
    kept = []
    for label, count in enumerate(counts):
        positions = np.flatnonzero(labels == label)
        if len(positions) < count:
            raise InputError(f"class {label} has {len(positions)} images; the long-tailed set needs {count}")
        generator.shuffle(positions)
        kept.append(positions[:count])
    return np.concatenate(kept)


def make_long_tailed(spec: BalancedSpec, balanced: BalancedSet, settings: DataSettings) -> Data:
    """The long-tailed data set that ``settings`` describe.

    It uses imbalance, profile, selection_seed, validation_fraction and validation_use: with "evaluate" the held-out
    images replace the test images, with "choose" both are kept.
    """
    largest = spec.train_size / spec.num_classes
    counts = long_tailed_counts(largest, spec.num_classes, settings.imbalance, settings.profile)
    kept = select(balanced.labels, counts, settings.selection_seed)
    missing = int((~balanced.available[kept]).sum())
    if missing:
        raise InputError(
            f"{balanced.where}: profile {settings.profile}, imbalance {settings.imbalance:g}, selection_seed "
            f"{settings.selection_seed} need {len(kept)} training images, and {missing} of them are not in this file "
            f"(it holds {int(balanced.available.sum())} of {len(balanced.labels)}); change one of these settings "
            "(config.data), or use a file with all images"
        )
    images, labels, index = balanced.images(kept), balanced.labels[kept], balanced.index[kept]
    kept, held_out = hold_out(labels, spec.num_classes, settings.validation_fraction, settings.selection_seed)
    train = array_source(images[kept], labels[kept], index[kept])
    held = array_source(images[held_out], labels[held_out], index[held_out]) if held_out.size else None
    if choose(VALIDATION_USES, settings.validation_use, "config.data.validation_use") and held is not None:
        test, split, validation = held, "validation", None
    else:
        test, split, validation = balanced.test(), "test", held
    return Data(
        name=spec.name,
        train=train,
        test=test,
        split=split,
        num_classes=spec.num_classes,
        class_counts=np.bincount(train.labels, minlength=spec.num_classes),
        image_shape=spec.image_shape,
        mean=spec.mean,
        std=spec.std,
        class_names=spec.class_names,
        fingerprint=fingerprint(train),
        validation=validation,
    )
