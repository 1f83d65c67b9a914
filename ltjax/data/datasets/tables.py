"""Image files with labels in tables: ``data.name`` is ``csv`` (with a header) or ``coco`` (COCO-style JSON).

The files are those of ``config.data.train_list``, ``test_list`` and ``val_list``, as for list files; paths in them are
relative to ``config.data.dir``.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping

import numpy as np

from ltjax.data.dataset import Data
from ltjax.data.datasets.assemble import Splits, assemble
from ltjax.data.datasets.class_labels import number_classes
from ltjax.data.datasets.user_images import find_list, read_class_names, shared_images, split_of_listing
from ltjax.data.storage.coco_json import read_annotations
from ltjax.data.storage.csv_table import IMAGES, LABELS, Table
from ltjax.data.storage.find_dataset import required_dir
from ltjax.data.storage.list_file import ImageList, each_once, normalised
from ltjax.data.storage.packed_names import PackedNames
from ltjax.data.storage.split_files import split_of
from ltjax.errors import InputError, shortened
from ltjax.settings import DataSettings


@dataclasses.dataclass(frozen=True)
class Listed:
    """The images of a split and their labels.

    Attributes:
      images: the images; their labels are not known yet.
      labels: int64 or text (dtype object) [N].
    """

    images: ImageList
    labels: np.ndarray


@dataclasses.dataclass(frozen=True)
class Contents:
    """What the tables say: split -> its images; the names of the classes, or None; notes."""

    splits: dict[str, Listed]
    declared: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()


def csv(settings: DataSettings) -> Data:
    """CSV files with a header; the columns are ``config.data.image_column`` and ``label_column``."""
    return _data("csv", settings, "a CSV file with a header")


def coco(settings: DataSettings) -> Data:
    """COCO-style JSON annotations, such as iNaturalist's."""
    return _data("coco", settings, "a JSON file of annotations")


def _data(name: str, settings: DataSettings, what: str) -> Data:
    root = required_dir(settings)
    if not settings.train_list:
        raise InputError(f"config.data.train_list is missing: set it to {what}")
    names = {"train": settings.train_list, "test": settings.test_list, "validation": settings.val_list}
    paths = {split: find_list(root, name) for split, name in names.items() if name}
    return assemble(name, read_tables(name, root, paths, settings), settings)


def read_tables(
    name: str, root: str, paths: Mapping[str, pathlib.Path], settings: DataSettings, strict: bool = True
) -> Splits:
    """The splits of tables.

    Args:
      name: csv or coco.
      root: the folder that the paths in the tables are relative to.
      paths: "train", and optionally "test" and "validation" -> table.
      settings: of the data set.
      strict: False accepts test labels that no training image has, and missing files.

    Raises:
      InputError: one line that names the table and the line.
    """
    contents = READERS[name](paths, settings)
    declared = read_class_names(settings.class_names, root) if settings.class_names else contents.declared
    listings = {split: _once(listed, declared, root, settings) for split, listed in contents.splits.items()}
    images = {split: listed.images for split, listed in listings.items()}
    classes = number_classes(
        {split: listed.labels for split, listed in listings.items()},
        lambda split, i: images[split].at(i),
        declared,
        strict,
    )
    notes = [*contents.notes, *(note for one in images.values() for note in one.notes), *classes.notes]
    splits = {}
    for split, labels in classes.labels.items():
        listing = dataclasses.replace(images[split], labels=labels)
        notes += shared_images(images["train"], listing) if split != "train" else []
        splits[split] = split_of_listing(root, listing, settings, strict)
    if "test" not in splits and "validation" in splits:
        splits["test"] = splits.pop("validation")
        notes.append(f"{paths['train']}: there are no test images; the validation images are the test set")
    where = str(paths["train"])
    return Splits(where, splits["train"], splits.get("test"), splits.get("validation"), classes.names, tuple(notes))


def _once(listed: Listed, declared: tuple[str, ...] | None, root: str, settings: DataSettings) -> Listed:
    """Each image once, by the path that its name means."""
    distinct, numbers = np.unique(listed.labels, return_inverse=True)

    def called(number: int) -> str:
        label = distinct[number]
        return f"'{shortened(label if declared is None or isinstance(label, str) else declared[label])}'"

    listing = dataclasses.replace(listed.images, labels=numbers.astype(np.int32))
    listing = each_once(normalised(listing, root, settings.allow_outside), called)
    return Listed(listing, distinct[listing.labels])


def _listing(path: str, names: list[str], lines: list[int], unit: str, notes: tuple[str, ...] = ()) -> ImageList:
    packed = PackedNames.of(names)
    empty = next((i for i, name in enumerate(names) if not name), None)
    if empty is not None:
        raise InputError(f"{shortened(path)}, {unit} {lines[empty]}: the path of the image is empty; add it")
    return ImageList(path, packed, packed, np.zeros(len(names), np.int32), np.array(lines, np.int64), notes, unit)


def _read_csv(paths: Mapping[str, pathlib.Path], settings: DataSettings) -> Contents:
    splits: dict[str, Listed] = {}
    notes = []
    for split, path in paths.items():
        table = Table(path)
        names = table.column(settings.image_column, IMAGES, "config.data.image_column")
        labels = np.array(table.column(settings.label_column, LABELS, "config.data.label_column"), object)
        if not settings.split_column:
            splits[split] = Listed(_listing(table.path, names, table.lines, "line"), labels)
            continue
        if split != "train":
            raise InputError(
                f"config.data.split_column: with it config.data.train_list has all splits; leave {split} lists "
                "out, or it"
            )
        said = table.column(settings.split_column, (), "config.data.split_column")
        for own, records, note in _by_split(table, said):
            notes += note
            if own:
                some = [names[i] for i in records], [table.lines[i] for i in records]
                splits[own] = Listed(_listing(table.path, *some, "line"), labels[records])
    return Contents(splits, None, tuple(notes))


def _by_split(table: Table, said: list[str]) -> list[tuple[str, list[int], list[str]]]:
    """(split, its rows, notes): train, test and validation, and "" for rows of any other word."""
    rows: dict[str, list[int]] = {}
    for i, word in enumerate(said):
        rows.setdefault(split_of(word), []).append(i)
    if "train" not in rows:
        words = ", ".join(f"'{shortened(word)}'" for word in sorted(set(said))[:5])
        raise InputError(f"config.data.split_column: no line of {shortened(table.path)} says train; they say {words}")
    notes = []
    for i in rows.get("", [])[:1]:
        count = len(rows[""])
        notes.append(
            f"{table.path}: {count} lines are of no split and are left out, such as line {table.lines[i]}: "
            f"'{shortened(said[i])}'"
        )
    return [(split, some, notes if split == "" else []) for split, some in rows.items()]


def _read_coco(paths: Mapping[str, pathlib.Path], settings: DataSettings) -> Contents:
    del settings
    found = {split: read_annotations(path) for split, path in paths.items()}
    called: dict[int, str] = {}
    for one in found.values():
        for category, name in one.called.items():
            if called.setdefault(category, name) != name:
                raise InputError(
                    f"{shortened(one.path)}: category {category} is '{shortened(name)}', but "
                    f"'{shortened(called[category])}' in {shortened(found['train'].path)}; correct one"
                )
    for one in found.values() if called else ():
        unknown = [i for i, category in enumerate(one.categories) if category >= 0 and category not in called]
        for i in unknown[:1]:
            raise InputError(
                f"{shortened(one.path)}, image {one.numbers[i]}: '{shortened(one.names[i])}' has the category "
                f"{one.categories[i]}, which is not in 'categories' ({len(unknown)} such images); correct it"
            )
    order = sorted(called or {category for one in found.values() for category in one.categories if category >= 0})
    number = {category: k for k, category in enumerate(order)}
    splits = {
        split: Listed(
            _listing(one.path, one.names, one.numbers, "image", one.notes),
            np.array([number.get(category, -1) for category in one.categories], np.int64),
        )
        for split, one in found.items()
    }
    return Contents(splits, tuple(called.get(category, str(category)) for category in order))


READERS: dict[str, Callable[[Mapping[str, pathlib.Path], DataSettings], Contents]] = {
    "csv": _read_csv,
    "coco": _read_coco,
}
