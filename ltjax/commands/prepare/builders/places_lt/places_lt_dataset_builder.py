"""Places-LT for TFDS, prepared without TensorFlow: the public lists, and images from Places365's archives."""

import os
from typing import ClassVar

from ltjax.commands.prepare.builders.bases import ListedBuilder
from ltjax.data.storage.image_files import STYLES

PINNED = (
    "https://raw.githubusercontent.com/facebookresearch/classifier-balancing/"
    "22370c64141cc662f62ead89447c838c4a7977b5/data/Places_LT"
)
PLACES = "http://data.csail.mit.edu/places/places365"


class Builder(ListedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """Places-LT: images of 256 x 256, 365 classes."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "train_256_places365standard.tar, val_256.tar, Places_LT_train.txt, Places_LT_val.txt and Places_LT_test.txt, "
        "if they are not to be downloaded"
    )
    LISTS: ClassVar = {
        name: f"{PINNED}/{name}" for name in ("Places_LT_train.txt", "Places_LT_val.txt", "Places_LT_test.txt")
    }
    ARCHIVES: ClassVar = {name: f"{PLACES}/{name}" for name in ("train_256_places365standard.tar", "val_256.tar")}
    SPLITS: ClassVar = {
        "train": ("Places_LT_train.txt", "train_256_places365standard.tar", 62_500),
        "validation": ("Places_LT_val.txt", "train_256_places365standard.tar", 7_300),
        "test": ("Places_LT_test.txt", "val_256.tar", 36_500),
    }
    CLASSES = 365

    @staticmethod
    def key_of(name: str) -> str:
        """The key of an image in both path styles.

        Example:
          >>> [Builder.key_of(name) for name in ("data_256/c/church/outdoor/1.jpg", "val/airfield/Places365_val_1.jpg")]
          ['train/church-outdoor/1.jpg', 'Places365_val_1.jpg']
        """
        file = os.path.basename(name)
        return file if file.startswith("Places365_val_") else STYLES["easy"](name)
