"""ImageNet-LT for TFDS, prepared without TensorFlow: the public lists, and pictures out of ImageNet's own archives."""

import os
from typing import Any

import tensorflow_datasets as tfds

from ltjax.data.builders import parts
from ltjax.errors import InputError

CITATION = "Liu et al., Large-scale long-tailed recognition in an open world, CVPR 2019"
PINNED = (
    "https://raw.githubusercontent.com/facebookresearch/classifier-balancing/"
    "22370c64141cc662f62ead89447c838c4a7977b5/data/ImageNet_LT"
)

LISTS = {
    "ImageNet_LT_train.txt": "https://drive.google.com/uc?export=download&id=1Sl1cwy6Dei1I1BMS1YKjI35fkaR1UA_7",
    "ImageNet_LT_val.txt": "https://drive.google.com/uc?export=download&id=1AjYczW4khrQrwPIygXUkHF-Qv4QGEsCF",
    "ImageNet_LT_test.txt": f"{PINNED}/ImageNet_LT_test.txt",
}
# split -> list, archive, lines
SPLITS = {
    "train": ("ImageNet_LT_train.txt", "ILSVRC2012_img_train.tar", 115_846),
    "validation": ("ImageNet_LT_val.txt", "ILSVRC2012_img_train.tar", 20_000),
    "test": ("ImageNet_LT_test.txt", "ILSVRC2012_img_val.tar", 50_000),
}
CLASSES = 1000


class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """ImageNet-LT with the features of TFDS's own, and its classes' names as there."""

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar, which need an account on https://www.image-net.org; "
        "ImageNet_LT_train.txt, ImageNet_LT_val.txt and ImageNet_LT_test.txt, if they are not to be downloaded"
    )

    def _info(self) -> Any:
        features = {
            "file_name": tfds.features.Text(),
            "image": tfds.features.Image(shape=(None, None, 3)),
            "label": tfds.features.ClassLabel(num_classes=CLASSES),
        }
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features), citation=CITATION)

    def _split_generators(self, manager: Any) -> Any:
        folder = parts.given(manager)
        for _, archive, _ in SPLITS.values():
            if folder is None or not os.path.isfile(os.path.join(folder, archive)):
                raise InputError(
                    f"--manual-dir: {folder or 'not given'}: {archive} is not there; needed: "
                    f"{self.MANUAL_DOWNLOAD_INSTRUCTIONS}"
                )
        lists = parts.obtain(manager, self, LISTS)
        return {
            split: parts.listed_pictures(
                lists[name], os.path.join(str(folder), archive), os.path.basename, size, CLASSES, split == "train"
            )
            for split, (name, archive, size) in SPLITS.items()
        }

    def _generate_examples(self) -> Any:
        raise NotImplementedError("the splits' generators are given")
