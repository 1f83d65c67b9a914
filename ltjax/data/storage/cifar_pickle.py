"""CIFAR in its official Python version: a folder of pickled batches (``cifar-10-batches-py``, ``cifar-100-python``)."""

import dataclasses
import pathlib
import pickle
from collections.abc import Mapping

import numpy as np

from ltjax.data.balanced_set import BalancedSet, BalancedSpec, check_balanced, check_image_array
from ltjax.data.dataset import Source, array_source, check_labels
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
    """Images [N, 32, 32, 3] and labels [N] of one pickled batch, in which images are flat, channels first."""
    try:
        with path.open("rb") as file:
            content = _ArrayUnpickler(file, encoding="bytes").load()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); unpack the archive again") from error
    except Exception as error:  # a damaged pickle raises nearly anything
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise InputError(f"{path}: not a Python batch of CIFAR ({reason}); unpack the archive again") from error
    if not isinstance(content, Mapping) or not {b"data", labels_name} <= content.keys():
        raise InputError(f"{path}: not a Python batch of CIFAR (no 'data' or no '{labels_name.decode()}' in it)")
    data = np.asarray(content[b"data"])
    if data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != 3 * 32 * 32:
        raise InputError(f"{path}: data is {data.dtype} {list(data.shape)}; it must be uint8 [N, 3072]")
    return data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), np.asarray(content[labels_name])


class _ArrayUnpickler(pickle.Unpickler):
    """Loads only what numpy arrays consist of, so that a downloaded file cannot run code."""

    def find_class(self, module: str, name: str) -> object:
        # numpy 2.0 moved its internals: the function is taken from an array of the installed numpy instead.
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return np.empty(0).__reduce__()[0]
        if module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        if module == "_codecs" and name == "encode":  # protocol 2 of Python 3 stores an array's bytes this way
            return _latin1_bytes
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def _latin1_bytes(text: str, encoding: str) -> bytes:
    return text.encode("latin1")
