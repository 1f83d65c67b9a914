"""ImageNet-LT, Places-LT and iNaturalist 2018, from prepared shards, their public lists, or TFDS."""

import dataclasses
import pathlib
from collections.abc import Callable

from ltjax.data.dataset import Data
from ltjax.data.datasets import tfds_images
from ltjax.data.datasets.assemble import MEAN, STD, Splits, assemble, refuse_imbalance
from ltjax.data.datasets.prepared_shards import read_shards
from ltjax.data.datasets.user_images import find_list, read_lists, with_class_names
from ltjax.data.storage.find_dataset import StorageForm, data_root, find_dataset
from ltjax.data.storage.shards import MANIFEST
from ltjax.data.storage.tfds_records import description_paths, how_to_prepare
from ltjax.errors import InputError
from ltjax.settings import DataSettings


@dataclasses.dataclass(frozen=True)
class BenchmarkSpec:
    """The constants of a data set.

    Attributes:
      name: as in ``DATASETS``.
      num_classes: C.
      lists: split -> name of its public list, without ``.txt``.
      tfds: its name in TFDS.
      tfds_splits: split -> its name in TFDS.
      mean, std: per channel, for images scaled to 0 .. 1.
    """

    name: str
    num_classes: int
    lists: dict[str, str]
    tfds: str
    tfds_splits: dict[str, str]
    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD


def _three_lists(name: str) -> dict[str, str]:
    return {"train": f"{name}_train", "test": f"{name}_test", "validation": f"{name}_val"}


ALL_SPLITS = {"train": "train", "test": "test", "validation": "validation"}
SPECS = {
    "imagenet_lt": BenchmarkSpec("imagenet_lt", 1000, _three_lists("ImageNet_LT"), "imagenet_lt", ALL_SPLITS),
    "places_lt": BenchmarkSpec("places_lt", 365, _three_lists("Places_LT"), "places_lt", ALL_SPLITS),
    # The labels of the test images are not public: papers evaluate on the validation images.
    "inat2018": BenchmarkSpec(
        "inat2018", 8142, {"train": "iNaturalist18_train", "test": "iNaturalist18_val"}, "i_naturalist2018",
        {"train": "train", "test": "validation"}, (0.466, 0.471, 0.380), (0.195, 0.194, 0.192),
    ),
}  # fmt: skip


def imagenet_lt(settings: DataSettings) -> Data:
    """ImageNet-LT: 1,000 classes, 115,846 training, 20,000 validation and 50,000 test images."""
    return _benchmark(SPECS["imagenet_lt"], settings)


def places_lt(settings: DataSettings) -> Data:
    """Places-LT: 365 classes, 62,500 training, 7,300 validation and 36,500 test images."""
    return _benchmark(SPECS["places_lt"], settings)


def inat2018(settings: DataSettings) -> Data:
    """iNaturalist 2018: 8,142 classes, 437,513 training images; evaluated on its 24,426 validation images."""
    return _benchmark(SPECS["inat2018"], settings)


def _benchmark(spec: BenchmarkSpec, settings: DataSettings) -> Data:
    refuse_imbalance(spec.name, settings)
    root = data_root(settings)
    if settings.source in ("auto", "list") and settings.train_list:
        splits = _read_lists(root, spec, settings)
    else:
        form, marker = find_dataset(FORMS, spec, settings)
        splits = form.read(marker, spec, settings)
    if len(splits.class_names) != spec.num_classes:
        raise InputError(
            f"{splits.where}: {len(splits.class_names)} classes; {spec.name} has {spec.num_classes}: correct the lists"
        )
    splits = with_class_names(splits, settings, str(root))
    return assemble(spec.name, splits, settings, spec.mean, spec.std)


def _public_lists(root: pathlib.Path, spec: BenchmarkSpec, split: str = "train") -> list[pathlib.Path]:
    return [root / f"{spec.lists[split]}{ending}" for ending in (".txt", ".txt.xz")]


def _read_lists(root: pathlib.Path, spec: BenchmarkSpec, settings: DataSettings) -> Splits:
    unnamed = dataclasses.replace(settings, class_names="")  # read where all forms of the data set are
    return read_lists(str(root), list_paths(root, spec, settings), unnamed, spec.num_classes)


def list_paths(root: pathlib.Path, spec: BenchmarkSpec, settings: DataSettings) -> dict[str, pathlib.Path]:
    """split -> list file: the one that the settings name, or else the public one under ``root``.

    Raises:
      InputError: if the training or the test list is missing.
    """
    named = {"train": settings.train_list, "test": settings.test_list, "validation": settings.val_list}
    paths = {}
    for split in spec.lists:
        public = [path for path in _public_lists(root, spec, split) if path.exists()]
        if named[split] or public:
            paths[split] = find_list(str(root), named[split]) if named[split] else public[0]
        elif split != "validation":
            expected = " or ".join(map(str, _public_lists(root, spec, split)))
            raise InputError(
                f"{expected}: the {split} list of {spec.name} does not exist; {_how_to_get_lists(root, spec)}"
            )
    return paths


def _how_to_get_lists(root: pathlib.Path, spec: BenchmarkSpec) -> str:
    names = ", ".join(f"{name}.txt" for name in spec.lists.values())
    return (
        f"put {names} into {root}, the folder that the paths in them are relative to, or name them in "
        "config.data.train_list and config.data.test_list"
    )


FORMS: dict[str, StorageForm[BenchmarkSpec, Callable[[pathlib.Path, BenchmarkSpec, DataSettings], Splits]]] = {
    "shards": StorageForm(
        lambda root, spec: [root / MANIFEST],
        lambda root, spec: f"prepare shards of its lists (python -m ltjax.data.prepare --list=... --out={root})",
        lambda marker, spec, settings: read_shards(str(marker.parent), settings),
    ),
    "list": StorageForm(
        _public_lists,
        _how_to_get_lists,
        lambda marker, spec, settings: _read_lists(marker.parent, spec, settings),
    ),
    "tfds": StorageForm(
        lambda root, spec: description_paths(root / spec.tfds),
        lambda root, spec: how_to_prepare(root, spec.tfds),
        lambda marker, spec, settings: tfds_images.read(str(marker.parent), spec.tfds_splits, settings),
    ),
}
