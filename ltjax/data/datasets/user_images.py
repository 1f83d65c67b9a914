"""The user's images: ``data.name`` is ``folder`` (class folders) or ``list`` (list files)."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping

import numpy as np

from ltjax.data.dataset import Data
from ltjax.data.datasets.assemble import Split, Splits, assemble, check_tested, encoded_source
from ltjax.data.storage import image_folder as folders
from ltjax.data.storage.find_dataset import required_dir
from ltjax.data.storage.folder_shapes import splits_beside
from ltjax.data.storage.image_files import ImageFiles, find_files
from ltjax.data.storage.list_file import ImageList, check_all_classes, check_classes, read_list
from ltjax.data.storage.packed_names import PackedNames
from ltjax.data.storage.paths import open_path
from ltjax.errors import InputError, shortened
from ltjax.settings import DataSettings


def folder(settings: DataSettings) -> Data:
    """A folder of class folders (``config.data.dir``), or one with train/ and test/ or val/ of class folders.

    With all three, val/ is for making choices; with val/ but no test/, it is the test set; with neither, a part of
    every class is held out (``config.data.test_fraction``).
    """
    root = required_dir(settings)
    return assemble("folder", with_class_names(read_folder(root, settings), settings, root), settings)


def read_folder(
    root: str,
    settings: DataSettings,
    read_class_folders: Callable[..., folders.ClassFolders] = folders.read_class_folders,
) -> Splits:
    """The splits of a folder; labels number the training folders, sorted by name.

    With ``read_class_folders=folders.scan_class_folders`` classes may have no image, and test labels may be C or more.
    """
    found, skipped = folders.split_folders(root)
    train = read_class_folders(found.pop("train"), data_dir=root)
    notes = [*skipped, *train.notes(), *(() if found else splits_beside(root))]
    others: dict[str, Split] = {}
    for split, path in found.items():
        tree = read_class_folders(path, train.classes)
        notes += tree.notes()
        others[split] = _of_tree(tree, settings)
    if "test" not in others and "validation" in others:
        others["test"] = others.pop("validation")
        notes.append(f"{root}: there is no test folder; {found['validation']} is the test set")
    return Splits(
        root, _of_tree(train, settings), others.get("test"), others.get("validation"), train.classes, tuple(notes)
    )


def _of_tree(tree: folders.ClassFolders, settings: DataSettings) -> Split:
    files = ImageFiles(tree.root, tree.names)
    return Split(encoded_source(files, tree.labels, settings, files.where, None, files.size), tree.names)


def lists(settings: DataSettings) -> Data:
    """List files (``config.data.train_list``, ``test_list``, ``val_list``) of images under ``config.data.dir``."""
    root = required_dir(settings)
    paths = {split: find_list(root, name) for split, name in list_names(settings).items()}
    return assemble("list", read_lists(root, paths, settings), settings)


def list_names(settings: DataSettings) -> dict[str, str]:
    """ "train", and "test" and "validation" where they are set -> list file; InputError without one for training."""
    if not settings.train_list:
        raise InputError("config.data.train_list is missing: set it to a file with lines 'relative/path label'")
    names = {"train": settings.train_list, "test": settings.test_list, "validation": settings.val_list}
    return {split: name for split, name in names.items() if name}


def find_list(root: str, name: str) -> pathlib.Path:
    """The path of a list: as given, or else under ``root``."""
    inside = open_path(root) / name
    try:
        given = open_path(name)
    except InputError:  # a variable that is not set, unless it is a part of the name
        if inside.exists():
            return inside
        raise
    return inside if not given.exists() and inside.exists() else given


def read_lists(
    root: str,
    paths: Mapping[str, pathlib.Path],
    settings: DataSettings,
    num_classes: int | None = None,
    strict: bool = True,
) -> Splits:
    """The splits of list files.

    Args:
      root: the folder that the paths in the lists are relative to.
      paths: "train", and optionally "test" and "validation" -> list file.
      settings: for ``encoded_source``, and ``class_names``: "", or a file with one name per line, by label.
      num_classes: C, if it is known; else it follows from the training list.
      strict: False accepts labels outside 0 .. C - 1, classes without an image, and missing files.
    """
    listings = {split: read_list(path, root, settings.allow_outside) for split, path in paths.items()}
    train = listings["train"]
    class_names = read_class_names(settings.class_names, root) if settings.class_names else None
    known = num_classes or (class_names and len(class_names)) or None
    classes = check_all_classes(train, known) if strict else known or max(int(train.labels.max()) + 1, 1)
    notes = [note for listing in listings.values() for note in listing.notes]
    for split, listing in listings.items():
        if split != "train":
            if num_classes is not None and strict:
                check_classes(listing, classes)
            if strict:
                check_tested(listing.labels, np.arange(classes), listing.at)
            notes += shared_images(train, listing)
    splits = {split: split_of_listing(root, listing, settings, strict) for split, listing in listings.items()}
    return Splits(
        str(train.path), splits["train"], splits.get("test"), splits.get("validation"),
        class_names or names_by_folder(train.files, train.labels, classes), tuple(notes),
    )  # fmt: skip


def split_of_listing(root: str, listing: ImageList, settings: DataSettings, strict: bool) -> Split:
    files = find_files(root, listing.files, listing.path, listing.lines, strict, listing.unit)
    source = encoded_source(files, listing.labels, settings, files.where, listing.lines - 1, files.size)
    return Split(source, listing.names)


def shared_images(train: ImageList, other: ImageList) -> list[str]:
    """One line if images of ``other`` are also training images."""
    shared, trained = other.files.shared(train.files)
    if not shared.size:
        return []
    line = train.lines[trained[0]]
    return [f"{other.at(int(shared[0]))} is also a training image ({train.unit} {line}; {shared.size} such images)"]


def read_class_names(name: str, root: str) -> tuple[str, ...]:
    """The names in a file, one a line, by label (``config.data.class_names``).

    Raises:
      InputError: for a file that cannot be read, is empty, or repeats a name.
    """
    path = find_list(root, name)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"config.data.class_names: {path} cannot be read as text ({error})") from error
    names = [line.strip() for line in text.splitlines() if line.strip()]
    repeated = sorted({one for one in names if names.count(one) > 1}) if len(set(names)) < len(names) else []
    if not names or repeated:
        what = f"'{repeated[0]}' occurs twice" if repeated else "the file is empty"
        raise InputError(f"config.data.class_names: {path}: {what}; it needs one distinct name per line, by label")
    return tuple(names)


def with_class_names(splits: Splits, settings: DataSettings, root: str) -> Splits:
    """The splits with the names in the file ``config.data.class_names``, where it is set.

    Raises:
      InputError: if that file has not one name for each class.
    """
    if not settings.class_names:
        return splits
    names, classes = read_class_names(settings.class_names, root), len(splits.class_names)
    if len(names) != classes:
        raise InputError(
            f"config.data.class_names: {settings.class_names} has {len(names)} names, and {shortened(splits.where)} "
            f"{classes} classes; it needs one distinct name per line, by label"
        )
    return dataclasses.replace(splits, class_names=names)


def names_by_folder(names: PackedNames, labels: np.ndarray, classes: int) -> tuple[str, ...]:
    """The name of the folder of each class's first image, if all classes have different ones; else the labels.

    Example:
      >>> names_by_folder(PackedNames.of(["train/rose/1.jpg", "train/tulip/2.jpg"]), np.array([0, 1]), 2)
      ('rose', 'tulip')
    """
    present, firsts = np.unique(labels, return_index=True)
    if len(present) != classes or present[0] != 0:
        return tuple(map(str, range(classes)))
    parents = [names[int(i)].rpartition("/")[0].rpartition("/")[2] for i in firsts]
    return tuple(parents) if len(set(parents)) == classes and all(parents) else tuple(map(str, range(classes)))
