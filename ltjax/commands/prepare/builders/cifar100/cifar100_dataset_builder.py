"""CIFAR-100 for TFDS, prepared without TensorFlow."""

from typing import ClassVar

from ltjax.commands.prepare.builders.bases import CifarBuilder
from ltjax.data.datasets.cifar import SPECS


class Builder(CifarBuilder, skip_registration=True):  # type: ignore[call-arg]
    """CIFAR-100; the 20 coarse labels have no names."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = "cifar-100-binary.tar.gz, if it is not to be downloaded"
    ARCHIVE: ClassVar = {"cifar-100-binary.tar.gz": "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz"}
    FILES: ClassVar = {"train": ("train.bin",), "test": ("test.bin",)}
    LABELS: ClassVar = {"coarse_label": {"num_classes": 20}, "label": {"names": list(SPECS["cifar100"].class_names)}}
