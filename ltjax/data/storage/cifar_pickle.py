"""CIFAR in its official Python version: a folder of pickled batches (``cifar-10-batches-py``, ``cifar-100-python``)."""

import dataclasses
import pathlib

import numpy as np

from ltjax.data.balanced_set import BalancedSet, BalancedSpec, check_balanced, check_image_array
from ltjax.data.dataset import Source, array_source, check_labels
from ltjax.data.storage import plain_pickle
from ltjax.errors import InputError

URL = "https://www.cs.toronto.edu/~kriz"


@dataclasses.dataclass(frozen=True)
class Layout:
    """Names in one of the two folders; the file ``marker`` identifies such a folder."""

    folder: str
    archive: str
    marker: str
    train: tuple[str, ...]
    test: str
    labels: bytes


LAYOUTS = {
    "cifar10": Layout(
        folder="cifar-10-batches-py",
        archive="cifar-10-python.tar.gz",
        marker="batches.meta",
        train=tuple(f"data_batch_{number}" for number in range(1, 6)),
        test="test_batch",
        labels=b"labels",
    ),
    "cifar100": Layout(
        folder="cifar-100-python",
        archive="cifar-100-python.tar.gz",
        marker="meta",
        train=("train",),
        test="test",
        labels=b"fine_labels",
    ),
}


def markers(root: pathlib.Path, spec: BalancedSpec) -> list[pathlib.Path]:
    """Where the marker is expected: in the folder under ``root``, or in ``root`` itself."""
    layout = LAYOUTS[spec.name]
    return [root / layout.folder / layout.marker, root / layout.marker]


def how_to_get(root: pathlib.Path, spec: BalancedSpec) -> str:
    """How to get the folder."""
    return f"unpack {URL}/{LAYOUTS[spec.name].archive} in {root}"


def read(path: pathlib.Path, spec: BalancedSpec) -> BalancedSet:
    """The data set in the folder of ``path``, its marker."""
    layout, folder = LAYOUTS[spec.name], path.parent
    batches = [_batch(folder / name, layout.labels) for name in layout.train]
    labels_field = f"{folder}: {layout.labels.decode()} of {', '.join(layout.train)}"
    labels = check_balanced(np.concatenate([labels for _, labels in batches]), spec, labels_field)
    images = np.concatenate([images for images, _ in batches])
    images = check_image_array(images, labels, spec, f"{folder}: data of {', '.join(layout.train)}", "the labels")

    def test() -> Source:
        images, labels = _batch(folder / layout.test, layout.labels)
        field = f"{folder / layout.test}: {layout.labels.decode()}"
        labels = check_labels(labels, spec.num_classes, field)
        images = check_image_array(images, labels, spec, f"{folder / layout.test}: data", field)
        return array_source(images, labels, np.arange(len(labels)))

    everything = np.arange(spec.train_size)
    return BalancedSet(str(folder), labels, everything, lambda positions: images[positions], everything >= 0, test)


def _batch(path: pathlib.Path, labels_name: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Images [N, 32, 32, 3] and labels int64 [N] of one pickled batch, in which images are flat, channels first."""
    try:
        content = plain_pickle.read(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); unpack the archive again") from error
    except plain_pickle.PlainPickleError as error:
        raise InputError(f"{path}: not a Python batch of CIFAR ({error}); unpack the archive again") from error
    if not isinstance(content, dict):
        content = {}
    # Pickled again by Python 3, the names are perhaps text.
    data, labels = (content.get(name, content.get(name.decode())) for name in (b"data", labels_name))
    if data is None or labels is None:
        raise InputError(f"{path}: not a Python batch of CIFAR (no 'data' or no '{labels_name.decode()}' in it)")
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != 3 * 32 * 32:
        what = f"{data.dtype} {list(data.shape)}" if isinstance(data, np.ndarray) else "no array"
        raise InputError(f"{path}: data is {what}; it must be uint8 [N, 3072]")
    return data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), _integers(labels, f"{path}: {labels_name.decode()}")


def _integers(labels: object, field: str) -> np.ndarray:
    """Labels as int64 [N]."""
    if isinstance(labels, np.ndarray) and labels.ndim == 1 and labels.dtype.kind in "iu":
        if not labels.size or int(labels.max()) < 2**63:
            return labels.astype(np.int64)
    elif isinstance(labels, list) and all(type(one) is int and abs(one) < 2**63 for one in labels):
        return np.array(labels, np.int64)
    raise InputError(f"{field}: must be a list of integers; unpack the archive again")
