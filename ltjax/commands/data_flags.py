"""``--folder``, ``--list`` and ``--root`` of check and prepare: errors name them in place of the settings."""

import contextlib
from collections.abc import Iterator

from ltjax.errors import InputError


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
