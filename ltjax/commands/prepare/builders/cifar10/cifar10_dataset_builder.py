"""CIFAR-10 for TFDS, prepared without TensorFlow."""

from typing import ClassVar

from ltjax.commands.prepare.builders.bases import CifarBuilder
from ltjax.data.datasets.cifar import SPECS


class Builder(CifarBuilder, skip_registration=True):  # type: ignore[call-arg]
    """CIFAR-10 with the features of TFDS's own."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = "cifar-10-binary.tar.gz, if it is not to be downloaded"
    ARCHIVE: ClassVar = {"cifar-10-binary.tar.gz": "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"}
    FILES: ClassVar = {
        "train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
        "test": ("test_batch.bin",),
    }
    LABELS: ClassVar = {"label": {"names": list(SPECS["cifar10"].class_names)}}
