"""COCO-style JSON annotations, as iNaturalist and camera traps publish them: images, categories, annotations.

{"images": [{"id": 1, "file_name": "train/rose/1.jpg"}], "categories": [{"id": 7, "name": "rose"}],
 "annotations": [{"id": 1, "image_id": 1, "category_id": 7}]}
"""

import json
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from ltjax.data.storage.list_file import is_json, list_content
from ltjax.errors import InputError, shortened


class Annotations(NamedTuple):
    """The annotated images of a file.

    Attributes:
      path: of the file.
      names: N paths of the images.
      numbers: their places in "images", from 1.
      categories: the category of each image, by id.
      called: category -> its name; those that the file lists.
      notes: what the user should know, one line each.
    """

    path: str
    names: list[str]
    numbers: list[int]
    categories: list[int]
    called: dict[int, str]
    notes: tuple[str, ...]


def read_annotations(path: str | os.PathLike[str]) -> Annotations:
    """The images that have annotations of one category.

    Raises:
      InputError: for a file that is missing, no JSON or of another form; an image with several categories.
    """
    shown = shortened(path)
    content = _json(path)
    if not isinstance(content, dict) or not isinstance(content.get("images"), list):
        raise InputError(f'{shown}: is not of the form {{"images": [...], "categories": [...], "annotations": [...]}}')
    if not content.get("annotations"):
        raise InputError(f"{shown}: has no annotations; the labels of a published test set are often not public")
    images = {one["id"]: (n, one["file_name"]) for n, one in _entries(content, "images", ("id", "file_name"), path)}
    found: dict[object, set[int]] = {}
    for n, one in _entries(content, "annotations", ("image_id", "category_id"), path):
        if one["image_id"] not in images:
            raise InputError(
                f"{shown}: annotation {n} is of the image {one['image_id']!r}, which is not in it; remove it"
            )
        found.setdefault(one["image_id"], set()).add(one["category_id"])
    called = {one["id"]: one["name"] for _, one in _entries(content, "categories", ("id", "name"), path)}
    several = [image for image, categories in found.items() if len(categories) > 1]
    if several:
        number, name = images[several[0]]
        both = " and ".join(repr(shortened(called.get(k, k))) for k in sorted(found[several[0]])[:2])
        raise InputError(
            f"{shown}, image {number}: '{shortened(name)}' has annotations of {len(found[several[0]])} categories, "
            f"{both} ({len(several)} such images); a run has one class an image: remove the others, or these images"
        )
    kept = sorted((*images[image], categories.pop()) for image, categories in found.items())
    without = len(images) - len(kept)
    notes = (f"{path}: {without} of {len(images)} images have no annotation and are left out",) if without else ()
    return Annotations(
        str(path),
        [name for _, name, _ in kept],
        [n for n, _, _ in kept],
        [k for _, _, k in kept],
        _distinct(called),
        notes,
    )


def _json(path: str | os.PathLike[str]) -> Any:
    content = list_content(path)
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        mend = f"is no complete JSON file ({shortened(error)}); get it again"
        if not is_json(content):
            mend = (
                "is no JSON; a CSV file with a header is read with format=csv, a list of lines 'relative/path label' "
                "without format="
            )
        raise InputError(f"{shortened(path)}: {mend}") from error


def _entries(
    content: Mapping[str, Any], key: str, fields: tuple[str, ...], path: object
) -> list[tuple[int, dict[str, Any]]]:
    """(number from 1, entry) of the list ``key``; every entry has the fields, ids that can be compared and text."""
    entries = content.get(key)
    if not isinstance(entries, list):
        raise InputError(f"{shortened(path)}: has no list '{key}'; it needs images, categories and annotations")
    for n, one in enumerate(entries, 1):
        for field in fields:
            value = one.get(field) if isinstance(one, dict) else None
            text = field in ("file_name", "name")
            number = field in ("category_id",) or (key == "categories" and field == "id")
            kinds = str if text else int if number else (int, str)
            if not isinstance(value, kinds) or isinstance(value, bool) or (text and not value):
                what = "text" if text else "an integer" if number else "an integer or text"
                raise InputError(
                    f"{shortened(path)}: entry {n} of '{key}' has {shortened(repr(value))} as {field}, which has to be "
                    f"{what}; correct it"
                )
    if fields[0] == "id" and len({one["id"] for one in entries}) < len(entries):
        raise InputError(f"{shortened(path)}: two entries of '{key}' have the same id; correct one")
    return list(enumerate(entries, 1))


def _distinct(called: dict[int, str]) -> dict[int, str]:
    """The names; those of several categories have the id behind them."""
    seen: dict[str, int] = {}
    for name in called.values():
        seen[name] = seen.get(name, 0) + 1
    return {k: name if seen[name] == 1 else f"{name} ({k})" for k, name in called.items()}
