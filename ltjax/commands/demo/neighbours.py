"""The training images whose features are nearest to those of an image.

The features of all training images are computed once, on request, and kept in the workdir (neighbours.npz). Without
them, or without the training data, there are no images to show, and a line says why.
"""

import dataclasses
import hashlib
import io
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from etils import epath

from ltjax.data import Source
from ltjax.data.storage.paths import write_atomically
from ltjax.errors import InputError
from ltjax.inference.model import Model

FILE = "neighbours.npz"
BATCH = 64  # images of a call of the network
BLOCK = 16384  # rows of features that are float32 at a time


class Neighbour(NamedTuple):
    """A training image.

    Attributes:
      label: its class.
      similarity: the cosine between its features and those of the image, up to 1.
      image: uint8 [H, W, channels] as the network gets it; None where the training data is not there.
    """

    label: int
    similarity: float
    image: npt.NDArray[np.uint8] | None


@dataclasses.dataclass(frozen=True)
class Index:
    """The features of the training images.

    Attributes:
      features: float16 [N, D], of length 1.
      labels: int32 [N].
      source: the training images; None where they are not there.
    """

    features: npt.NDArray[np.float16]
    labels: npt.NDArray[np.int32]
    source: Source | None

    def nearest(self, features: npt.ArrayLike, count: int) -> list[list[Neighbour]]:
        """The nearest training images of each row of features [b, D], nearest first.

        Example:
          >>> index = Index(np.eye(3, dtype=np.float16), np.array([0, 1, 2], np.int32), None)
          >>> [(one.label, round(one.similarity, 2)) for one in index.nearest([[0.6, 0.8, 0.0]], 2)[0]]
          [(1, 0.8), (0, 0.6)]
        """
        wanted, blocks = unit(np.asarray(features, np.float32)), range(0, len(self.features), BLOCK)
        cosines = np.concatenate([wanted @ self.features[b : b + BLOCK].astype(np.float32).T for b in blocks], axis=1)
        found = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
        return [
            [Neighbour(int(self.labels[i]), float(row[i]), self._image(int(i))) for i in of_row]
            for row, of_row in zip(cosines, found, strict=True)
        ]

    def _image(self, record: int) -> npt.NDArray[np.uint8] | None:
        try:
            return None if self.source is None else self.source.read(record)
        except (InputError, OSError):  # removed or damaged since
            return None


def unit(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Rows of length 1; a row of zeros stays."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.maximum(lengths, 1e-12)).astype(np.float32)


def key_of(model: Model, training_set: str) -> str:
    """A hash of the network and the training set that the features depend on."""
    import jax

    digest = hashlib.sha256(training_set.encode())
    for path, leaf in jax.tree_util.tree_leaves_with_path(model.variables):
        digest.update(jax.tree_util.keystr(path).encode())
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()


def read_index(workdir: epath.Path, key: str, source: Source | None) -> Index | None:
    """The features in the workdir; None if there are none of this key, or none that can be read."""
    try:
        with np.load(io.BytesIO((workdir / FILE).read_bytes()), allow_pickle=False) as stored:
            if str(stored["key"]) != key:
                return None
            return Index(stored["features"], stored["labels"], source)
    except (OSError, ValueError, KeyError, EOFError):
        return None


def build_index(workdir: epath.Path, key: str, model: Model, source: Source, progress: Callable[[int], None]) -> Index:
    """Computes the features of all training images and keeps them in the workdir.

    Args:
      workdir: the run's.
      key: ``key_of`` the model and the training set.
      model: the model.
      source: the training images.
      progress: gets the number of images that are done.

    Raises:
      InputError: an image that cannot be read, or a workdir that cannot be written.
    """
    rows: list[npt.NDArray[np.float16]] = []
    for images, done in _batches(source):
        features = np.asarray(model(images).features, np.float32)
        rows.append(unit(features)[: done - BATCH * len(rows)].astype(np.float16))
        progress(done)
    index = Index(np.concatenate(rows), np.asarray(source.labels, np.int32), source)
    buffer = io.BytesIO()
    np.savez(buffer, key=np.array(key), features=index.features, labels=index.labels)
    try:
        write_atomically(workdir / FILE, buffer.getvalue())
    except OSError as error:
        raise InputError(f"{workdir / FILE}: cannot be written ({error.strerror or error})") from error
    return index


def _batches(source: Source) -> Iterator[tuple[npt.NDArray[np.uint8], int]]:
    """(uint8 [BATCH, H, W, channels], images so far); the last batch is filled up with zeros."""
    with ThreadPoolExecutor() as pool:
        for begin in range(0, len(source), BATCH):
            records = np.arange(begin, min(begin + BATCH, len(source)))
            if source.read_many is not None:
                images = source.images(records)
            else:
                images = np.stack(list(pool.map(source.read, records.tolist())))
            yield padded(images, BATCH), begin + len(records)


def padded(images: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
    """The images, filled up with zeros to ``size``: one program is compiled."""
    return np.concatenate([images, np.zeros((size - len(images), *images.shape[1:]), np.uint8)])
