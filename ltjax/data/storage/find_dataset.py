"""Where a data set lies: the ways in are tried in turn, and what was looked for is said when there is none."""

import os
from typing import Any

from ltjax.data.storage.paths import open_path
from ltjax.errors import InputError, choose

TFDS_DIR = "~/tensorflow_datasets"  # TFDS's own default


def data_root(settings: Any) -> Any:
    """The folder that ``config.data.dir`` or the environment names."""
    given = settings.dir or os.environ.get("LTJAX_DATA_DIR") or os.environ.get("TFDS_DATA_DIR") or TFDS_DIR
    return open_path(given)


def locate(ways: dict[str, Any], card: Any, settings: Any) -> tuple[Any, Any]:
    """The first way in that finds the data set, and the path at which it does.

    Args:
      ways: name -> an object with places(root, card) -> paths that tell that it is there, and how(root, card) -> how to
        get it; in the order that "auto" tries them.
      card: has a ``name``.
      settings: dir and source.

    Raises:
      InputError: when none does; says what was looked for and how to get it.
    """
    choices = {"auto": list(ways.values())} | {name: [way] for name, way in ways.items()}
    tried = choose(choices, settings.source, "config.data.source")
    root = data_root(settings)
    looked = []
    try:
        for way in tried:
            for place in way.places(root, card):
                if place.exists():
                    return way, place
                looked.append(str(place))
    except OSError as error:
        raise InputError(f"config.data.dir: '{root}' cannot be looked into ({error.strerror or error})") from error
    raise InputError(
        f"config.data.dir: no {card.name} in '{root}' (looked for {', '.join(looked)}); set config.data.dir or "
        f"LTJAX_DATA_DIR to its folder; to get it: {'; or '.join(way.how(root, card) for way in tried)}"
    )
