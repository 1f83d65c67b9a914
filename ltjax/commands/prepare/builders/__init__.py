"""TFDS builders that need no TensorFlow: images are given to TFDS as encoded bytes, the file format is array_record,
and archives are read with tarfile. ``ltjax prepare tfds NAME`` runs them.

TFDS requires a package for each: ``x/x_dataset_builder.py``, with ``x/checksums.tsv`` beside it.
"""

import importlib
from typing import Any

NAMES = ("cifar10", "cifar100", "imagenet_lt", "places_lt")


def builder_class(name: str) -> Any:
    """The builder of one of ``NAMES``; loads TFDS."""
    return importlib.import_module(f"ltjax.commands.prepare.builders.{name}.{name}_dataset_builder").Builder
