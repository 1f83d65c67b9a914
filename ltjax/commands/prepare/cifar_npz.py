"""Writes any CIFAR arrays as one .npz file, which config.data.dir may name.

    python -m ltjax.data.convert --output cifar100.npz \\
        --train-images images.npy --train-index index.npy --all-train-labels labels.npy \\
        --test-images test.npz:images --test-labels test.npz:labels

Every array is ``file.npy`` or ``file.npz:field``. The training images may be a part of the training set; then
--train-index has their places in the official order, and --all-train-labels the labels of the WHOLE training set,
because the long-tailed selection shuffles all images of a class. With all 50,000 images, their own labels
(--train-labels) are enough. The fields of the file are described in ltjax/data/storage/cifar_npz.py.
`ltjax prepare cifar-npz` is the same command.
"""

import argparse
import contextlib
import hashlib
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ltjax.commands.cli import Parser, guarded
from ltjax.data.balanced_set import BalancedSpec, check_balanced, check_image_array
from ltjax.data.dataset import check_index, check_labels
from ltjax.data.datasets.cifar import SPECS
from ltjax.data.storage.cifar_npz import open_arrays
from ltjax.data.storage.paths import open_path, unfinished_name
from ltjax.errors import InputError, did_you_mean


def _parser() -> argparse.ArgumentParser:
    parser = Parser("prepare cifar-npz", "ltjax.data.convert", __doc__)
    parser.add_argument(
        "--output", required=True, help="the .npz to write; in a folder, cifar10.npz or cifar100.npz is found"
    )
    parser.add_argument("--name", choices=sorted(SPECS), help="the data set; default: by the number of labels")
    parser.add_argument("--train-images", required=True, help="uint8 [N, 32, 32, 3]")
    parser.add_argument("--train-index", help="integer [N], their places in the official order; default: 0 .. N - 1")
    parser.add_argument("--train-labels", help="integer [N], the labels of these images")
    parser.add_argument("--all-train-labels", help="integer [50000], the labels of the whole training set in its order")
    parser.add_argument("--test-images", required=True, help="uint8 [T, 32, 32, 3]")
    parser.add_argument("--test-labels", required=True, help="integer [T]")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing file")
    return parser


def convert(arguments: Any) -> str:
    """Reads, checks and writes; returns the summary.

    Raises:
      InputError: one line with the file and field; then nothing is written.
    """
    output = open_path(arguments.output)
    if output.suffix != ".npz":
        raise InputError(f"--output: '{output}' must end in .npz")
    if output.exists() and not arguments.overwrite:
        raise InputError(f"--output: {output} exists; choose another name or add --overwrite")
    test_labels = _load(arguments.test_labels)
    card = _card(arguments.name, test_labels, arguments.test_labels)
    test_labels = check_labels(test_labels, card.num_classes, arguments.test_labels)
    test_images = check_image_array(
        _load(arguments.test_images), test_labels, card, arguments.test_images, arguments.test_labels
    )
    images, index, labels = _training(arguments, card)
    fields = {
        "train_images": images,
        "train_index": index,
        "train_labels": labels,
        "test_images": test_images,
        "test_labels": test_labels,
    }
    with _replacing(output) as file:
        np.savez(file, allow_pickle=False, **fields)
    return _summary(output, card, fields)


def _training(arguments: Any, card: BalancedSpec) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images, their places in the official order, and the labels of the whole training set."""
    images = _load(arguments.train_images)
    if arguments.train_index:
        index = check_index(_load(arguments.train_index), card.train_size, arguments.train_index)
        images = check_image_array(images, index, card, arguments.train_images, arguments.train_index)
    else:
        images = check_image_array(images, images, card, arguments.train_images, arguments.train_images)
        if len(images) != card.train_size:
            raise InputError(
                f"{arguments.train_images}: {len(images)} of {card.train_size} images; --train-index must say which"
            )
        index = np.arange(card.train_size)
    return images, index, _all_labels(arguments, card, index)


def _all_labels(arguments: Any, card: BalancedSpec, index: np.ndarray) -> np.ndarray:
    given = None
    if arguments.train_labels:
        given = check_labels(_load(arguments.train_labels), card.num_classes, arguments.train_labels)
        if len(given) != len(index):
            raise InputError(f"{arguments.train_labels}: {len(given)} labels for {len(index)} training images")
    if arguments.all_train_labels:
        labels = check_balanced(_load(arguments.all_train_labels), card, arguments.all_train_labels)
        if given is not None and (labels[index] != given).any():
            wrong = int(np.flatnonzero(labels[index] != given)[0])
            raise InputError(
                f"{arguments.train_labels}: label {given[wrong]} at position {wrong}, but {labels[index[wrong]]} at "
                f"index {index[wrong]} of {arguments.all_train_labels}; one of the three files is wrong"
            )
        return labels
    if given is None:
        raise InputError("--train-labels or --all-train-labels: give one of them")
    if len(index) != card.train_size:
        raise InputError(
            f"--all-train-labels: needed, because {arguments.train_images} has {len(index)} of {card.train_size} images"
        )
    labels = np.empty(card.train_size, dtype=np.int64)
    labels[index] = given
    return check_balanced(labels, card, arguments.train_labels)


def _card(name: str | None, test_labels: np.ndarray, field: str) -> BalancedSpec:
    if name:
        return SPECS[name]
    classes = int(test_labels.max()) + 1 if test_labels.size and test_labels.dtype.kind in "iu" else 0
    fitting = [card for card in SPECS.values() if card.num_classes == classes]
    if not fitting:
        raise InputError(f"{field}: labels up to {classes - 1}; not those of {' or '.join(SPECS)}; see --name")
    return fitting[0]


def _load(text: str) -> np.ndarray:
    """The array that ``file.npy`` or ``file.npz:field`` names."""
    match = re.fullmatch(r"(.+\.npz):([^:/]+)", text)
    path, field = (match[1], match[2]) if match else (text, "")
    with open_arrays(open_path(path)) as arrays:
        if field not in arrays:
            names = ", ".join(arrays)
            raise InputError(f"{text}: write {path}:FIELD; its fields are {names}{did_you_mean(field, arrays)}")
        return arrays[field]


@contextlib.contextmanager
def _replacing(path: Any) -> Iterator[Any]:
    """A file to write to, which replaces ``path`` when the block ends, and is removed when the block fails."""
    unfinished = path.with_name(unfinished_name(path.name))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("wb") as file:
            yield file
        unfinished.replace(path)
    except OSError as error:
        raise InputError(
            f"--output: {path} cannot be written ({error.strerror or error}); choose another path"
        ) from error
    finally:
        if unfinished.exists():
            unfinished.unlink()


def _summary(path: Any, card: BalancedSpec, fields: dict[str, np.ndarray]) -> str:
    with path.open("rb") as file:
        checksum = hashlib.file_digest(file, "sha256").hexdigest()
    given = np.bincount(fields["train_labels"][fields["train_index"]], minlength=card.num_classes)
    test = np.bincount(fields["test_labels"], minlength=card.num_classes)
    return "\n".join(
        [
            f"{path}: {card.name}, {given.sum()} of {card.train_size} training images, {test.sum()} test images",
            f"training images by class: {' '.join(map(str, given))}",
            f"test images by class: {' '.join(map(str, test))}",
            f"sha256 {checksum}",
            f"use it with --config.data.dir={path}",
        ]
    )


def run(argv: Sequence[str]) -> int:
    print(convert(_parser().parse_args(argv)))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return guarded(run, argv, unfinished="nothing was written: run the same command again")


if __name__ == "__main__":
    sys.exit(main())
