"""ImageNet-LT, Places-LT and iNaturalist 2018: from prepared shards, their public lists, or TFDS."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

from ltjax.data.dataset import Data
from ltjax.data.datasets import tfds_images
from ltjax.data.datasets.assemble import MEAN, STD, Splits, assemble, refuse_imbalance
from ltjax.data.datasets.prepared_shards import read_shards
from ltjax.data.datasets.user_images import find_list, read_lists
from ltjax.data.storage.find_dataset import data_root, locate
from ltjax.data.storage.shards import MANIFEST
from ltjax.errors import InputError


@dataclasses.dataclass(frozen=True)
class LargeCard:
    """The constants of a data set.

    Attributes:
      name: as in ``DATASETS``.
      num_classes: C.
      lists: split -> name of its public list, without ``.txt``.
      tfds: what it is called there.
      tfds_splits: split -> what it is called there.
      mean, std: of its channels, for images scaled to 0 .. 1.
    """

    name: str
    num_classes: int
    lists: dict[str, str]
    tfds: str
    tfds_splits: dict[str, str]
    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD


def _three_lists(name: str) -> dict[str, str]:
    return {"train": f"{name}_train", "test": f"{name}_test", "validation": f"{name}_val"}


ALL_SPLITS = {"train": "train", "test": "test", "validation": "validation"}
CARDS = {
    "imagenet_lt": LargeCard("imagenet_lt", 1000, _three_lists("ImageNet_LT"), "imagenet_lt", ALL_SPLITS),
    "places_lt": LargeCard("places_lt", 365, _three_lists("Places_LT"), "places_lt", ALL_SPLITS),
    # The labels of its test images are not public: the papers test on its validation images.
    "inat2018": LargeCard(
        "inat2018", 8142, {"train": "iNaturalist18_train", "test": "iNaturalist18_val"}, "i_naturalist2018",
        {"train": "train", "test": "validation"}, (0.466, 0.471, 0.380), (0.195, 0.194, 0.192),
    ),
}  # fmt: skip


def imagenet_lt(settings: Any) -> Data:
    """ImageNet-LT: 1,000 classes, 115,846 training, 20,000 validation and 50,000 test images."""
    return _large(CARDS["imagenet_lt"], settings)


def places_lt(settings: Any) -> Data:
    """Places-LT: 365 classes, 62,500 training, 7,300 validation and 36,500 test images."""
    return _large(CARDS["places_lt"], settings)


def inat2018(settings: Any) -> Data:
    """iNaturalist 2018: 8,142 classes, 437,513 training images; tested on its 24,426 validation images."""
    return _large(CARDS["inat2018"], settings)


class Way(NamedTuple):
    """One way in: as ``locate`` has it, and read(root, path found, card, settings) -> Splits."""

    places: Callable[[Any, LargeCard], list]
    how: Callable[[Any, LargeCard], str]
    read: Callable[[Any, Any, LargeCard, Any], Splits]


def _large(card: LargeCard, settings: Any) -> Data:
    refuse_imbalance(card.name, settings)
    root = data_root(settings)
    if settings.source in ("auto", "list") and settings.train_list:
        splits = _from_lists(root, None, card, settings)
    else:
        way, path = locate(WAYS, card, settings)
        splits = way.read(root, path, card, settings)
    if len(splits.class_names) != card.num_classes:
        raise InputError(f"{splits.where}: {len(splits.class_names)} classes; {card.name} has {card.num_classes}")
    return assemble(card.name, splits, settings, card.mean, card.std)


def _list_places(root: Any, card: LargeCard, split: str = "train") -> list:
    return [root / f"{card.lists[split]}{ending}" for ending in (".txt", ".txt.xz")]


def _from_lists(root: Any, path: Any, card: LargeCard, settings: Any) -> Splits:
    """The lists that the settings name, and the data set's own where they name none."""
    del path
    return read_lists(str(root), list_paths(root, card, settings), settings, card.num_classes)


def list_paths(root: Any, card: LargeCard, settings: Any) -> dict[str, Any]:
    """split -> its list.

    Raises:
      InputError: for a list that has to be there and is not.
    """
    given = {"train": settings.train_list, "test": settings.test_list, "validation": settings.val_list}
    paths = {}
    for split in card.lists:
        own = [place for place in _list_places(root, card, split) if place.exists()]
        if given[split] or own:
            paths[split] = find_list(str(root), given[split]) if given[split] else own[0]
        elif split != "validation":
            looked = ", ".join(map(str, _list_places(root, card, split)))
            raise InputError(f"{looked}: the {split} list of {card.name} is not there; {_how_lists(root, card)}")
    return paths


def _how_lists(root: Any, card: LargeCard) -> str:
    names = ", ".join(f"{name}.txt" for name in card.lists.values())
    return f"put {names} into {root}, the folder that their paths are relative to (or set config.data.train_list ...)"


WAYS: dict[str, Way] = {
    "shards": Way(
        lambda root, card: [root / MANIFEST],
        lambda root, card: f"prepare shards of its lists (python -m ltjax.data.prepare --list=... --out={root})",
        lambda root, path, card, settings: read_shards(str(root), settings),
    ),
    "list": Way(_list_places, _how_lists, _from_lists),
    "tfds": Way(
        lambda root, card: tfds_images.places(root, card.tfds),
        lambda root, card: tfds_images.how(root, card.tfds),
        lambda root, path, card, settings: tfds_images.read(path.parent, card.tfds_splits, settings),
    ),
}
