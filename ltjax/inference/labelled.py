"""Labelled new pictures for a finished run: a folder of class folders, or a list file, with the run's classes."""

import dataclasses
import os
import re

import numpy as np
import numpy.typing as npt

from ltjax.data import Source
from ltjax.data.storage.image_files import ImageFiles, find_files
from ltjax.data.storage.image_folder import scan_class_folders
from ltjax.data.storage.list_file import ImageList, check_classes, read_list
from ltjax.data.storage.packed_names import PackedNames
from ltjax.errors import InputError, did_you_mean, shortened
from ltjax.inference.preprocessing import view_of
from ltjax.settings.user_paths import expanded, looked_for
from ltjax.training.workdir.model_record import ModelRecord


@dataclasses.dataclass(frozen=True)
class Views:
    """``views(i)`` is file i as the network takes it, uint8 of ``image_shape``."""

    files: ImageFiles
    image_shape: tuple[int, int, int]
    resize: int
    interpolation: str = "bilinear"

    def __call__(self, record: int) -> npt.NDArray[np.uint8]:
        return view_of(self.files(record), self.image_shape, self.resize, self.interpolation)


def labelled_images(given: str, model: ModelRecord, key: str = "--images") -> Source:
    """The pictures of ``given``, resized and cropped as the test images of the run were.

    Args:
      given: a folder whose folders have the names of classes, not necessarily all of them; or a list file of lines
        ``path label``, where the label is the class's number, or ``path<TAB>name`` or ``path,name``. Paths are relative
        to the folder of the list.
      model: of the run, with its classes.
      key: the flag that named them, for errors.

    Raises:
      InputError: for a path that does not exist, an unknown class, or no picture at all.
    """
    path = expanded(given)
    if os.path.isdir(path):
        files, labels = _of_folder(path, model, key)
    elif os.path.isfile(path):
        files, labels = _of_list(path, model, key)
    else:
        raise InputError(f"{key}={shortened(given)}: no such folder or list file{looked_for(path)}; correct the path")
    views = Views(files, model.image_shape, model.resize, model.interpolation)
    return Source(labels, np.arange(len(labels), dtype=np.int64), views, where=files.where)


def _of_folder(root: str, model: ModelRecord, key: str) -> tuple[ImageFiles, npt.NDArray[np.int32]]:
    tree = scan_class_folders(root, model.names)
    unknown = tree.classes[len(model.names) :]
    if unknown:
        raise InputError(
            f"{key}: {shortened(os.path.join(root, unknown[0]))}{_unknown(unknown[0], model)} ({len(unknown)} such "
            "folders); rename or remove it"
        )
    return ImageFiles(tree.root, tree.names), tree.labels.astype(np.int32)


def _of_list(path: str, model: ModelRecord, key: str) -> tuple[ImageFiles, npt.NDArray[np.int32]]:
    root = os.path.dirname(os.path.abspath(path))
    listing = _named(path, model, key)
    if listing is None:
        listing = read_list(path, root, allow_outside=True)
        check_classes(listing, len(model.names))
    files = find_files(root, listing.files, listing.path, listing.lines)
    return files, listing.labels.astype(np.int32)


def _named(path: str, model: ModelRecord, key: str) -> ImageList | None:
    """A list whose lines end with the names of classes; None if they end with numbers."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            rows = [(number, line.rstrip()) for number, line in enumerate(file, 1) if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise InputError(
            f"{key}={shortened(path)}: the list cannot be read ({reason}); save it as plain text"
        ) from None
    separators = [next((mark for mark in ("\t", ",") if mark in line), "") for _, line in rows]
    if not rows or not all(separators):
        return None
    label_of = {name: label for label, name in enumerate(model.names)}
    if all(re.search(r"\s-?[0-9]+$", line) for _, line in rows):
        words = [line.rpartition(mark)[2].strip() for (_, line), mark in zip(rows, separators, strict=True)]
        if not all(word in label_of for word in words) or _are_numbers(words, separators, path, label_of, key):
            return None
    names, labels = [], []
    for (number, line), mark in zip(rows, separators, strict=True):
        name, _, label = line.rpartition(mark)
        if label.strip() not in label_of:
            raise InputError(
                f"{key}: {shortened(path)}, line {number}: '{shortened(label.strip())}'"
                f"{_unknown(label.strip(), model)}; correct or remove the line"
            )
        names.append(name.strip())
        labels.append(label_of[label.strip()])
    packed = PackedNames.of(names)
    return ImageList(path, packed, packed, np.array(labels, np.int32), np.array([number for number, _ in rows]))


def _are_numbers(words: list[str], separators: list[str], path: str, label_of: dict[str, int], key: str) -> bool:
    """Whether these names of classes, which lines end with, are the numbers of classes too.

    Raises:
      InputError: if they are those of other classes.
    """
    digits = all(mark == "\t" and word.isdecimal() for word, mark in zip(words, separators, strict=True))
    if not digits or any(int(word) >= len(label_of) for word in words):
        return False
    other = next((word for word in words if label_of[word] != int(word)), None)
    if other is not None:
        raise InputError(
            f"{key}={shortened(path)}: the labels are names of classes and numbers of others: class '{other}' has the "
            f"number {label_of[other]}; write 'path,name' for names, or 'path number' with a space for numbers"
        )
    return True


def _unknown(name: str, model: ModelRecord) -> str:
    classes = f"{len(model.names)} classes of the run"
    return f" is none of the {classes}{did_you_mean(name, model.names)}"
