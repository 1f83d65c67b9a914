"""What commands print and write: columns of text, a JSON file."""

import argparse
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any


def writable(text: str) -> pathlib.Path:
    """The type of --json: a missing folder is told before the measurement, not after it."""
    path = pathlib.Path(text)
    if path.is_dir() or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"cannot write the file '{text}'; name one in a folder that is there")
    return path


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell, the first to the left and the others to the right.

    Example:
      >>> print(table([["", "ms"], ["ltjax", "12.5"]]))
               ms
      ltjax  12.5
    """
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for first, *others in rows:
        cells = [first.ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(others, widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def write_json(path: pathlib.Path | None, record: Mapping[str, Any]) -> None:
    """Writes the record, indented; nothing without a path."""
    if path is not None:
        path.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n")
