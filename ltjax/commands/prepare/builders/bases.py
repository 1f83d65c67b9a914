"""Base classes of the builders: CIFAR's binary archives, and images that public lists name."""

import os
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from ltjax.commands.prepare.builders import archives

Examples = Iterator[tuple[str, dict[str, Any]]]


class CifarBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """CIFAR with the record names of the builder in TFDS.

    Attributes:
      ARCHIVE: {file name: URL} of the one archive.
      FILES: split -> files in it, in the order of the records.
      LABELS: the labels before an image, in order -> what TFDS's ClassLabel is made of.
      SIZES: split -> images.
    """

    VERSION = tfds.core.Version("3.0.2")
    CITATION = "Krizhevsky, Learning multiple layers of features from tiny images, 2009"
    SIZES: ClassVar[Mapping[str, int]] = {"train": 50_000, "test": 10_000}
    ARCHIVE: ClassVar[Mapping[str, str]]
    FILES: ClassVar[Mapping[str, tuple[str, ...]]]
    LABELS: ClassVar[Mapping[str, Mapping[str, Any]]]

    def _info(self) -> Any:
        labels = {name: tfds.features.ClassLabel(**classes) for name, classes in self.LABELS.items()}
        features = {"id": tfds.features.Text(), "image": tfds.features.Image(shape=(32, 32, 3)), **labels}
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features), citation=self.CITATION)

    def _split_generators(self, manager: Any) -> Any:
        (archive,) = archives.obtain(manager, self, dict(self.ARCHIVE)).values()
        return {split: self._generate_examples(archive, split) for split in self.FILES}

    def _generate_examples(self, archive: str, split: str) -> Examples:
        return archives.cifar_records(archive, self.FILES[split], split, tuple(self.LABELS), self.SIZES[split])


class ListedBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """Images that public lists name, from the archives of a larger data set.

    Attributes:
      LISTS: {file name: URL} of the lists.
      ARCHIVES: {file name: URL} of the archives that can be downloaded.
      SPLITS: split -> list, archive, lines.
      CLASSES: C.
    """

    VERSION = tfds.core.Version("1.0.0")
    CITATION = "Liu et al., Large-scale long-tailed recognition in an open world, CVPR 2019"
    LISTS: ClassVar[Mapping[str, str]]
    ARCHIVES: ClassVar[Mapping[str, str]] = {}
    SPLITS: ClassVar[Mapping[str, tuple[str, str, int]]]
    CLASSES: ClassVar[int]

    @staticmethod
    def key_of(name: str) -> str:
        """Path in a list, or in an archive -> the key of the image."""
        return os.path.basename(name)

    def _info(self) -> Any:
        features = {
            "file_name": tfds.features.Text(),
            "image": tfds.features.Image(shape=(None, None, 3)),
            "label": tfds.features.ClassLabel(num_classes=self.CLASSES),
        }
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features), citation=self.CITATION)

    def _split_generators(self, manager: Any) -> Any:
        paths = self._paths(manager)
        return {split: self._generate_examples(paths, split) for split in self.SPLITS}

    def _paths(self, manager: Any) -> dict[str, str]:
        """{file name: path} of the lists and archives."""
        return archives.obtain(manager, self, {**self.LISTS, **self.ARCHIVES})

    def _generate_examples(self, paths: Mapping[str, str], split: str) -> Examples:
        name, archive, size = self.SPLITS[split]
        return archives.listed_images(paths[name], paths[archive], self.key_of, size, self.CLASSES, split == "train")
