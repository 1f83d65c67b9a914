"""Checksums of a checkpoint: one for each array, one for the record that holds them.

A storage that loses or flips bits gives other weights without an error: tensorstore does not verify what it reads. An
array's checksum is the CRC-32 of its dtype, shape and bytes, so it does not depend on how the array is laid out over
devices and processes.
"""

import json
import math
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from ltjax.methods.stage import Tree

Record = dict[str, Any]
LISTED = 5  # names in a message


class Damaged(Exception):
    """A checkpoint whose content is not what was saved; the message says what differs."""


def host_arrays(tree: Tree) -> dict[str, np.ndarray]:
    """The arrays by path, such as "params/head/kernel"; of one that is split over the processes all of it."""
    return {path: _on_host(leaf) for path, leaf in by_path(tree).items()}


def by_path(tree: Tree) -> dict[str, Any]:
    """The leaves by path.

    Example:
      >>> by_path({"params": {"head": [1, 2]}})
      {'params/head/0': 1, 'params/head/1': 2}
    """
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def _on_host(leaf: Any) -> np.ndarray:
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
        if not leaf.is_fully_replicated:
            return np.asarray(multihost_utils.process_allgather(leaf, tiled=True))
        return np.asarray(leaf.addressable_data(0))
    return np.asarray(leaf)


def checksums(arrays: Mapping[str, np.ndarray]) -> dict[str, str]:
    """CRC-32 of each array's dtype, shape and bytes, as eight hex digits.

    Example:
      >>> checksums({"x": np.zeros(2, np.float32), "y": np.zeros([2, 1], np.float32)})
      {'x': '652362af', 'y': 'e596b616'}
    """
    return {path: _checksum(array) for path, array in arrays.items()}


def digest(arrays: Mapping[str, np.ndarray]) -> str:
    """One checksum of all the arrays and their paths."""
    return _of_record(checksums(arrays))


def _checksum(array: np.ndarray) -> str:
    heading = f"{array.dtype.name} {list(array.shape)}".encode()
    return f"{zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data, zlib.crc32(heading)):08x}"


def compare(expected: Mapping[str, str], arrays: Mapping[str, np.ndarray]) -> None:
    """Raises Damaged unless the arrays are those that the checksums were made of."""
    found = checksums(arrays)
    wrong = sorted(path for path in expected.keys() | found.keys() if expected.get(path) != found.get(path))
    if wrong:
        raise Damaged(f"wrong checksums of {listed(wrong)}")


def not_finite(arrays: Mapping[str, np.ndarray]) -> list[str]:
    """The paths of floating-point arrays that hold NaN or infinity."""
    floating = ((path, array) for path, array in arrays.items() if jax.numpy.issubdtype(array.dtype, np.inexact))
    return sorted(path for path, array in floating if not np.isfinite(array).all())


def listed(names: Iterable[str], most: int = LISTED) -> str:
    """The first names, and how many there are.

    Example:
      >>> listed(["a", "b"]), listed("abcdefg", 3)
      ('a, b', 'a, b, c and 4 more')
    """
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def sealed(record: Record) -> Record:
    """The record with a checksum of itself."""
    return record | {"checksum": _of_record(record)}


def _of_record(record: Mapping[str, Any]) -> str:
    return f"{zlib.crc32(json.dumps(record, sort_keys=True).encode()):08x}"


# What each entry of a record has to be.
ENTRIES = {
    "fingerprint": lambda value: isinstance(value, str),
    "pending": lambda value: isinstance(value, list) and all(_is_row(row) for row in value),
    "elapsed": lambda value: _is_number(value) and math.isfinite(value) and value >= 0,
    "state": lambda value: _is_table(value),
    "start": lambda value: _is_table(value),
    "frozen": lambda value: isinstance(value, str),
    "checksum": lambda value: isinstance(value, str),
}
REQUIRED = {"fingerprint", "pending", "elapsed"}


def check_record(record: Any) -> Record:
    """The record of a checkpoint, verified. Those of older versions have no checksums, only the three entries.

    Raises:
      Damaged: for a missing or unknown entry, one of a wrong type, or a wrong checksum.
    """
    if not isinstance(record, dict):
        raise Damaged(f"its record is {type(record).__name__}, not an object")
    missing = sorted((REQUIRED if set(record) <= REQUIRED else REQUIRED | {"state", "checksum"}) - set(record))
    if missing or not set(record) <= set(ENTRIES):
        what = (
            f"lacks {listed(missing)}"
            if missing
            else f"has unknown entries: {listed(sorted(set(record) - set(ENTRIES)))}"
        )
        raise Damaged(f"its record {what}")
    wrong = sorted(key for key, value in record.items() if not ENTRIES[key](value))
    if wrong:
        raise Damaged(f"its record has wrong types: {listed(wrong)}")
    rest = {key: value for key, value in record.items() if key != "checksum"}
    if "checksum" in record and record["checksum"] != _of_record(rest):
        raise Damaged("its record has a wrong checksum")
    return record


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_row(row: Any) -> bool:
    """The metrics of one step: a number each, or one for each seed."""
    if not isinstance(row, dict) or not {"loss", "learning_rate"} <= set(row):
        return False
    each = [value if isinstance(value, list) else [value] for value in row.values()]
    return all(_is_number(number) for numbers in each for number in numbers)


def _is_table(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(one, str) for one in value.values())
