"""Finds a data set on the disk: each form in which it may be stored is tried in turn."""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, Protocol, TypeVar

from ltjax.data.storage.paths import open_path
from ltjax.errors import InputError, choose
from ltjax.settings import DataSettings
from ltjax.settings.user_paths import expanded, without_slashes

TFDS_DIR = "~/tensorflow_datasets"  # TFDS's default


class Spec(Protocol):
    """The constants of a data set; only the name is needed here."""

    @property
    def name(self) -> str: ...


SpecT = TypeVar("SpecT", bound=Spec)
ReadT = TypeVar("ReadT", bound=Callable[..., object])


@dataclasses.dataclass(frozen=True)
class StorageForm(Generic[SpecT, ReadT]):
    """One form in which a data set may be stored.

    Attributes:
      markers: (root, spec) -> paths, any of which shows that the data set is there in this form.
      how_to_get: (root, spec) -> how to get the data set; for the message when it is not found.
      read: reads the data set, given the marker that was found and other arguments of these data sets.
    """

    markers: Callable[[pathlib.Path, SpecT], Sequence[pathlib.Path]]
    how_to_get: Callable[[pathlib.Path, SpecT], str]
    read: ReadT


def data_root(settings: DataSettings) -> pathlib.Path:
    """The folder that ``config.data.dir``, LTJAX_DATA_DIR or TFDS_DATA_DIR names, in this order; or TFDS's default."""
    named = settings.dir or os.environ.get("LTJAX_DATA_DIR") or os.environ.get("TFDS_DATA_DIR") or TFDS_DIR
    return open_path(named)


def required_dir(settings: DataSettings) -> str:
    """The folder that ``config.data.dir``, or else LTJAX_DATA_DIR, names.

    Raises:
      InputError: if neither is set.
    """
    named = settings.dir or os.environ.get("LTJAX_DATA_DIR")
    if not named:
        raise InputError("config.data.dir is missing: set it, or LTJAX_DATA_DIR, to the folder that holds the images")
    return without_slashes(expanded(named))


def find_dataset(
    forms: Mapping[str, StorageForm[SpecT, ReadT]], spec: SpecT, settings: DataSettings
) -> tuple[StorageForm[SpecT, ReadT], pathlib.Path]:
    """The first form in which the data set is found, and the marker that shows it.

    Args:
      forms: name -> form, in the order in which ``config.data.source=auto`` tries them.
      spec: the data set's constants.
      settings: ``dir`` and ``source`` of ``config.data``.

    Raises:
      InputError: if it is not found; names every path that was tried, and how to get the data set.
    """
    choices = {"auto": list(forms.values())} | {name: [form] for name, form in forms.items()}
    tried = choose(choices, settings.source, "config.data.source")
    root = data_root(settings)
    absent = []
    try:
        for form in tried:
            for marker in form.markers(root, spec):
                if marker.exists():
                    return form, marker
                absent.append(str(marker))
    except OSError as error:
        raise InputError(
            f"config.data.dir: '{root}' cannot be read ({error.strerror or error}); correct the path"
        ) from error
    raise InputError(
        f"config.data.dir: {spec.name} is not in '{root}' (none of {', '.join(absent)} exists); set config.data.dir or "
        f"LTJAX_DATA_DIR to its folder, or get it: {'; or '.join(form.how_to_get(root, spec) for form in tried)}"
    )
