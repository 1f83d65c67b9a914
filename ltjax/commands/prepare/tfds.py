"""Downloads and prepares a data set for TFDS, without TensorFlow:

    python -m ltjax.data.prepare_tfds cifar100
    python -m ltjax.data.prepare_tfds imagenet_lt --manual-dir=DIR

cifar10, cifar100 and places_lt are downloaded and compared with their checksums; files that are already in --manual-dir
are used instead. ImageNet's archives need an account: put ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar into
--manual-dir. config.data.name=NAME then finds the data set. `ltjax prepare tfds` is the same command.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

from ltjax.commands.cli import Parser, guarded
from ltjax.commands.prepare.builders import NAMES, builder_class
from ltjax.data.storage.find_dataset import data_root
from ltjax.errors import InputError
from ltjax.settings.user_paths import expanded


def _parser() -> argparse.ArgumentParser:
    parser = Parser("prepare tfds", "ltjax.data.prepare_tfds", __doc__)
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--dir", default="", help="the folder for it; default: $LTJAX_DATA_DIR, or else TFDS's folder")
    parser.add_argument("--manual-dir", help="the folder with files that are already downloaded")
    return parser


def prepare(arguments: Any) -> str:
    """Downloads, writes and returns the summary; a data set that exists is left as it is.

    Raises:
      InputError: one line: what could not be downloaded or read, or which file is missing where.
    """
    try:
        import tensorflow_datasets as tfds
    except ImportError:
        raise InputError('preparing needs TensorFlow Datasets; pip install "ltjax[train]"') from None
    root = str(data_root(arguments))
    manual = arguments.manual_dir and os.path.abspath(expanded(arguments.manual_dir))
    if manual and not os.path.isdir(manual):
        raise InputError(f"--manual-dir: '{manual}' is not a folder")
    builder = builder_class(arguments.name)(data_dir=root, file_format="array_record")
    config = tfds.download.DownloadConfig(manual_dir=manual, try_download_gcs=False, force_checksums_validation=True)
    try:
        builder.download_and_prepare(download_config=config)
    except (InputError, KeyboardInterrupt):
        raise
    except Exception as error:  # TFDS and its download libraries may raise anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"{arguments.name} could not be prepared in {root}: {reason}") from error
    sizes = ", ".join(f"{name} {split.num_examples}" for name, split in builder.info.splits.items())
    return (
        f"{builder.data_dir}: {sizes} images\nuse it with --config.data.name={arguments.name} --config.data.dir={root}"
    )


def run(argv: Sequence[str]) -> int:
    print(prepare(_parser().parse_args(argv)))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return guarded(run, argv, unfinished="a data set is only used when it is complete: run the same command again")


if __name__ == "__main__":
    sys.exit(main())
