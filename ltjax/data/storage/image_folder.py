"""A folder of class folders: ``rose/17.jpg``, or ``train/rose/17.jpg`` beside ``test/`` or ``val/``."""

import dataclasses
import os
from collections import Counter

import numpy as np

from ltjax.data import image_formats
from ltjax.data.storage.packed_names import PackedNames
from ltjax.errors import InputError

# split -> names of its folder, in upper or lower case
SPLITS = {
    "train": ("train", "training"),
    "test": ("test", "testing"),
    "validation": ("val", "valid", "validation"),
}


@dataclasses.dataclass(frozen=True)
class ClassFolders:
    """The images of a folder of class folders.

    Attributes:
      root: the folder.
      names: N paths relative to it, class after class, sorted.
      labels: int32 [N], positions in ``classes``.
      classes: the class folders' names, sorted.
      strays: numbers of other files, by kind: without an image's extension, hidden, or outside the class folders.
      empty: class folders without an image.
    """

    root: str
    names: PackedNames
    labels: np.ndarray
    classes: tuple[str, ...]
    strays: Counter
    empty: tuple[str, ...] = ()

    def notes(self) -> tuple[str, ...]:
        """One line about the files that were skipped, if any, and one about the images among them."""
        if not self.strays:
            return ()
        kinds = ", ".join(f"{count} x {kind}" for kind, count in sorted(self.strays.items()))
        reason = "have no image extension or lie beside class folders"
        note = f"{self.root}: skipped {self.strays.total()} files that {reason} ({kinds})"
        unread = image_formats.unread(self.strays)
        return (note, f"{self.root}: has images that are not read: {unread}") if unread else (note,)


def split_folders(root: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """({"train": DIR/train, "test": DIR/test, ...} as far as they exist, notes); mere class folders are "train".

    A folder of such a name is a split only if it contains folders: ``train`` may be a class of vehicles, and ``test``
    unlabelled images.

    Raises:
      InputError: if the folder does not exist, or has test class folders but no train folder.
    """
    if "://" in root:
        raise InputError(
            f"config.data.dir: '{root}' is in a bucket; folders are read from disks: copy it, or prepare shards of it "
            "(python -m ltjax.data.prepare)"
        )
    inside = {entry.name.lower(): entry.path for entry in _entries(root) if entry.is_dir()}
    named = [(split, inside[name]) for split, names in SPLITS.items() for name in names[::-1] if name in inside]
    found = {split: path for split, path in named if any(entry.is_dir() for entry in _entries(path))}
    if not found:
        return {"train": root}, ()
    if "train" not in found:
        raise InputError(
            f"{root}: has {', '.join(found.values())}, but no train/; add it, or set config.data.dir to a folder of "
            "class folders"
        )
    left_out = [path for split, path in named if split not in found]
    return found, tuple(f"{path}: contains no class folders and is skipped" for path in left_out)


def _entries(folder: str) -> list:
    try:
        return list(os.scandir(folder))
    except OSError as error:
        raise InputError(
            f"config.data.dir: '{folder}' cannot be read ({error.strerror or error}); correct the path"
        ) from error


def read_class_folders(root: str, classes: tuple[str, ...] | None = None) -> ClassFolders:
    """All images under ``root``, by class folder; subfolders of a class folder belong to the class.

    Args:
      root: a folder of class folders.
      classes: class names by label; by default the sorted names of the folders.

    Raises:
      InputError: for a folder without class folders, a class folder without an image, or a class folder that is not
        one of ``classes``.
    """
    tree = scan_class_folders(root, classes)
    unknown = tree.classes[len(tree.classes if classes is None else classes) :]
    if unknown:
        raise InputError(
            f"{root}/{unknown[0]}: the training images have no class folder of this name ({len(unknown)} such "
            "folders); add it there, or remove it here"
        )
    if tree.empty:
        raise InputError(
            f"{root}/{tree.empty[0]}: a class folder without an image{_of_other_formats(tree.strays)}; add images, or "
            "remove it"
        )
    return tree


def scan_class_folders(root: str, classes: tuple[str, ...] | None = None) -> ClassFolders:
    """Like ``read_class_folders``, but accepts empty and unknown class folders; unknown ones follow ``classes``.

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
        raise InputError(
            f"{root}/{folders[0]}: a class folder without an image, like all others{_of_other_formats(strays)}; add "
            "images"
        )
    return ClassFolders(root, PackedNames.of(names), np.array(labels, np.int32), tuple(ordered), strays, tuple(empty))


def _of_other_formats(strays: Counter) -> str:
    """ " (not read: 7 x *.svg (...))", for a message; "" if no image was left out."""
    unread = image_formats.unread(strays)
    return f" (not read: {unread})" if unread else ""


def _class_folders(root: str, strays: Counter) -> list[str]:
    entries = _entries(root)
    folders = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    strays.update(_kind(entry.name) for entry in entries if not entry.is_dir())
    if not folders:
        raise InputError(f"{root}: contains no class folders; it needs folders of images, such as rose/ and tulip/")
    return folders


def images_in(root: str, name: str, strays: Counter) -> list[str]:
    """All images in the folder ``name`` of ``root`` ("": ``root`` itself) and its subfolders, except hidden ones.

    Paths relative to ``root``, sorted; links to a parent folder are followed once. Other files are counted in
    ``strays``.
    """
    found, entered, endings = [], set(), image_formats.endings()
    for folder, inside, files in os.walk(os.path.join(root, name), followlinks=True):
        real = os.path.realpath(folder)
        if real in entered:
            inside.clear()
            continue
        entered.add(real)
        inside[:] = sorted(one for one in inside if not one.startswith("."))
        for file in files:
            if file.startswith(".") or not file.lower().endswith(endings):
                strays[_kind(file)] += 1
            else:
                found.append(os.path.join(folder, file)[len(root.rstrip("/")) + 1 :])
    return sorted(found)


def _kind(file: str) -> str:
    """The kind of a stray file: its name if it is hidden or well known, else its extension."""
    if file.startswith("._"):
        return "._*"
    return file if file.startswith(".") or file in ("Thumbs.db", "desktop.ini") else f"*{os.path.splitext(file)[1]}"
