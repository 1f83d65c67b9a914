"""A folder of class folders: ``rose/17.jpg``, or ``train/rose/17.jpg`` beside ``test/`` or ``val/``."""

import dataclasses
import os
from collections import Counter

import numpy as np

from ltjax.data.storage.packed_names import PackedNames
from ltjax.errors import InputError

# how the folders of a split are called, any case
SPLITS = {
    "train": ("train", "training"),
    "test": ("test", "testing"),
    "validation": ("val", "valid", "validation"),
}
IMAGES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")


@dataclasses.dataclass(frozen=True)
class ClassFolders:
    """The images of a folder of class folders.

    Attributes:
      root: the folder.
      names: N paths relative to it, class after class, sorted.
      labels: int32 [N], positions in ``classes``.
      classes: the class folders' names, sorted.
      strays: what else lies there, by kind: files that are no images by their name, hidden ones, files beside the class
        folders.
      empty: class folders without an image.
    """

    root: str
    names: PackedNames
    labels: np.ndarray
    classes: tuple[str, ...]
    strays: Counter
    empty: tuple[str, ...] = ()

    def notes(self) -> tuple[str, ...]:
        """One line about what was left out; none where nothing was."""
        if not self.strays:
            return ()
        kinds = ", ".join(f"{count} x {kind}" for kind, count in sorted(self.strays.items()))
        return (f"{self.root}: {self.strays.total()} files are no images by their names and left out ({kinds})",)


def split_folders(root: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """({"train": DIR/train, "test": DIR/test, ...} as far as they are there, notes); class folders alone are "train".

    A folder of one of these names is a split if there are folders in it: ``train`` may be a class of vehicles, and
    ``test`` unlabelled images.

    Raises:
      InputError: when the folder is not there, or has test class folders and no train folder.
    """
    if "://" in root:
        raise InputError(
            f"config.data.dir: '{root}' is in a bucket; prepare it as shards: python -m ltjax.data.prepare"
        )
    inside = {entry.name.lower(): entry.path for entry in _entries(root) if entry.is_dir()}
    named = [(split, inside[name]) for split, names in SPLITS.items() for name in names[::-1] if name in inside]
    found = {split: path for split, path in named if any(entry.is_dir() for entry in _entries(path))}
    if not found:
        return {"train": root}, ()
    if "train" not in found:
        raise InputError(
            f"{root}: has {', '.join(found.values())}, but no train/; add it or name the class folders' folder"
        )
    left_out = [path for split, path in named if split not in found]
    return found, tuple(f"{path}: has no class folders in it and is left out" for path in left_out)


def _entries(folder: str) -> list:
    try:
        return list(os.scandir(folder))
    except OSError as error:
        raise InputError(f"config.data.dir: '{folder}' cannot be read ({error.strerror or error})") from error


def read_class_folders(root: str, classes: tuple[str, ...] | None = None) -> ClassFolders:
    """All images under ``root``, by class folder; folders inside a class folder belong to the class.

    Args:
      root: a folder of class folders.
      classes: names that the labels count; without them the folders' names, sorted.

    Raises:
      InputError: for a folder without class folders, a class folder without an image, or, given ``classes``, one that
        is not among them.
    """
    tree = scan_class_folders(root, classes)
    unknown = tree.classes[len(tree.classes if classes is None else classes) :]
    if unknown:
        raise InputError(
            f"{root}/{unknown[0]}: there is no class folder of this name in the training images ({len(unknown)} such); "
            "add it there or remove it here"
        )
    if tree.empty:
        raise InputError(f"{root}/{tree.empty[0]}: a class folder without an image; add images or remove it")
    return tree


def scan_class_folders(root: str, classes: tuple[str, ...] | None = None) -> ClassFolders:
    """As ``read_class_folders``, but refuses nothing; folders that are not among ``classes`` come after them.

    Raises:
      InputError: for a folder without class folders, or without any image.
    """
    strays: Counter = Counter()
    folders = _class_folders(root, strays)
    ordered = folders if classes is None else [*classes, *sorted(set(folders) - set(classes))]
    label_of = {name: label for label, name in enumerate(ordered)}
    names: list[str] = []
    labels: list[int] = []
    empty = []
    for name in folders:
        files = images_in(root, name, strays)
        names += files
        labels += [label_of[name]] * len(files)
        empty += [] if files else [name]
    if not names:
        raise InputError(f"{root}/{folders[0]}: a class folder without an image, as are all; add images or remove it")
    return ClassFolders(root, PackedNames.of(names), np.array(labels, np.int32), tuple(ordered), strays, tuple(empty))


def _class_folders(root: str, strays: Counter) -> list[str]:
    entries = _entries(root)
    folders = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    strays.update(_kind(entry.name) for entry in entries if not entry.is_dir())
    if not folders:
        raise InputError(f"{root}: has no class folders; it needs folders such as rose/ and tulip/ with images in them")
    return folders


def images_in(root: str, name: str, strays: Counter) -> list[str]:
    """All images in the folder ``name`` of ``root`` ("": in ``root`` itself) and the folders in it; hidden ones not.

    Paths relative to ``root``, sorted; a folder that links to one above it is entered once. Other files are counted in
    ``strays``.
    """
    found, entered = [], set()
    for folder, inside, files in os.walk(os.path.join(root, name), followlinks=True):
        real = os.path.realpath(folder)
        if real in entered:
            inside.clear()
            continue
        entered.add(real)
        inside[:] = sorted(one for one in inside if not one.startswith("."))
        for file in files:
            if file.startswith(".") or not file.lower().endswith(IMAGES):
                strays[_kind(file)] += 1
            else:
                found.append(os.path.join(folder, file)[len(root.rstrip("/")) + 1 :])
    return sorted(found)


def _kind(file: str) -> str:
    """What a stray file counts as: its name where that is well known, its ending, or its name."""
    if file.startswith("._"):
        return "._*"
    return file if file.startswith(".") or file in ("Thumbs.db", "desktop.ini") else f"*{os.path.splitext(file)[1]}"
