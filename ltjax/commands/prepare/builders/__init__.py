"""TFDS builders that prepare without TensorFlow: pictures are given to TFDS as encoded bytes, the file format is
array_record, archives are read by python's tarfile. ``python -m ltjax.data.prepare_tfds NAME`` runs them.

TFDS wants a package of each: ``x/x_dataset_builder.py``, with ``x/checksums.tsv`` beside it.
"""

import importlib
from typing import Any

NAMES = ("cifar10", "cifar100", "imagenet_lt", "places_lt")


def builder_class(name: str) -> Any:
    """The builder of one of ``NAMES``; loads TFDS."""
    return importlib.import_module(f"ltjax.commands.prepare.builders.{name}.{name}_dataset_builder").Builder
