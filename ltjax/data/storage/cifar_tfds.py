"""CIFAR prepared by TensorFlow Datasets as array_record, read without TensorFlow."""

import re
from typing import Any

import numpy as np

from ltjax.data.balanced import BalancedSet, Card, check_balanced, check_pictures
from ltjax.data.dataset import Source, array_source, check_index, check_labels
from ltjax.errors import InputError


def places(root: Any, card: Card) -> list:
    """The description of the newest prepared version, or the pattern of where one would be."""
    return prepared(root / card.name)


def prepared(folder: Any) -> list:
    """Of the folder of a set, as TFDS has it."""
    pattern = "*/dataset_info.json"
    found = [path for path in folder.glob(pattern) if version_of(path)] if folder.is_dir() else []
    return [max(found, key=version_of)] if found else [folder / pattern]


def version_of(path: Any) -> tuple[int, ...]:
    """(3, 0, 2) of ``3.0.2/dataset_info.json``; () where the folder is none of a version."""
    match = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)", path.parent.name)
    return tuple(int(part) for part in match.groups()) if match else ()


def how(root: Any, card: Card) -> str:
    """The command that prepares the data set."""
    return f"python -m ltjax.data.prepare_tfds {card.name} --dir={root}"


def read(path: Any, card: Card) -> BalancedSet:
    """The data set that ``path``, a dataset_info.json, describes."""
    builder = _builder(path.parent, card)
    order, labels = _catalogue(builder, "train", card, path.parent)
    if len(labels) != card.train_size:
        raise InputError(f"{path.parent}: {len(labels)} training records; {card.name} has {card.train_size}")
    labels = check_balanced(labels, card, f"{path.parent}: label of train")
    everything = np.arange(card.train_size)

    def images(positions: np.ndarray) -> np.ndarray:
        return _pictures(builder, "train", order[positions], card, path.parent)

    def test() -> Source:
        order, labels = _catalogue(builder, "test", card, path.parent)
        images = _pictures(builder, "test", order, card, path.parent)
        return array_source(images, labels, np.arange(len(labels)))

    return BalancedSet(str(path.parent), labels, everything, images, everything >= 0, test)


def _builder(folder: Any, card: Card) -> Any:
    try:
        import tensorflow_datasets as tfds
    except ImportError:
        raise InputError('config.data.source: tfds needs TensorFlow Datasets; pip install "ltjax[train]"') from None
    try:
        builder = tfds.builder_from_directory(folder)
    except Exception as error:
        raise _unreadable(folder, error) from error
    if builder.info.file_format.value != "array_record":
        raise InputError(
            f"{folder}: prepared as {builder.info.file_format.value}, which cannot be read by position; move it away "
            f"and prepare it as array_record: {how(folder.parent.parent, card)}"
        )
    return builder


def _catalogue(builder: Any, split: str, card: Card, folder: Any) -> tuple[np.ndarray, np.ndarray]:
    """Record number and label of every image of a split in the official order; no image is decoded."""
    import tensorflow_datasets as tfds

    try:
        records = builder.as_data_source(split, decoders={"image": tfds.decode.SkipDecoding()})
        entries = [(record["id"], record["label"]) for record in (records[i] for i in range(len(records)))]
    except Exception as error:
        raise _unreadable(f"{folder}: {split}", error) from error
    labels = check_labels([label for _, label in entries], card.num_classes, f"{folder}: label of {split}")
    index = check_index(
        [_official(name, split, folder) for name, _ in entries], len(entries), f"{folder}: id of {split}"
    )
    order = np.argsort(index)
    return order, labels[order]


def _official(name: bytes, split: str, folder: Any) -> int:
    """The official position that a record's id holds: 42 of ``train_00042``."""
    match = re.fullmatch(rf"{split}_(\d+)", name.decode())
    if match is None:
        raise InputError(
            f"{folder}: id '{name.decode()}' of {split}; it must be like '{split}_00042'; prepare it again"
        )
    return int(match[1])


def _pictures(builder: Any, split: str, numbers: np.ndarray, card: Card, folder: Any) -> np.ndarray:
    try:
        records = builder.as_data_source(split)
        images = np.stack([records[int(number)]["image"] for number in numbers])
    except Exception as error:
        raise _unreadable(f"{folder}: {split}", error) from error
    return check_pictures(images, numbers, card, f"{folder}: image of {split}", "the labels")


def _unreadable(where: Any, error: Exception) -> InputError:
    reason = f"{type(error).__name__}: {error}".splitlines()[0]
    return InputError(f"{where}: TFDS cannot read it ({reason}); remove it and prepare it again")
