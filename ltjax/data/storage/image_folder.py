"""A folder of class folders: ``rose/17.jpg``, or ``train/rose/17.jpg`` beside ``test/`` or ``val/``."""

import dataclasses
import os
from collections import Counter
from typing import NoReturn

import numpy as np

from ltjax.data import image_formats
from ltjax.data.storage import folder_shapes as shapes
from ltjax.data.storage.packed_names import PackedNames
from ltjax.errors import InputError, shortened


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
        """One line each about skipped files, images among them, and classes that may be a mistake, if there are any."""
        found = []
        if self.strays:
            kinds = ", ".join(f"{count} x {kind}" for kind, count in sorted(self.strays.items()))
            reason = "have no image extension or lie beside class folders"
            found.append(f"{self.root}: skipped {self.strays.total()} files that {reason} ({kinds})")
            unread = image_formats.unread(self.strays)
            found += [f"{self.root}: has images that are not read: {unread}"] if unread else []
        _, inner = self.levels()
        if len(inner) > 1 and len(inner) == len(self.classes):
            example = f"{self.classes[0]}/{inner[self.classes[0]][0]}"
            found.append(
                f"{self.root}: all {len(inner)} classes are folders of folders of images ({example}); for the inner "
                "ones as classes, set config.data.dir to one of the outer ones, or use lists"
            )
        alike: dict[str, str] = {}
        for name in self.classes:
            other = alike.setdefault(shapes.alike(name), name)
            if other != name:
                found.append(f"{self.root}: '{other}' and '{name}', which differ in case or spaces, are two classes")
        return tuple(found)

    def levels(self) -> tuple[dict[str, str], dict[str, list[str]]]:
        """(class with images -> its first image; those without an image of their own -> the folders inside)."""
        examples, inner = {}, {}
        starts = np.sort(np.unique(self.labels, return_index=True)[1])  # unknown classes have the last labels
        ends = np.append(starts[1:], len(self.labels))
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            name = self.classes[int(self.labels[start])]
            examples[name] = self.names[start]
            if "/" not in self.names[start][len(name) + 1 :]:
                continue
            deeper = [self.names[i][len(name) + 1 :] for i in range(start, end)]
            if all("/" in path for path in deeper):
                inner[name] = sorted({path.partition("/")[0] for path in deeper})
        return examples, inner


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
    inside = filter(_is_folder, _entries(root))
    named = [(split, entry.path) for entry in inside if (split := shapes.split_of(entry.name))]
    with_folders = sorted((split, path) for split, path in named if any(map(_is_folder, _entries(path))))
    found: dict[str, str] = {}
    for split, path in with_folders:
        if split in found:
            raise InputError(
                f"{shortened(root)}: both {os.path.basename(found[split])}/ and {os.path.basename(path)}/ could be the "
                f"{split} images; remove or rename one"
            )
        found[split] = path
    if "train" not in found:
        shapes.refuse_unusual_splits(root)
    if not found:
        return {"train": root}, ()
    if "train" not in found:
        raise InputError(
            f"{shortened(root)}: has {', '.join(map(shortened, found.values()))}, but no train/ of class folders; add "
            "it, or set config.data.dir to a folder of class folders"
        )
    left_out = sorted(path for split, path in named if split not in found)
    return found, (
        *(f"{path}: contains no class folders and is skipped" for path in left_out), *shapes.unread_beside_splits(root)
    )  # fmt: skip


def _is_folder(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir() and not shapes.is_leftover(entry.name)


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        return list(os.scandir(folder))
    except OSError as error:
        mend = "unpack it, and name its folder" if folder.lower().endswith(shapes.ARCHIVES) else "correct the path"
        raise InputError(
            f"config.data.dir: '{shortened(folder)}' cannot be read ({error.strerror or error}); {mend}"
        ) from error


def read_class_folders(root: str, classes: tuple[str, ...] | None = None, data_dir: str = "") -> ClassFolders:
    """All images under ``root``, by class folder; subfolders of a class folder belong to the class.

    Args:
      root: a folder of class folders.
      classes: class names by label; by default the sorted names of the folders, of which there are at least two.
      data_dir: config.data.dir, if ``root`` is a split in it.

    Raises:
      InputError: for a folder without class folders, a class folder without an image, a class folder that is not one of
        ``classes``, a single class, or folders that are probably not classes.
    """
    tree = scan_class_folders(root, classes)
    examples, inner = tree.levels()
    if tree.empty and not inner and image_formats.unread(tree.strays):  # class folders, but for their format
        _refuse_empty(tree)
    if classes is None:
        shapes.refuse_misread(root, examples, inner, data_dir or root)
    elif len(tree.classes) > len(classes):
        shapes.refuse_unknown_classes(root, tree.classes[len(classes) :], classes)
    if tree.empty:
        _refuse_empty(tree)
    return tree


def _refuse_empty(tree: ClassFolders) -> NoReturn:
    place, others = shortened(os.path.join(tree.root, tree.empty[0])), _of_other_formats(tree.strays)
    raise InputError(f"{place}: a class folder without an image{others}; add images, or remove it")


def scan_class_folders(root: str, classes: tuple[str, ...] | None = None, data_dir: str = "") -> ClassFolders:
    """Like ``read_class_folders``, but accepts empty, unknown, single and improbable class folders.

    Unknown ones follow ``classes``.

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
        shapes.refuse_formats(root)
        place, others = shortened(os.path.join(root, folders[0])), _of_other_formats(strays)
        raise InputError(f"{place}: a class folder without an image, like all others{others}; add images")
    return ClassFolders(root, PackedNames.of(names), np.array(labels, np.int32), tuple(ordered), strays, tuple(empty))


def _of_other_formats(strays: Counter) -> str:
    """ " (not read: 7 x *.svg (...))", for a message; "" if no image was left out."""
    unread = image_formats.unread(strays)
    return f" (not read: {unread})" if unread else ""


def _class_folders(root: str, strays: Counter) -> list[str]:
    entries = _entries(root)
    folders = sorted(entry.name for entry in entries if _is_folder(entry))
    strays.update(_kind(entry.name) for entry in entries if not entry.is_dir())
    _count_leftovers([entry.name for entry in entries if entry.is_dir()], strays)
    if not folders:
        shapes.refuse_flat(root)
    return folders


def _count_leftovers(folders: list[str], strays: Counter) -> None:
    """Counts the folders that are skipped, but for hidden ones."""
    strays.update(f"{name}/" for name in folders if name in shapes.LEFTOVERS)


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
        _count_leftovers(inside, strays)
        inside[:] = sorted(one for one in inside if not shapes.is_leftover(one))
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
