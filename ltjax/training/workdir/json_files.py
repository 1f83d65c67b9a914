"""The JSON files of a workdir, whole or damaged by a power cut, a full disk or an editor."""

import json
from collections.abc import Callable, Collection
from typing import Any

from etils import epath

Record = dict[str, Any]


def read_object(path: epath.Path) -> Record | None:
    """The JSON object in a file; None if the file holds anything else."""
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def read_records(path: epath.Path, keys: Collection[str], report: Callable[[str], None]) -> list[Record]:
    """The records, all with these keys, in a file with a JSON list of them; [] without the file.

    Of a damaged file those that can be read, and a report.
    """
    if not path.exists():
        return []
    text = path.read_bytes().decode(errors="replace")
    try:
        found = json.loads(text)
        damaged = not isinstance(found, list)
    except (ValueError, RecursionError):
        found, damaged = [], True
    found = _objects(text) if damaged else found
    whole = [record for record in found if isinstance(record, dict) and set(keys) <= record.keys()]
    if damaged or len(whole) < len(found):
        report(f"{path}: is damaged; {len(whole)} records of it can be read, and the run goes on with them")
    return whole


def _objects(text: str) -> list[Record]:
    """The JSON objects that begin anywhere in a text, outside of each other.

    Example:
      >>> _objects('[{"step": 3}, {"step": 4}, {"st')
      [{'step': 3}, {'step': 4}]
    """
    decoder, found, at = json.JSONDecoder(), [], text.find("{")
    while at >= 0:
        try:
            one, end = decoder.raw_decode(text, at)
            found.append(one)
        except (ValueError, RecursionError):
            end = at + 1
        at = text.find("{", end)
    return found
