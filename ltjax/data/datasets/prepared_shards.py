"""Prepared shards as a data set: the manifest is checked against the files, and becomes splits."""

import os
from typing import Any

import numpy as np

from ltjax.data.dataset import Data
from ltjax.data.datasets.assemble import Split, Splits, assemble, encoded_source, several_classes
from ltjax.data.datasets.user_images import with_class_names
from ltjax.data.storage.cifar_npz import open_arrays
from ltjax.data.storage.find_dataset import required_dir
from ltjax.data.storage.packed_names import PackedNames
from ltjax.data.storage.paths import open_path
from ltjax.data.storage.shards import MANIFEST, PREPARE_AGAIN, ShardImages, file_sha256, read_manifest
from ltjax.errors import InputError, shortened
from ltjax.settings import DataSettings


def shards(settings: DataSettings) -> Data:
    """Prepared shards (``config.data.dir``)."""
    root = required_dir(settings)
    splits = with_class_names(several_classes(read_shards(root, settings)), settings, root)
    return assemble("shards", splits, settings)


def read_shards(root: str, settings: DataSettings) -> Splits:
    """The splits of prepared shards; checks the size of every file against the manifest, and reads no image.

    Raises:
      InputError: for a missing, truncated or wrong file, or a wrong manifest; one line with the path.
    """
    if "://" in root:
        raise InputError(f"config.data.dir: '{root}' is in a bucket; shards are read from disks: mount it, or copy it")
    manifest = read_manifest(root)
    try:
        class_names = tuple(manifest["class_names"])
        if not all(isinstance(name, str) for name in class_names):
            raise TypeError("a class name is not text")
        splits = {name: _split(root, split, len(class_names), settings) for name, split in manifest["splits"].items()}
        return Splits(root, splits["train"], splits.get("test"), splits.get("validation"), class_names)
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{root}/{MANIFEST}: incomplete ({error}); {PREPARE_AGAIN}") from error


def _split(root: str, split: dict[str, Any], classes: int, settings: DataSettings) -> Split:
    for file in (split["index"], *split["shards"]):
        if os.path.basename(file["file"]) != file["file"]:
            raise InputError(f"{root}/{MANIFEST}: '{shortened(file['file'])}' is not a file beside it; {PREPARE_AGAIN}")
        path = os.path.join(root, file["file"])
        size = os.path.getsize(path) if os.path.isfile(path) else None
        if size != file["bytes"]:
            what = "does not exist" if size is None else f"has {size} bytes, but the manifest says {file['bytes']}"
            raise InputError(f"{path}: {what}; {PREPARE_AGAIN}")
    path = os.path.join(root, split["index"]["file"])
    if file_sha256(path) != split["index"]["sha256"]:
        raise InputError(f"{path}: its hash differs from the manifest; {PREPARE_AGAIN}")
    with open_arrays(open_path(path)) as arrays:
        labels, index, ends = arrays["labels"], arrays["index"], arrays["name_ends"]
        names = PackedNames(arrays["names"].tobytes(), np.concatenate([[0], ends[:-1]]).astype(np.int64), ends)
    bounds = np.cumsum([0, *(shard["records"] for shard in split["shards"])])
    counts = np.bincount(labels, minlength=classes).tolist()
    if bounds[-1] != len(labels) or counts != split["class_counts"]:
        raise InputError(f"{root}/{MANIFEST}: its counts differ from {split['index']['file']}; {PREPARE_AGAIN}")
    files = ShardImages(tuple(os.path.join(root, shard["file"]) for shard in split["shards"]), bounds, labels, index)
    return Split(encoded_source(files, labels, settings, files.where, index), names)
