"""CIFAR-10 for TFDS, prepared without TensorFlow."""

from typing import Any

import tensorflow_datasets as tfds

from ltjax.data.builders import parts
from ltjax.data.cifar import CARDS

CITATION = "Krizhevsky, Learning multiple layers of features from tiny images, 2009"
ARCHIVE = {"cifar-10-binary.tar.gz": "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"}
FILES = {
    "train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
    "test": ("test_batch.bin",),
}
LABELS: tuple[str, ...] = ("label",)
SIZES = {"train": 50_000, "test": 10_000}


class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """CIFAR-10 with the features and record names of TFDS's own."""

    VERSION = tfds.core.Version("3.0.2")
    MANUAL_DOWNLOAD_INSTRUCTIONS = "cifar-10-binary.tar.gz, if it is not to be downloaded"

    def _info(self) -> Any:
        features = {
            "id": tfds.features.Text(),
            "image": tfds.features.Image(shape=(32, 32, 3)),
            "label": tfds.features.ClassLabel(names=list(CARDS["cifar10"].class_names)),
        }
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features), citation=CITATION)

    def _split_generators(self, manager: Any) -> Any:
        (archive,) = parts.obtain(manager, self, ARCHIVE).values()
        return {
            split: parts.cifar_records(archive, files, split, LABELS, SIZES[split]) for split, files in FILES.items()
        }

    def _generate_examples(self) -> Any:
        raise NotImplementedError("the splits' generators are given")
