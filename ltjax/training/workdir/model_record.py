"""model.json: what using a trained model takes beside its weights and config, so that it needs no training data.

With config.json and the last stage's checkpoints a workdir is whole: ``finished_run.open_model`` makes the network, its
prediction and its variables of these alone. The file is written when the run ends, before results.json.
"""

import dataclasses
import json
import logging
from collections.abc import Mapping, Sequence
from typing import NoReturn

import jax
import numpy as np
from etils import epath

from ltjax.data import Data, Source
from ltjax.data.label_sets import LabelSets
from ltjax.data.storage.paths import write_atomically
from ltjax.errors import InputError
from ltjax.settings import Settings
from ltjax.training.preprocessing import data_settings
from ltjax.training.workdir.json_files import Record
from ltjax.training.workdir.results import versions
from ltjax.version import __version__

FILE = "model.json"


@dataclasses.dataclass(frozen=True)
class ModelRecord:
    """What the network gets and what its outputs mean.

    Attributes:
      dataset: the data set's name.
      class_counts: training images of each class, C numbers.
      class_names: C names, or None.
      image_shape: (H, W, channels) of the uint8 images that the network gets.
      resize: pixels of an image's shorter side before the central H x W crop.
      mean, std: per channel, for images scaled to 0 .. 1; the network applies them.
      interpolation: of the resizing, "bilinear" or "bicubic".
      split: what the run was evaluated on, test or validation.
      validation: whether the data set has validation images beside them.
      train_index_sha256: the fingerprint of the training images.
      fingerprint: of data and config, as the checkpoints have it.
      images: training images, where they have several labels; None = one label each, so as many as the counts say.
    """

    dataset: str
    class_counts: tuple[int, ...]
    class_names: tuple[str, ...] | None
    image_shape: tuple[int, int, int]
    resize: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    split: str
    validation: bool
    train_index_sha256: str
    fingerprint: str
    images: int | None = None
    interpolation: str = "bilinear"

    @property
    def several_labels(self) -> bool:
        """Whether a logit is that of a sigmoid, and an image has any number of classes."""
        return self.images is not None

    def data(self) -> Data:
        """The data set without its images, from which a method makes the same networks and predictions.

        The training labels are in class order. Test and validation have an image of each class.
        """
        classes = len(self.class_counts)
        train = _without_images(np.repeat(np.arange(classes), self.class_counts))
        one_each = _without_images(np.arange(classes))
        if self.images is not None:
            train, one_each = _of_several(self.images, self.class_counts), _of_several(classes, (1,) * classes)
        return Data(
            self.dataset, train, one_each, self.split, classes, np.array(self.class_counts, np.int64), self.image_shape,
            self.mean, self.std, self.class_names, self.train_index_sha256, one_each if self.validation else None,
        )  # fmt: skip

    @property
    def names(self) -> tuple[str, ...]:
        """The classes' names, or else their numbers."""
        return self.class_names or tuple(str(label) for label in range(len(self.class_counts)))


def _without_images(labels: np.ndarray) -> Source:
    return Source(labels.astype(np.int32), np.arange(len(labels), dtype=np.int64), _absent, encoded=_absent)


def _of_several(images: int, counts: Sequence[int]) -> Source:
    """As many images as there were, of which each class has as many as it had: the first ones."""
    owners = np.concatenate([np.arange(count) for count in counts])
    order = np.argsort(owners, kind="stable")
    classes = np.repeat(np.arange(len(counts)), counts)[order].astype(np.int32)
    sets = LabelSets(classes, np.cumsum(np.bincount(owners, minlength=images)))
    return dataclasses.replace(_without_images(sets.rarest(np.asarray(counts))), label_sets=sets)


def _absent(record: int) -> NoReturn:
    raise InputError(f"image {record}: a workdir keeps no training images; this method cannot be used without them")


def record_of(config: Settings, data: Data, fingerprint: str) -> ModelRecord:
    """The record of a run; ``fingerprint`` is that of data and config.

    Image files are resized and cropped as config.data says; a data set of small images (CIFAR, MNIST) has one size, to
    which other images are resized.
    """
    return ModelRecord(
        dataset=data.name,
        class_counts=tuple(int(n) for n in data.class_counts),
        class_names=data.class_names,
        image_shape=data.image_shape,
        resize=data_settings(config).resize if data.test.encoded is not None else min(data.image_shape[:2]),
        mean=tuple(float(x) for x in data.mean),
        std=tuple(float(x) for x in data.std),
        split=data.split,
        validation=data.validation is not None,
        train_index_sha256=data.fingerprint,
        fingerprint=fingerprint,
        images=None if data.train.label_sets is None else len(data.train),
        interpolation=data_settings(config).interpolation,
    )


def write_model_record(folder: epath.Path, config: Settings, data: Data, fingerprint: str) -> None:
    """Writes model.json; the first process does."""
    if jax.process_index() == 0:
        record = to_json(config, record_of(config, data, fingerprint))
        write_atomically(folder / FILE, json.dumps(record, indent=2) + "\n")


def to_json(config: Settings, model: ModelRecord) -> Record:
    """What model.json holds: the record, the method, and the versions that write it."""
    about = {"format": 1, "method": config.method, "versions": {"ltjax": __version__} | versions()}
    fields = dataclasses.asdict(model)
    if model.images is None:  # as in records of one label an image from before
        del fields["images"]
    return about | fields


def read_model_record(folder: epath.Path) -> ModelRecord | None:
    """The record in a workdir; None if there is none that can be read (which is reported)."""
    path = folder / FILE
    try:
        return _from_json(json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        logging.getLogger("ltjax").warning("%s cannot be read (%s): the data is read in its place", path, error)
        return None


def _from_json(stored: Mapping[str, object]) -> ModelRecord:
    named = [field.name for field in dataclasses.fields(ModelRecord)]
    added = ("images", "interpolation")  # older runs have no such entries
    fields = {name: stored[name] for name in named if name not in added or name in stored}
    made = ModelRecord(**{k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()})  # type: ignore[arg-type]
    _, _, channels = made.image_shape
    numbers = {int: (*made.class_counts, *made.image_shape, made.resize), float: (*made.mean, *made.std)}
    if made.images is not None:
        numbers[int] += (made.images,)
    if not all(type(one) is kind for kind, each in numbers.items() for one in each):
        raise TypeError("numbers of a wrong type")
    if not len(made.mean) == len(made.std) == channels or len(made.names) != len(made.class_counts):
        raise ValueError("lists of different lengths")
    return made
