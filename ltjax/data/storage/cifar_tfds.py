"""CIFAR prepared by TensorFlow Datasets as array_record, read without TensorFlow."""

import pathlib
import re

import numpy as np

from ltjax.data.balanced_set import BalancedSet, BalancedSpec, check_balanced, check_image_array
from ltjax.data.dataset import Source, array_source, check_index, check_labels
from ltjax.data.storage.tfds_records import description_paths, how_to_prepare, read_features, read_images
from ltjax.errors import InputError


def markers(root: pathlib.Path, spec: BalancedSpec) -> list[pathlib.Path]:
    """The description of the newest prepared version, or the pattern of its path if there is none."""
    return description_paths(root / spec.name)


def how_to_get(root: pathlib.Path, spec: BalancedSpec) -> str:
    """The command that prepares the data set."""
    return how_to_prepare(root, spec.name)


def read(path: pathlib.Path, spec: BalancedSpec) -> BalancedSet:
    """The data set that ``path``, a dataset_info.json, describes."""
    folder = str(path.parent)
    order, labels = _official_order(folder, "train", spec)
    if len(labels) != spec.train_size:
        raise InputError(
            f"{folder}: {len(labels)} training records; {spec.name} has {spec.train_size}; prepare it again"
        )
    labels = check_balanced(labels, spec, f"{folder}: label of train")
    everything = np.arange(spec.train_size)

    def images(positions: np.ndarray) -> np.ndarray:
        return _images(folder, "train", order[positions], spec)

    def test() -> Source:
        order, labels = _official_order(folder, "test", spec)
        return array_source(_images(folder, "test", order, spec), labels, np.arange(len(labels)))

    return BalancedSet(folder, labels, everything, images, everything >= 0, test)


def _official_order(folder: str, split: str, spec: BalancedSpec) -> tuple[np.ndarray, np.ndarray]:
    """The record number and the label of every image of a split, both [N], in official order; decodes no image."""
    features = read_features(folder, split, ("id", "label"))
    labels = check_labels(features["label"], spec.num_classes, f"{folder}: label of {split}")
    positions = [_official_position(name, split, folder) for name in features["id"]]
    order = np.argsort(check_index(positions, len(positions), f"{folder}: id of {split}"))
    return order, labels[order]


def _official_position(name: bytes, split: str, folder: str) -> int:
    """The official position in a record's id: 42 for ``train_00042``."""
    match = re.fullmatch(rf"{split}_(\d+)", name.decode())
    if match is None:
        raise InputError(
            f"{folder}: id '{name.decode()}' of {split}; it must be like '{split}_00042'; prepare the data set again"
        )
    return int(match[1])


def _images(folder: str, split: str, numbers: np.ndarray, spec: BalancedSpec) -> np.ndarray:
    return check_image_array(
        read_images(folder, split, numbers), numbers, spec, f"{folder}: image of {split}", "the labels"
    )
