"""Images inside of larger files: ``data.name`` is ``parquet``, ``arrow`` (Hugging Face datasets) or ``webdataset``.

Labels are names or numbers (``class_labels``); the names of Hugging Face's class labels are those of their schema.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np

from ltjax.data.dataset import Data
from ltjax.data.datasets.assemble import Split, Splits, assemble, encoded_source
from ltjax.data.datasets.class_labels import number_classes
from ltjax.data.datasets.user_images import read_class_names
from ltjax.data.storage.arrow_columns import Columns
from ltjax.data.storage.arrow_images import ArrowFile, ArrowImages, read_arrow, saved_splits
from ltjax.data.storage.find_dataset import required_dir
from ltjax.data.storage.packed_names import PackedNames
from ltjax.data.storage.parquet_images import ParquetFile, ParquetImages, read_parquet
from ltjax.data.storage.split_files import split_files, split_of
from ltjax.data.storage.tar_cache import index_tars
from ltjax.data.storage.webdataset import TarImages, TarIndex
from ltjax.errors import InputError, shortened
from ltjax.settings import DataSettings

File = TypeVar("File", ParquetFile, ArrowFile)
SLOW = 8 * 2**20  # bytes of a row group above which reading single images is slow
TOO_SLOW = 512 * 2**20  # above which it is no use


@dataclasses.dataclass(frozen=True)
class Records:
    """The images of a split, as they are in its files.

    Attributes:
      images: ``images(i)`` is the encoded image i, ``images.where(i)`` where it is.
      names: N names of the images, which a run's fingerprint covers.
      labels: int64 or text (dtype object) [N].
      size: record -> bytes of the image, where that is known without reading it.
    """

    images: ParquetImages | ArrowImages | TarImages
    names: PackedNames
    labels: np.ndarray
    size: Callable[[int], int] | None = None


def parquet(settings: DataSettings) -> Data:
    """Parquet files with the bytes of images (``config.data.dir``), such as those of the Hugging Face hub."""
    splits, largest = _read_parquet(required_dir(settings), settings)
    mend = "make shards once: ltjax prepare --format=parquet --folder=DIR --out=SHARDS"
    if largest > TOO_SLOW:
        raise InputError(
            f"{shortened(splits.where)}: has row groups of {largest / 2**20:,.0f} MB, of which every image read by its "
            f"position needs one; {mend}"
        )
    if largest > SLOW:
        slow = f"{splits.where}: has row groups of {largest / 2**20:,.0f} MB, which makes reading slow; {mend}"
        splits = dataclasses.replace(splits, notes=(*splits.notes, slow))
    return assemble("parquet", splits, settings)


def arrow(settings: DataSettings) -> Data:
    """A folder that ``save_to_disk`` of Hugging Face datasets wrote (``config.data.dir``), or other Arrow files."""
    return assemble("arrow", read_arrow_files(required_dir(settings), settings), settings)


def webdataset(settings: DataSettings) -> Data:
    """Tar files of samples (``config.data.dir``)."""
    return assemble("webdataset", read_webdataset(required_dir(settings), settings), settings)


def read_parquet_files(root: str, settings: DataSettings) -> Splits:
    """The splits of Parquet files, found by their names; reads labels and no image."""
    return _read_parquet(root, settings)[0]


def _read_parquet(root: str, settings: DataSettings) -> tuple[Splits, int]:
    """(the splits, the bytes of the images in the largest row group)."""
    paths, notes = split_files(root, (".parquet", ".pq"), "Parquet files")
    splits, files = _columnar(root, paths, notes, settings, read_parquet, ParquetImages.of)
    return splits, max(int(file.group_bytes.max(initial=0)) for file in files)


def read_arrow_files(root: str, settings: DataSettings) -> Splits:
    """The splits of a saved data set, or of Arrow files by their names; reads labels and no image."""
    saved = saved_splits(root)
    paths, notes = split_files(root, (".arrow",), "Arrow files") if saved is None else _usual(root, saved)
    return _columnar(root, paths, notes, settings, read_arrow, ArrowImages.of)[0]


def _columnar(
    root: str,
    paths: Mapping[str, list[str]],
    notes: tuple[str, ...],
    settings: DataSettings,
    read: Callable[[str, str, str], File],
    images: Callable[[list[File]], ParquetImages | ArrowImages],
) -> tuple[Splits, list[File]]:
    """(the splits of files with columns, the files); ``read(path, image column, label column)`` reads one."""
    files = {
        split: [read(path, settings.image_column, settings.label_column) for path in some]
        for split, some in paths.items()
    }
    every = [file for some in files.values() for file in some]
    declared = _declared(every)
    found = {split: _of_files(root, some, images(some)) for split, some in files.items()}
    return _splits(root, found, declared, notes, settings), every


def _usual(root: str, saved: Mapping[str, list[str]]) -> tuple[dict[str, list[str]], tuple[str, ...]]:
    """train, test and validation of a saved data set, whatever it calls them."""
    found: dict[str, list[str]] = {}
    notes = []
    for name, paths in saved.items():
        split = split_of(name)
        if not split or split in found:
            notes.append(f"{root}: the split '{name}' is not read")
        else:
            found[split] = paths
    if "train" not in found:
        raise InputError(
            f"{shortened(root)}: has the splits {', '.join(saved)}, but none of the training images; save it with a "
            "split called train"
        )
    return found, tuple(notes)


def read_webdataset(root: str, settings: DataSettings) -> Splits:
    """The splits of tar files, found by their names; reads headers and labels, or the index beside the files."""
    paths, notes = split_files(root, (".tar",), "tar files")
    found: dict[str, Records] = {}
    for split, some in paths.items():
        tars = index_tars(root, some, settings.image_column, settings.label_column, settings.keep_labels)
        notes = (*notes, *(note for tar in tars for note in tar.notes))
        if not any(len(tar.labels) for tar in tars):
            raise InputError(
                f"{shortened(some[0])}: {'has' if len(some) == 1 else 'and the others of the split have'} no sample "
                "with an image; set config.data.image_column to the ending of the images"
            )
        images = TarImages.of(tars)
        names = PackedNames.of(_member_names(root, tars))
        found[split] = Records(images, names, np.concatenate([tar.labels for tar in tars]), images.size)
    return _splits(root, found, None, notes, settings)


def _member_names(root: str, tars: list[TarIndex]) -> Iterator[str]:
    return (f"{_relative(tar.path, root)}/{name}" for tar in tars for name in tar.names)


def _relative(path: str, root: str) -> str:
    return os.path.basename(path) if path == root else os.path.relpath(path, root)


def _of_files(
    root: str, files: Sequence[ParquetFile] | Sequence[ArrowFile], images: ParquetImages | ArrowImages
) -> Records:
    names = PackedNames.of(f"{_relative(file.path, root)}[{row}]" for file in files for row in range(len(file.labels)))
    labels = [file.labels for file in files]
    if len({one.dtype for one in labels}) > 1:
        raise InputError(f"{shortened(root)}: its files have labels of different types; write them alike")
    return Records(images, names, np.concatenate(labels))


def _declared(files: Sequence[ParquetFile] | Sequence[ArrowFile]) -> tuple[str, ...] | None:
    """The class names of the schemas.

    Raises:
      InputError: if the files have different columns or class names.
    """
    first: Columns = files[0].columns
    for file in files:
        if file.columns != first:
            raise InputError(
                f"{shortened(file.path)}: has other class names or columns than {shortened(files[0].path)}; write both "
                "with the same features"
            )
    return first.class_names


def _splits(
    root: str,
    found: dict[str, Records],
    declared: tuple[str, ...] | None,
    notes: tuple[str, ...],
    settings: DataSettings,
) -> Splits:
    """The splits with their classes; the validation images are the test images where there are no others."""
    declared = read_class_names(settings.class_names, root) if settings.class_names else declared
    for split, records in found.items():
        if not len(records.labels):
            raise InputError(f"{shortened(root)}: there are no {split} images; get the files again, or remove them")
    classes = number_classes(
        {split: records.labels for split, records in found.items()},
        lambda split, i: shortened(found[split].images.where(i)),
        declared,
    )
    splits = {
        split: Split(
            encoded_source(found[split].images, labels, settings, found[split].images.where, None, found[split].size),
            found[split].names,
        )
        for split, labels in classes.labels.items()
    }
    notes = (*notes, *classes.notes)
    if "test" not in splits and "validation" in splits:
        splits["test"] = splits.pop("validation")
        notes = (*notes, f"{root}: there are no test images with labels; the validation images are the test set")
    return Splits(root, splits["train"], splits.get("test"), splits.get("validation"), classes.names, notes)


READERS: dict[str, Callable[[str, DataSettings], Splits]] = {
    "parquet": read_parquet_files,
    "arrow": read_arrow_files,
    "webdataset": read_webdataset,
}
