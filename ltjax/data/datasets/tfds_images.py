"""Any image classification set that TensorFlow Datasets has prepared as array_record, read without TensorFlow.

Pictures stay encoded until they are needed. Labels are read once and kept beside the data.
"""

import contextlib
import dataclasses
import io
import os
import re
import threading
from typing import Any

import numpy as np

from ltjax.data.dataset import Data
from ltjax.data.datasets.assemble import Split, Splits, assemble, check_tested, picture_source
from ltjax.data.storage.cifar_tfds import prepared
from ltjax.data.storage.find_dataset import data_root
from ltjax.data.storage.paths import open_path, write_atomically
from ltjax.errors import InputError

# names of a split of ours -> how TFDS's sets call it, the first one that is there
SPLITS = {"train": ("train",), "test": ("test",), "validation": ("validation", "val")}
OWN = ("cifar10", "cifar100", "imagenet_lt", "places_lt")  # that ltjax prepares without TensorFlow


def tfds(settings: Any) -> Data:
    """``config.data.tfds`` is NAME or NAME:VERSION (NAME/CONFIG too) of a set that TFDS has prepared.

    The test split is tested on; where there is none, or its labels are not public, the validation split.
    """
    match = re.fullmatch(r"([\w./-]+?)(?::(\d+\.\d+\.\d+))?", settings.tfds)
    if match is None:
        raise InputError(
            f"config.data.tfds: '{settings.tfds}' is not possible; NAME or NAME:VERSION, such as cifar10:3.0.2"
        )
    name, version = match.groups()
    root = data_root(settings)
    looked = places(root, name, version)
    if not looked[0].exists():
        raise InputError(f"config.data.tfds: {looked[0]} is not there; to prepare it: {how(root, name)}")
    return assemble(name, read(looked[0].parent, None, settings), settings)


def places(root: Any, name: str, version: str | None = None) -> list:
    """The description of this or the newest prepared version, or the pattern of where one would be."""
    if version:
        return [root / name / version / "dataset_info.json"]
    return prepared(root / name)


def how(root: Any, name: str) -> str:
    """The command that prepares the data set."""
    if name in OWN:
        return f"python -m ltjax.data.prepare_tfds {name} --dir={root}"
    program = (
        f"import tensorflow_datasets as tfds; tfds.builder('{name}', data_dir='{root}', "
        "file_format='array_record').download_and_prepare()"
    )
    return f'pip install tensorflow && python -c "{program}"'


@dataclasses.dataclass(frozen=True)
class TfdsFiles:
    """``files(i)`` is the bytes of picture i of a split; opened when first read, in every process anew."""

    folder: str
    split: str
    key: str
    _open: dict = dataclasses.field(default_factory=dict, compare=False, repr=False)
    _lock: Any = dataclasses.field(default_factory=threading.Lock, compare=False, repr=False)

    def __reduce__(self) -> Any:
        return TfdsFiles, (self.folder, self.split, self.key)

    def where(self, position: int) -> str:
        """For messages."""
        return f"{self.folder}: {self.split}[{position}]"

    def __call__(self, position: int) -> bytes:
        try:
            return self._records()[position][self.key]
        except InputError:
            raise
        except Exception as error:
            raise unreadable(f"{self.folder}: {self.split}", error) from error

    def _records(self) -> Any:
        process = os.getpid()
        if process not in self._open:
            with self._lock:
                self._open[process] = _skipping(open_builder(self.folder), self.split, self.key)
        return self._open[process]


def _skipping(builder: Any, split: str, image: str) -> Any:
    import tensorflow_datasets

    return builder.as_data_source(split, decoders={image: tensorflow_datasets.decode.SkipDecoding()})


def open_builder(folder: Any) -> Any:
    """The builder of a prepared folder.

    Raises:
      InputError: when TFDS is not installed or cannot read it, or it is in another file format.
    """
    try:
        import tensorflow_datasets
    except ImportError:
        raise InputError('config.data: tfds needs TensorFlow Datasets; pip install "ltjax[train]"') from None
    try:
        builder = tensorflow_datasets.builder_from_directory(folder)
        file_format = builder.info.file_format.value
    except Exception as error:
        raise unreadable(folder, error) from error
    if file_format != "array_record":
        root = open_path(folder).parent.parent
        raise InputError(
            f"{folder}: prepared as {file_format}, which cannot be read by position; move it away and prepare it as "
            f"array_record: {how(root, builder.name)}"
        )
    return builder


def unreadable(where: Any, error: Exception) -> InputError:
    """One line about what TFDS raised."""
    reason = f"{type(error).__name__}: {error}".splitlines()[0]
    return InputError(f"{where}: TFDS cannot read it ({reason}); remove it and prepare it again")


def read(folder: Any, names: dict[str, str] | None, settings: Any) -> Splits:
    """The splits of a prepared folder.

    Args:
      folder: NAME/VERSION.
      names: split -> its name there; without, the usual ones that are there.
      settings: of ``picture_source``; with ``keep_labels`` False nothing is written beside the data.
    """
    folder = str(folder)
    builder = open_builder(folder)
    image, label = _features(builder, folder)
    there = builder.info.splits
    if names is None:
        found = {split: [name for name in SPLITS[split] if name in there] for split in SPLITS}
        names = {split: some[0] for split, some in found.items() if some}
    for name in ("train", *names.values()):
        if name not in there:
            raise InputError(f"{folder}: has no split '{name}' (it has {', '.join(there)}); prepare it again")
    keep = getattr(settings, "keep_labels", True)
    labels = {split: _labels(builder, folder, name, label, keep) for split, name in names.items()}
    notes = []
    if "test" in labels and (labels["test"] < 0).any():
        del labels["test"]
        notes.append(f"{folder}: its test labels are not public, test is left out")
    if "test" not in labels and "validation" in labels:
        labels["test"], names = labels.pop("validation"), {**names, "test": names["validation"]}
        notes.append(f"{folder}: {names['test']} is tested on")
    classes = builder.info.features[label].num_classes
    splits = {}
    for split, own in labels.items():
        files = TfdsFiles(folder, names[split], image)
        _check(own, classes, files, labels["train"] if split != "train" else None)
        splits[split] = Split(picture_source(files, own, settings, files.where))
    class_names = tuple(builder.info.features[label].names)
    return Splits(folder, splits["train"], splits.get("test"), splits.get("validation"), class_names, tuple(notes))


def _features(builder: Any, folder: str) -> tuple[str, str]:
    """The names of the one picture and the label of a record."""
    import tensorflow_datasets

    features = tensorflow_datasets.features
    images = [name for name, f in builder.info.features.items() if isinstance(f, features.Image)]
    labels = [name for name, f in builder.info.features.items() if isinstance(f, features.ClassLabel)]
    chosen = [name for name in ("label", *labels) if name in labels]
    if len(images) != 1 or not chosen:
        raise InputError(
            f"{folder}: its records have {', '.join(builder.info.features)}; needed: one Image and a ClassLabel 'label'"
        )
    return images[0], chosen[0]


def _labels(builder: Any, folder: str, split: str, label: str, keep: bool) -> np.ndarray:
    """Of all records of a split, in their order, from beside the data or, for the first time, from the records."""
    count = builder.info.splits[split].num_examples
    kept = os.path.join(folder, f"ltjax_{split}_{label}.npy")
    described = os.path.join(folder, "dataset_info.json")
    if os.path.exists(kept) and os.path.getmtime(kept) >= os.path.getmtime(described):
        try:
            labels = np.load(kept, allow_pickle=False)
            if labels.shape == (count,) and labels.dtype == np.int32:
                return labels
        except (OSError, ValueError, EOFError):
            pass  # torn: read anew
    labels = _read_labels(builder, folder, split, label)
    if labels.shape != (count,):
        raise InputError(f"{folder}: {split} has {len(labels)} records, its description {count}; prepare it again")
    if not keep:
        return labels
    content = io.BytesIO()
    np.save(content, labels)
    with contextlib.suppress(OSError):  # a folder that may only be read: they are read each time
        write_atomically(kept, content.getvalue())
    return labels


def _read_labels(builder: Any, folder: str, split: str, label: str) -> np.ndarray:
    """Nothing but the label of a record is looked at; some 20,000 records/s."""
    import tensorflow_datasets

    try:
        only = tensorflow_datasets.features.FeaturesDict({label: builder.info.features[label]})
        raw = builder.as_data_source(split).data_source
        return np.array([only.deserialize_example_np(raw[i])[label] for i in range(len(raw))], np.int32)
    except Exception as error:
        raise unreadable(f"{folder}: {split}", error) from error


def _check(labels: np.ndarray, classes: int, files: TfdsFiles, trained: np.ndarray | None) -> None:
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if wrong.size:
        raise InputError(
            f"{files.where(wrong[0])} has label {labels[wrong[0]]}; labels must be 0 to {classes - 1} "
            f"({wrong.size} such)"
        )
    if trained is not None:
        check_tested(labels, trained, files.where)
        return
    missing = np.setdiff1d(np.arange(classes), labels)
    if missing.size:
        raise InputError(
            f"{files.folder}: class {missing[0]} has no image in {files.split} ({missing.size} of {classes} classes); "
            "every class needs a training image"
        )
