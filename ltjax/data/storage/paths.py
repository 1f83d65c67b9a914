"""Paths on this machine or in a bucket (``gs://``)."""

import contextlib
import os
import pathlib
from typing import cast

from ltjax.errors import InputError
from ltjax.settings.user_paths import expanded


def open_path(text: str | os.PathLike[str]) -> pathlib.Path:
    """The path that a user gives, with ``~`` and variables replaced (``expanded``); otherwise as ``as_path``.

    Example:
      >>> open_path("/data") / "cifar100.npz"
      PosixGPath('/data/cifar100.npz')

    Raises:
      InputError: for a variable that is not set; for a ``scheme://`` path if etils, or the client of that store, is not
        installed.
    """
    return as_path(expanded(text))


def as_path(text: str | os.PathLike[str]) -> pathlib.Path:
    """The path ``text``, as it is.

    An ``etils.epath.Path``, which has the methods of ``pathlib.Path``; a ``pathlib.Path`` if etils is not installed.

    Raises:
      InputError: for a ``scheme://`` path if etils, or the client of that store, is not installed.
    """
    try:
        from etils import epath
    except ImportError:
        if "://" in str(text):
            raise InputError(f'{text}: paths in buckets need etils; pip install "ltjax[train]"') from None
        return pathlib.Path(text)
    path = epath.Path(text)
    if "://" in str(text):
        try:
            path.exists()  # loads the client of that store
        except ImportError as error:
            raise InputError(f"{text}: {error}") from None
    return cast(pathlib.Path, path)


def unfinished_name(name: str) -> str:
    """The name of a file while it is written, no longer than file systems allow.

    Example:
      >>> len(unfinished_name("n" * 255)) < 100
      True
    """
    return f".{name[:40]}.{os.getpid()}.unfinished"


def write_atomically(path: str | os.PathLike[str], content: bytes | str) -> None:
    """Writes a file, possibly in a bucket: readers see either the previous file or the complete new one.

    Args:
      path: a string or a path.
      content: bytes, or text, which is written in UTF-8; bytes of names that are not UTF-8 become escapes.
    """
    target = as_path(path)
    unfinished = target.parent / unfinished_name(target.name)
    local = "://" not in str(target)
    try:
        with unfinished.open("wb") as file:
            file.write(content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content)
            if local:
                file.flush()
                os.fsync(file.fileno())
        unfinished.replace(target)
    except BaseException:  # a full disk, say, which needs its place back
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise
    if local:
        _sync_folder(target.parent)


def _sync_folder(folder: pathlib.Path) -> None:
    """Makes the names in a folder survive a power cut; without effect where a file system does not offer it."""
    with contextlib.suppress(OSError):
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
