"""Images with any number of labels, from list files: ``config.data.name="multilabel_list"``."""

import dataclasses

import numpy as np

from ltjax.data.dataset import Data
from ltjax.data.datasets.assemble import Split, Splits, assemble, encoded_source
from ltjax.data.datasets.user_images import find_list, list_names, read_class_names, shared_images
from ltjax.data.storage.find_dataset import required_dir
from ltjax.data.storage.image_files import find_files
from ltjax.data.storage.multilabel_list import LabelledList, read_multilabel_list
from ltjax.errors import InputError, shortened
from ltjax.settings import DataSettings


def multilabel_lists(settings: DataSettings) -> Data:
    """Lists (``config.data.train_list``, ``test_list``, ``val_list``) of lines ``relative/path label label ...``.

    ``Source.labels`` is the rarest class of each image: by it images are held out, so that rare classes are tested.

    Raises:
      InputError: a list that is wrong, a class without a training image, fewer than two classes.
    """
    root = required_dir(settings)
    paths = {split: find_list(root, name) for split, name in list_names(settings).items()}
    listings = {split: read_multilabel_list(path, root, settings.allow_outside) for split, path in paths.items()}
    train = listings["train"]
    names = read_class_names(settings.class_names, root) if settings.class_names else None
    classes = len(names) if names else int(train.sets.classes.max(initial=-1)) + 1
    _check_range(train, classes)
    counts = train.sets.counts(classes)
    _check_counts(train, counts)
    for listing in listings.values():
        _check_range(listing, classes)
    notes = [note for listing in listings.values() for note in listing.images.notes]
    for split, listing in listings.items():
        if split != "train":
            notes += shared_images(train.images, listing.images)
    splits = {split: _split(root, listing, counts, settings) for split, listing in listings.items()}
    return assemble(
        "multilabel_list",
        Splits(
            str(train.images.path), splits["train"], splits.get("test"), splits.get("validation"),
            names or tuple(map(str, range(classes))), tuple(notes),
        ),
        settings,
    )  # fmt: skip


def _check_range(listing: LabelledList, classes: int) -> None:
    wrong = np.flatnonzero(listing.sets.classes >= classes)
    if wrong.size:
        image, label = listing.sets.owners()[wrong[0]], listing.sets.classes[wrong[0]]
        raise InputError(
            f"{listing.images.at(int(image))} has label {label}; labels must be 0 to {classes - 1}, the classes of the "
            f"training list or of config.data.class_names ({wrong.size} such labels)"
        )


def _check_counts(train: LabelledList, counts: np.ndarray) -> None:
    path = shortened(train.images.path)
    if len(counts) < 2:
        raise InputError(f"{path}: a run needs at least two classes; write the labels behind each path, from 0")
    if not counts.all():
        raise InputError(
            f"{path}: class {int(np.argmin(counts))} has no image ({int((counts == 0).sum())} of {len(counts)} "
            "classes); every class needs a training image: number the labels without gaps"
        )


def _split(root: str, listing: LabelledList, counts: np.ndarray, settings: DataSettings) -> Split:
    images = listing.images
    files = find_files(root, images.files, images.path, images.lines, True)
    labels = listing.sets.rarest(counts)
    source = encoded_source(files, labels, settings, files.where, images.lines - 1, files.size)
    return Split(dataclasses.replace(source, label_sets=listing.sets), images.names)
