"""Output of the commands: tables of text, and JSON files."""

import argparse
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from ltjax.settings.user_paths import expanded


def writable(text: str) -> pathlib.Path:
    """The type of --json: a missing folder is an error before the measurement, not after it."""
    path = pathlib.Path(expanded(text))
    if path.is_dir() or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"cannot write the file '{text}'; name a file in an existing folder")
    return path


def table(rows: Sequence[Sequence[str]]) -> str:
    """A plain table; the first column is aligned left, the others right.

    Example:
      >>> print(table([["", "ms"], ["ltjax", "12.5"]]))
               ms
      ltjax  12.5
    """
    try:
        from tabulate import tabulate  # not in a base install
    except ImportError:
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        aligned = [[row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in rows]
        return "\n".join("  ".join(cells).rstrip() for cells in aligned)
    sides = ["left", *["right"] * (len(rows[0]) - 1)]
    text = tabulate(rows, tablefmt="plain", disable_numparse=True, preserve_whitespace=True, colalign=sides)
    return "\n".join(line.rstrip() for line in text.splitlines())


def write_json(path: pathlib.Path | None, record: Mapping[str, Any]) -> None:
    """Writes the record, indented; nothing without a path."""
    if path is not None:
        path.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n")
