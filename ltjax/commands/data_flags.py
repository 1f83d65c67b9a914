"""The flags of check and prepare that name the data: errors name them in place of the settings."""

import argparse
import contextlib
from collections.abc import Iterator
from typing import Any

from ltjax.errors import InputError
from ltjax.settings.config_file import FORMATS

COLUMNS = ("image_column", "label_column", "split_column")
OF_LISTS = ("csv", "coco")  # formats that --list names; --folder names the others


def add_format_flags(parser: argparse.ArgumentParser) -> None:
    """--format and the names of columns."""
    parser.add_argument("--format", choices=FORMATS, help="csv, coco: that of --list; the others: that of --folder")
    parser.add_argument("--image-column", default="", help="with --format: config.data.image_column")
    parser.add_argument("--label-column", default="", help="with --format: config.data.label_column")
    parser.add_argument("--split-column", default="", help="with --format=csv: config.data.split_column")


def check_format_flags(options: Any) -> None:
    """Raises InputError where --format does not fit the flags that name the data."""
    given = [name.replace("_", "-") for name in COLUMNS if getattr(options, name)]
    if given and not options.format:
        raise InputError(f"--{given[0]}: only allowed with --format={'csv' if given[0] == 'split-column' else '...'}")
    wanted = "list" if options.format in OF_LISTS else "folder"
    if options.format and not getattr(options, wanted):
        what = "FILE and --root=DIR" if wanted == "list" else "DIR"
        raise InputError(f"--format={options.format} needs --{wanted}={what}")


def in_flags(message: str, of_lists: bool) -> str:
    """The message with the flag of the command for each setting that it stands for.

    Args:
      message: names settings.
      of_lists: whether --list and --root were given, and not --folder.

    Example:
      >>> in_flags("config.data.dir: '/nowhere' cannot be read", of_lists=False)
      "--folder: '/nowhere' cannot be read"
    """
    folder = "--root" if of_lists else "--folder"
    for setting, flag in {
        "--config=configs/list_ce.py --config.data.train_list=": "--list=",
        "--config.data.dir": folder,
        "config.data.dir": folder,
        "config.data.train_list": "--list",
        "config.data.test_list": "--test-list",
        "config.data.val_list": "--val-list",
        "config.data.class_names": "--class-names",
        "config.data.image_column": "--image-column",
        "config.data.label_column": "--label-column",
        "config.data.split_column": "--split-column",
        "set config.data.allow_outside=True": "add --allow-outside",
    }.items():
        message = message.replace(setting, flag)
    return message


@contextlib.contextmanager
def named_by_flags(of_lists: bool) -> Iterator[None]:
    """Errors of reading the data name flags."""
    try:
        yield
    except InputError as error:
        raise InputError(in_flags(str(error), of_lists)) from error
