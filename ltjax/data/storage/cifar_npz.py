"""A data set in one ``.npz`` file, as ``python -m ltjax.data.convert`` writes it.

Fields:
  train_images  uint8 [N, 32, 32, 3], any part of the training set
  train_index   integer [N], their positions in the official order (0 .. 49999)
  train_labels  integer [50000], the labels of the WHOLE training set in the official order: the long-tailed selection
                shuffles all images of a class, so it also needs the labels of images that it does not keep
  test_images   uint8 [T, 32, 32, 3]
  test_labels   integer [T]
The official order is that of the Python batches: data_batch_1 .. data_batch_5 concatenated, or train. TFDS's ``id`` has
the same numbers.
"""

import contextlib
import pathlib
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping

import numpy as np

from ltjax.data.balanced_set import BalancedSet, BalancedSpec, check_balanced, check_image_array
from ltjax.data.dataset import Source, array_source, check_index, check_labels
from ltjax.errors import InputError

# What numpy and zipfile raise for a damaged or crafted file, of an array of terabytes as well.
DAMAGED = (
    OSError, EOFError, ValueError, KeyError, TypeError, SyntaxError, MemoryError, RecursionError, NotImplementedError,
    struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
FIELDS = ("train_images", "train_index", "train_labels", "test_images", "test_labels")


def markers(root: pathlib.Path, spec: BalancedSpec) -> list[pathlib.Path]:
    """Where the file is expected."""
    return [root] if root.suffix == ".npz" else [root / f"{spec.name}.npz"]


def how_to_get(root: pathlib.Path, spec: BalancedSpec) -> str:
    """How to get the file."""
    return f"make {markers(root, spec)[0]} with python -m ltjax.data.convert (see --help)"


def read(path: pathlib.Path, spec: BalancedSpec) -> BalancedSet:
    """The data set in the file; the images are read on demand."""
    labels = check_balanced(_field(path, "train_labels"), spec, f"{path}: train_labels")
    index = check_index(_field(path, "train_index"), spec.train_size, f"{path}: train_index")
    row = np.full(spec.train_size, -1)
    row[index] = np.arange(len(index))

    def images(positions: np.ndarray) -> np.ndarray:
        train_images = _field(path, "train_images")
        return check_image_array(train_images, index, spec, f"{path}: train_images", "train_index")[row[positions]]

    def test() -> Source:
        test_labels = check_labels(_field(path, "test_labels"), spec.num_classes, f"{path}: test_labels")
        test_images = _field(path, "test_images")
        test_images = check_image_array(test_images, test_labels, spec, f"{path}: test_images", "test_labels")
        return array_source(test_images, test_labels, np.arange(len(test_labels)))

    return BalancedSet(str(path), labels, np.arange(spec.train_size), images, row >= 0, test)


def _field(path: pathlib.Path, name: str) -> np.ndarray:
    with open_arrays(path) as arrays:
        if name not in arrays:
            raise InputError(f"{path}: no field '{name}'; it has {', '.join(arrays)}, but needs {', '.join(FIELDS)}")
        return arrays[name]


@contextlib.contextmanager
def open_arrays(path: pathlib.Path) -> Iterator[Mapping[str, np.ndarray]]:
    """The fields of an ``.npz``, or {"": array} for an ``.npy``; every error is one line with the path.

    Object arrays are rejected, so nothing in the file is ever executed.
    """
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            yield {"": loaded} if isinstance(loaded, np.ndarray) else loaded
    except InputError:
        raise
    except DAMAGED as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: cannot be read as .npz or .npy ({reason})") from error
