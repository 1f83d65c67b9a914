"""ImageNet-LT for TFDS, prepared without TensorFlow: the public lists, and images from ImageNet's archives."""

import os
from typing import Any, ClassVar

from ltjax.commands.prepare.builders import archives as archive_files
from ltjax.commands.prepare.builders.bases import ListedBuilder
from ltjax.errors import InputError

PINNED = (
    "https://raw.githubusercontent.com/facebookresearch/classifier-balancing/"
    "22370c64141cc662f62ead89447c838c4a7977b5/data/ImageNet_LT"
)


class Builder(ListedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """ImageNet-LT with the features and class names of the builder in TFDS."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar, which need an account on https://www.image-net.org; "
        "ImageNet_LT_train.txt, ImageNet_LT_val.txt and ImageNet_LT_test.txt, if they are not to be downloaded"
    )
    LISTS: ClassVar = {
        "ImageNet_LT_train.txt": "https://drive.google.com/uc?export=download&id=1Sl1cwy6Dei1I1BMS1YKjI35fkaR1UA_7",
        "ImageNet_LT_val.txt": "https://drive.google.com/uc?export=download&id=1AjYczW4khrQrwPIygXUkHF-Qv4QGEsCF",
        "ImageNet_LT_test.txt": f"{PINNED}/ImageNet_LT_test.txt",
    }
    SPLITS: ClassVar = {
        "train": ("ImageNet_LT_train.txt", "ILSVRC2012_img_train.tar", 115_846),
        "validation": ("ImageNet_LT_val.txt", "ILSVRC2012_img_train.tar", 20_000),
        "test": ("ImageNet_LT_test.txt", "ILSVRC2012_img_val.tar", 50_000),
    }
    CLASSES = 1000

    def _paths(self, manager: Any) -> dict[str, str]:
        """The user has to download the archives, which needs an account."""
        folder = archive_files.manual_folder(manager)
        archives = {}
        for _, name, _ in self.SPLITS.values():
            archives[name] = os.path.join(folder or "", name)
            if folder is None or not os.path.isfile(archives[name]):
                raise InputError(
                    f"--manual-dir: {folder or 'not given'}: {name} is missing; put these files there: "
                    f"{self.MANUAL_DOWNLOAD_INSTRUCTIONS}"
                )
        return archives | super()._paths(manager)
