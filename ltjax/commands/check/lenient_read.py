"""Reads a data set as far as possible: where a run stops at the first mistake, all impossible labels are found."""

import numpy as np

from ltjax.commands.check.findings import Finding, finding, finding_if_any, name_of
from ltjax.data import build
from ltjax.data.dataset import Data
from ltjax.data.datasets import tables
from ltjax.data.datasets.assemble import Split, Splits, assemble
from ltjax.data.datasets.lt_benchmarks import SPECS, list_paths
from ltjax.data.datasets.user_images import find_list, read_folder, read_lists
from ltjax.data.storage.find_dataset import data_root, required_dir
from ltjax.data.storage.image_folder import scan_class_folders
from ltjax.data.storage.shards import MANIFEST
from ltjax.errors import InputError, shortened
from ltjax.settings import DataSettings


def read_leniently(settings: DataSettings) -> tuple[Data | None, list[Finding]]:
    """The data set of a run, and why a run would refuse it.

    Where a run would refuse the data, images with impossible labels are reported and left out, and the rest is the
    data set; None where nothing can be read.

    Raises:
      InputError: when a setting is wrong, or there is no data.
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
        data, found = (None, []) if splits is None else drop_impossible_labels(splits, settings)
    except InputError:  # it cannot be read leniently either
        return None, [refused]
    return data, [refused, *found]


def _check_lists(settings: DataSettings) -> None:
    """Raises InputError for a list that does not exist."""
    for key in ("train_list", "test_list", "val_list"):
        name = getattr(settings, key)
        path = find_list(str(data_root(settings)), name) if name else None
        if path is not None and not path.exists():
            raise InputError(f"{shortened(path)}: no such file; correct config.data.{key}")


def _splits(settings: DataSettings) -> Splits | None:
    """The splits with all their labels; None for what is always read strictly: shards, records in larger files."""
    if settings.name == "folder":
        return read_folder(required_dir(settings), settings, scan_class_folders)
    if settings.name in ("list", *tables.READERS):
        names = {"train": settings.train_list, "test": settings.test_list, "validation": settings.val_list}
        root = required_dir(settings)
        paths = {split: find_list(root, name) for split, name in names.items() if name}
        if settings.name == "list":
            return read_lists(root, paths, settings, strict=False)
        return tables.read_tables(settings.name, root, paths, settings, strict=False)
    spec, folder = SPECS.get(settings.name), data_root(settings)
    if spec is None or settings.source not in ("auto", "list") or (folder / MANIFEST).exists():
        return None
    return read_lists(str(folder), list_paths(folder, spec, settings), settings, spec.num_classes, strict=False)


def drop_impossible_labels(splits: Splits, settings: DataSettings) -> tuple[Data, list[Finding]]:
    """The data set of the images whose labels are 0 to C - 1, and a finding for the others.

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
        raise InputError(f"{splits.where}: no training image has a label from 0 to {classes - 1}; correct the labels")
    rest = Splits(splits.where, train, kept["test"], kept["validation"], splits.class_names, splits.notes)
    detail = f"0 to {classes - 1} (of a folder: a class folder that the training images do not have)"
    return assemble(settings.name, rest, settings), finding_if_any("label", items, detail)
