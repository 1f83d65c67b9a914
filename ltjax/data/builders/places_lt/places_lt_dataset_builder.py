"""Places-LT for TFDS, prepared without TensorFlow: the public lists, and pictures out of Places365's archives."""

import os
from typing import Any

import tensorflow_datasets as tfds

from ltjax.data.builders import parts
from ltjax.data.files import STYLES

CITATION = "Liu et al., Large-scale long-tailed recognition in an open world, CVPR 2019"
PINNED = (
    "https://raw.githubusercontent.com/facebookresearch/classifier-balancing/"
    "22370c64141cc662f62ead89447c838c4a7977b5/data/Places_LT"
)
PLACES = "http://data.csail.mit.edu/places/places365"
ARCHIVES = {name: f"{PLACES}/{name}" for name in ("train_256_places365standard.tar", "val_256.tar")}
LISTS = {name: f"{PINNED}/{name}" for name in ("Places_LT_train.txt", "Places_LT_val.txt", "Places_LT_test.txt")}
# split -> list, archive, lines
SPLITS = {
    "train": ("Places_LT_train.txt", "train_256_places365standard.tar", 62_500),
    "validation": ("Places_LT_val.txt", "train_256_places365standard.tar", 7_300),
    "test": ("Places_LT_test.txt", "val_256.tar", 36_500),
}
CLASSES = 365


def key_of(name: str) -> str:
    """One name of a picture in both path styles.

    Example:
      >>> key_of("data_256/c/church/outdoor/00000001.jpg"), key_of("val/airfield/Places365_val_00000001.jpg")
      ('train/church-outdoor/00000001.jpg', 'Places365_val_00000001.jpg')
    """
    file = os.path.basename(name)
    return file if file.startswith("Places365_val_") else STYLES["easy"](name)


class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """Places-LT: pictures of 256 x 256, 365 classes."""

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "train_256_places365standard.tar, val_256.tar, Places_LT_train.txt, Places_LT_val.txt and Places_LT_test.txt, "
        "if they are not to be downloaded"
    )

    def _info(self) -> Any:
        features = {
            "file_name": tfds.features.Text(),
            "image": tfds.features.Image(shape=(None, None, 3)),
            "label": tfds.features.ClassLabel(num_classes=CLASSES),
        }
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features), citation=CITATION)

    def _split_generators(self, manager: Any) -> Any:
        paths = parts.obtain(manager, self, LISTS | ARCHIVES)
        return {
            split: parts.listed_pictures(paths[name], paths[archive], key_of, size, CLASSES, split == "train")
            for split, (name, archive, size) in SPLITS.items()
        }

    def _generate_examples(self) -> Any:
        raise NotImplementedError("the splits' generators are given")
