"""Data sets, samplers and batches. Importing it loads numpy only; ``loading/device_batches`` alone loads jax.

From bottom to top; each may import those above it in this list:

    sampling   pure functions from a position to a record, and the random words they use
    augment    decoding, crops and other augmentation
    dataset    what a data set is: ``Source`` and ``Data``; ``balanced_set`` describes one before it is made long-tailed
    storage    the file formats in which data sets are stored
    datasets   one function for each data set, from ``config.data`` to ``Data``
    loading    batches, on the host and on the device

A new data set needs one file in ``datasets`` and one line in ``DATASETS``; ``dataset`` defines what its function
returns.
"""

from collections.abc import Callable

from ltjax.data.augment.registry import find_transform
from ltjax.data.dataset import Data, Source, check_data, data_from_arrays
from ltjax.data.datasets.cifar import cifar10, cifar100
from ltjax.data.datasets.holdout import hold_out
from ltjax.data.datasets.lt_benchmarks import imagenet_lt, inat2018, places_lt
from ltjax.data.datasets.mnist import mnist5k
from ltjax.data.datasets.multilabel_lists import multilabel_lists
from ltjax.data.datasets.prepared_shards import shards
from ltjax.data.datasets.records import arrow, parquet, webdataset
from ltjax.data.datasets.tables import coco, csv
from ltjax.data.datasets.tfds_images import tfds
from ltjax.data.datasets.user_images import folder, lists
from ltjax.settings import DataSettings
from ltjax.settings.user_code import lookup

__all__ = ["DATASETS", "Data", "Source", "build", "data_from_arrays", "hold_out"]

DATASETS: dict[str, Callable[[DataSettings], Data]] = {
    "mnist5k": mnist5k,
    "cifar10": cifar10,
    "cifar100": cifar100,
    "imagenet_lt": imagenet_lt,
    "places_lt": places_lt,
    "inat2018": inat2018,
    "folder": folder,
    "list": lists,
    "multilabel_list": multilabel_lists,
    "csv": csv,
    "coco": coco,
    "parquet": parquet,
    "arrow": arrow,
    "webdataset": webdataset,
    "shards": shards,
    "tfds": tfds,
}


def build(settings: DataSettings) -> Data:
    """Builds and validates the data set that ``config.data`` describes.

    Args:
      settings: ``config.data``.

    Raises:
      InputError: one line that names the setting or the file and says what to do.

    Example:
      >>> build(DataSettings(name="mnist5k", imbalance=40.0, augment="pad_crop")).class_counts.tolist()
      [400, 265, 176, 116, 77, 51, 34, 22, 15, 10]
    """
    find_transform(settings.augment)
    return check_data(lookup(DATASETS, settings.name, "config.data.name")(settings))
