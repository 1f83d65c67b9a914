"""A data set as far as it can be had: where a run refuses it with one line, all that is wrong with its labels."""

import os
from typing import Any

import numpy as np

from ltjax.commands.check.findings import Finding, finding, name_of, some
from ltjax.data import build
from ltjax.data.dataset import Data
from ltjax.data.datasets.assemble import Split, Splits, assemble
from ltjax.data.datasets.lt_benchmarks import CARDS, list_paths
from ltjax.data.datasets.user_images import find_list, read_folder, read_lists
from ltjax.data.storage.find_dataset import data_root
from ltjax.data.storage.image_folder import as_settings, scan_tree
from ltjax.data.storage.shards import MANIFEST
from ltjax.errors import InputError


def read_loosely(settings: Any) -> tuple[Data | None, list[Finding]]:
    """The data set of a run, and why a run would refuse it.

    Where a run is refused because of the data, images with labels that are not possible are found and left out, and
    the rest is the data set; None where nothing can be read.

    Raises:
      InputError: when it is a setting that is wrong, or nothing is there.
    """
    _check_lists(settings)
    try:
        return build(settings), []
    except InputError as error:
        if str(error).startswith("config."):
            raise
        refused = finding("refused", detail=str(error))
    try:
        splits = _splits(settings)
        data, found = (None, []) if splits is None else without_impossible(splits, settings)
    except InputError:  # of the same kind: nothing to count
        return None, [refused]
    return data, [refused, *found]


def _check_lists(settings: Any) -> None:
    """Raises InputError for a list that is named and not there."""
    for key in ("train_list", "test_list", "val_list"):
        name = getattr(settings, key)
        path = find_list(os.path.expanduser(settings.dir), name) if name else None
        if path is not None and not path.exists():
            raise InputError(f"{path}: is not there; config.data.{key} names it (--list, --test-list, --val-list)")


def _splits(settings: Any) -> Splits | None:
    """Nothing refused that could be counted; None for what is read strictly alone, shards and TFDS's sets."""
    if settings.name == "folder":
        return read_folder(as_settings(settings), settings, scan_tree)
    if settings.name == "list":
        names = {"train": settings.train_list, "test": settings.test_list, "validation": settings.val_list}
        root = as_settings(settings)
        paths = {split: find_list(root, name) for split, name in names.items() if name}
        return read_lists(root, paths, settings, refuse=False)
    card, root = CARDS.get(settings.name), data_root(settings)
    if card is None or settings.source not in ("auto", "list") or (root / MANIFEST).exists():
        return None
    return read_lists(str(root), list_paths(root, card, settings), settings, card.num_classes, refuse=False)


def without_impossible(splits: Splits, settings: Any) -> tuple[Data, list[Finding]]:
    """The data set of the images whose labels are 0 to C - 1, and the others.

    Raises:
      InputError: when no training image is left.
    """
    classes, items = len(splits.class_names), []
    kept: dict[str, Split | None] = {}
    for name, split in {"train": splits.train, "test": splits.test, "validation": splits.validation}.items():
        kept[name] = split
        if split is not None:
            labels = split.source.labels
            possible = (labels >= 0) & (labels < classes)
            wrong = np.flatnonzero(~possible).tolist()
            items += [f"{name_of(name, split.source, i)}: label {labels[i]}" for i in wrong]
            kept[name] = split.subset(np.flatnonzero(possible)) if wrong else split
    train = kept["train"]
    if train is None or not len(train.source):
        raise InputError(f"{splits.where}: no training image has a label from 0 to {classes - 1}")
    rest = Splits(splits.where, train, kept["test"], kept["validation"], splits.class_names, splits.notes)
    detail = f"0 to {classes - 1} (of a folder: a class folder that the training images do not have)"
    return assemble(settings.name, rest, settings), some("label", items, detail)
