"""Reads data sets that TensorFlow Datasets prepared as array_record, by position and without TensorFlow."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ltjax.data.storage.paths import open_path
from ltjax.errors import InputError

if TYPE_CHECKING:
    from tensorflow_datasets.core import DatasetBuilder

PREPARED_BY_LTJAX = ("cifar10", "cifar100", "imagenet_lt", "places_lt")  # which needs no TensorFlow
DESCRIPTION = "dataset_info.json"


def description_paths(folder: pathlib.Path, version: str | None = None) -> list[pathlib.Path]:
    """The dataset_info.json of this or the newest version in ``folder`` (NAME, in TFDS's layout).

    If there is none, the path, or the pattern, where it is expected.
    """
    if version:
        return [folder / version / DESCRIPTION]
    found = [path for path in folder.glob(f"*/{DESCRIPTION}") if version_of(path)] if folder.is_dir() else []
    return [max(found, key=version_of)] if found else [folder / "*" / DESCRIPTION]


def version_of(path: pathlib.Path) -> tuple[int, ...]:
    """(3, 0, 2) of ``3.0.2/dataset_info.json``; () if the folder is not named after a version."""
    match = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)", path.parent.name)
    return tuple(int(part) for part in match.groups()) if match else ()


def how_to_prepare(root: pathlib.Path, name: str) -> str:
    """The command that prepares the data set ``name`` under ``root``."""
    if name in PREPARED_BY_LTJAX:
        return f"python -m ltjax.data.prepare_tfds {name} --dir={root}"
    program = (
        f"import tensorflow_datasets as tfds; tfds.builder('{name}', data_dir='{root}', "
        "file_format='array_record').download_and_prepare()"
    )
    return f'pip install tensorflow && python -c "{program}"'


def open_builder(folder: str | os.PathLike[str]) -> DatasetBuilder:
    """The builder of a prepared folder, NAME/VERSION.

    Raises:
      InputError: if TFDS is not installed or cannot read the folder, or the file format is another one.
    """
    try:
        import tensorflow_datasets as tfds
    except ImportError:
        raise InputError('config.data: reading tfds needs TensorFlow Datasets: pip install "ltjax[train]"') from None
    try:
        builder = tfds.builder_from_directory(folder)
        file_format = builder.info.file_format.value
    except Exception as error:
        raise _unreadable(folder, error) from error
    if file_format != "array_record":
        root = open_path(folder).parent.parent
        raise InputError(
            f"{folder}: prepared as {file_format}, which cannot be read by position; move it away and prepare it as "
            f"array_record: {how_to_prepare(root, builder.name)}"
        )
    return builder


def read_features(folder: str, split: str, names: Sequence[str]) -> dict[str, list[Any]]:
    """Some features of all records of a split, in order; the others are not decoded. 20,000 records/s.

    Args:
      folder: NAME/VERSION.
      split: as TFDS names it.
      names: names of the features, such as ``label`` and ``id``.

    Returns:
      name -> the values as TFDS decodes them.
    """
    builder = open_builder(folder)
    try:
        import tensorflow_datasets as tfds

        partial = tfds.features.FeaturesDict({name: builder.info.features[name] for name in names})
        serialized = builder.as_data_source(split).data_source
        records = [partial.deserialize_example_np(serialized[i]) for i in range(len(serialized))]
    except Exception as error:
        raise _unreadable(f"{folder}: {split}", error) from error
    return {name: [record[name] for record in records] for name in names}


def read_images(folder: str, split: str, positions: np.ndarray, feature: str = "image") -> np.ndarray:
    """The decoded images at these positions [B] of a split: [B, H, W, C]; all must have the same shape."""
    builder = open_builder(folder)
    try:
        records = builder.as_data_source(split)
        return np.stack([records[int(position)][feature] for position in positions])
    except Exception as error:
        raise _unreadable(f"{folder}: {split}", error) from error


@dataclasses.dataclass(frozen=True)
class TfdsImages:
    """``images(i)`` is the encoded image i of a split; picklable.

    Every process opens the records when it first reads from them.

    Attributes:
      folder: NAME/VERSION.
      split: as TFDS names it.
      feature: the name of the image feature.
    """

    folder: str
    split: str
    feature: str
    # process id -> records
    _open: dict[int, Sequence[Mapping[str, bytes]]] = dataclasses.field(default_factory=dict, compare=False, repr=False)
    _lock: threading.Lock = dataclasses.field(default_factory=threading.Lock, compare=False, repr=False)

    def __reduce__(self) -> tuple[type[TfdsImages], tuple[str, str, str]]:
        return TfdsImages, (self.folder, self.split, self.feature)

    def where(self, position: int) -> str:
        """The split and the record's number, for messages."""
        return f"{self.folder}: {self.split}[{position}]"

    def __call__(self, position: int) -> bytes:
        try:
            encoded: bytes = self._records()[position][self.feature]
        except InputError:
            raise
        except Exception as error:
            raise _unreadable(f"{self.folder}: {self.split}", error) from error
        return encoded

    def _records(self) -> Sequence[Mapping[str, bytes]]:
        process = os.getpid()
        with self._lock:
            if process not in self._open:
                builder = open_builder(self.folder)
                import tensorflow_datasets as tfds

                decoders = {self.feature: tfds.decode.SkipDecoding()}
                self._open[process] = builder.as_data_source(self.split, decoders=decoders)
            return self._open[process]


def _unreadable(where: object, error: Exception) -> InputError:
    reason = f"{type(error).__name__}: {error}".splitlines()[0]
    return InputError(f"{where}: TFDS cannot read it ({reason}); remove it and prepare it again")
