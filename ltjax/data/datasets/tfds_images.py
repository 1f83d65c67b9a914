"""Any image classification set prepared by TensorFlow Datasets as array_record, read without TensorFlow.

Images stay encoded until they are needed. Labels are read once, and cached beside the data.
"""

import contextlib
import io
import os
import re
from collections.abc import Mapping

import numpy as np

from ltjax.data.dataset import Data
from ltjax.data.datasets.assemble import Split, Splits, assemble, check_tested, encoded_source, several_classes
from ltjax.data.datasets.user_images import with_class_names
from ltjax.data.storage.find_dataset import data_root
from ltjax.data.storage.paths import write_atomically
from ltjax.data.storage.tfds_records import (
    DESCRIPTION,
    TfdsImages,
    description_paths,
    how_to_prepare,
    open_builder,
    read_features,
)
from ltjax.errors import InputError
from ltjax.settings import DataSettings

# split -> its names in TFDS's sets; the first that exists is used
SPLITS = {"train": ("train",), "test": ("test",), "validation": ("validation", "val")}


def tfds(settings: DataSettings) -> Data:
    """The set ``config.data.tfds``, NAME or NAME:VERSION (also NAME/CONFIG), which TFDS has prepared.

    It is evaluated on the test split, or on the validation split if there is no test split or its labels are not
    public.
    """
    match = re.fullmatch(r"([\w./-]+?)(?::(\d+\.\d+\.\d+))?", settings.tfds)
    if match is None:
        raise InputError(
            f"config.data.tfds: '{settings.tfds}' is not possible; write NAME or NAME:VERSION, such as cifar10:3.0.2"
        )
    name, version = match.groups()
    root = data_root(settings)
    description = description_paths(root / name, version)[0]
    if not description.exists():
        raise InputError(f"config.data.tfds: {description} does not exist; to prepare it: {how_to_prepare(root, name)}")
    splits = several_classes(read(str(description.parent), None, settings))
    return assemble(name, with_class_names(splits, settings, str(root)), settings)


def read(folder: str, names: dict[str, str] | None, settings: DataSettings) -> Splits:
    """The splits of a prepared folder.

    Args:
      folder: NAME/VERSION.
      names: split -> its name in TFDS; None: the usual names (``SPLITS``), as far as the set has them.
      settings: for ``encoded_source``; with ``keep_labels=False`` labels are not cached beside the data.
    """
    builder = open_builder(folder)
    image, label = _features(builder.info.features, folder)
    available = builder.info.splits
    if names is None:
        found = {split: [name for name in SPLITS[split] if name in available] for split in SPLITS}
        names = {split: some[0] for split, some in found.items() if some}
    for name in ("train", *names.values()):
        if name not in available:
            raise InputError(f"{folder}: no split '{name}' (it has {', '.join(available)}); prepare it again")
    keep = settings.keep_labels
    labels = {
        split: _labels(folder, name, label, builder.info.splits[name].num_examples, keep)
        for split, name in names.items()
    }
    notes = []
    if "test" in labels and (labels["test"] < 0).any():
        del labels["test"]
        notes.append(f"{folder}: the labels of its test split are not public; the test split is not used")
    if "test" not in labels and "validation" in labels:
        labels["test"], names = labels.pop("validation"), {**names, "test": names["validation"]}
        notes.append(f"{folder}: evaluated on {names['test']}, as it has no test labels")
    classes = builder.info.features[label].num_classes
    splits = {}
    for split, split_labels in labels.items():
        files = TfdsImages(folder, names[split], image)
        _check(split_labels, classes, files, labels["train"] if split != "train" else None)
        splits[split] = Split(encoded_source(files, split_labels, settings, files.where))
    class_names = tuple(builder.info.features[label].names)
    return Splits(folder, splits["train"], splits.get("test"), splits.get("validation"), class_names, tuple(notes))


def _features(features: Mapping[str, object], folder: str) -> tuple[str, str]:
    """The names of the image and of the label among the features of a record."""
    import tensorflow_datasets

    kinds = tensorflow_datasets.features
    images = [name for name, feature in features.items() if isinstance(feature, kinds.Image)]
    labels = [name for name, feature in features.items() if isinstance(feature, kinds.ClassLabel)]
    chosen = [name for name in ("label", *labels) if name in labels]
    if len(images) != 1 or not chosen:
        raise InputError(
            f"{folder}: its records have {', '.join(features)}; they must have one Image and a ClassLabel, as 'label'"
        )
    return images[0], chosen[0]


def _labels(folder: str, split: str, label: str, count: int, keep: bool) -> np.ndarray:
    """The labels of all ``count`` records of a split, int32: cached beside the data, or read from the records."""
    cache = os.path.join(folder, f"ltjax_{split}_{label}.npy")
    if os.path.exists(cache) and os.path.getmtime(cache) >= os.path.getmtime(os.path.join(folder, DESCRIPTION)):
        try:
            labels = np.load(cache, allow_pickle=False)
            if labels.shape == (count,) and labels.dtype == np.int32:
                return labels
        except Exception:  # a damaged file raises nearly anything
            pass  # read the labels again
    labels = np.array(read_features(folder, split, (label,))[label], np.int32)
    if labels.shape != (count,):
        raise InputError(
            f"{folder}: {split} has {len(labels)} records, but its description says {count}; prepare it again"
        )
    if not keep:
        return labels
    content = io.BytesIO()
    np.save(content, labels)
    with contextlib.suppress(OSError):  # a read-only folder: labels are not cached
        write_atomically(cache, content.getvalue())
    return labels


def _check(labels: np.ndarray, classes: int, files: TfdsImages, trained: np.ndarray | None) -> None:
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if wrong.size:
        raise InputError(
            f"{files.where(wrong[0])} has label {labels[wrong[0]]}; labels must be 0 to {classes - 1} "
            f"({wrong.size} such labels)"
        )
    if trained is not None:
        check_tested(labels, trained, files.where)
        return
    missing = np.setdiff1d(np.arange(classes), labels)
    if missing.size:
        raise InputError(
            f"{files.folder}: class {missing[0]} has no image in {files.split} ({missing.size} of {classes} classes); "
            "every class needs a training image"
        )
