"""Predictions as rows, and the formats of the files that hold them: CSV, JSON lines, Parquet."""

import csv
import io
import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO, NamedTuple

from ltjax import escape
from ltjax.errors import InputError

NONE_OF_THEM = "none of them"
BETWEEN = ";"  # the predicted classes of an image with several labels


class Prediction(NamedTuple):
    """The path of an image, its likeliest labels, and their probabilities."""

    path: str
    labels: list[int]
    probabilities: list[float]

    def shares(self) -> Iterator[tuple[int, float]]:
        """(label, probability) of each class, the likeliest first."""
        return zip(self.labels, self.probabilities, strict=True)


class Table(NamedTuple):
    """What the rows of a file have.

    Attributes:
      class_names: by label.
      top: classes of a row.
      threshold: the least probability of an answer; None: there is no column for it.
      thresholds: of each class, where an image has several labels: the answer is all classes that reach theirs.
    """

    class_names: Sequence[str]
    top: int
    threshold: float | None = None
    thresholds: tuple[float, ...] | None = None

    @property
    def several_labels(self) -> bool:
        return self.thresholds is not None

    @property
    def has_answer(self) -> bool:
        """Whether there is a column for the prediction."""
        return self.threshold is not None or self.several_labels

    @property
    def needed(self) -> int:
        """Classes of a ``Prediction``: every class may be an answer where an image has several labels."""
        return len(self.class_names) if self.several_labels else self.top

    def answers(self, row: Prediction) -> list[int]:
        """The predicted classes, the likeliest first."""
        if self.thresholds is not None:
            return [label for label, share in row.shares() if share >= self.thresholds[label]]
        return row.labels[:1] if self.answered(row) else []

    def answered(self, row: Prediction) -> bool:
        """Whether the likeliest class is likely enough."""
        return self.threshold is None or row.probabilities[0] >= self.threshold

    def shown(self, row: Prediction) -> Iterator[tuple[int, float]]:
        """(label, probability) of the classes of a row, the likeliest first."""
        return itertools.islice(row.shares(), self.top)

    def answer(self, row: Prediction, names: Sequence[str]) -> str | None:
        """The predicted classes by these names, with ``;`` between; None for none of them."""
        return BETWEEN.join(names[label] for label in self.answers(row)) or None


class Format(NamedTuple):
    """How rows are stored: in parts, which are then joined in order.

    Attributes:
      part: (rows, table) -> the bytes of a part.
      join: (paths of the parts, file, table); reads one part at a time.
      suffix: of the names of such files.
    """

    part: Callable[[Sequence[Prediction], Table], bytes]
    join: Callable[[Sequence[str], BinaryIO, Table], None]
    suffix: str


def csv_part(rows: Sequence[Prediction], table: Table) -> bytes:
    """Lines without a header; every name by ``escape.csv_cell``, so that a spreadsheet shows it as text."""
    names = [escape.csv_cell(str(name)) for name in table.class_names]
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    for row in rows:
        words = (word for label, share in table.shown(row) for word in (names[label], f"{share:.6f}"))
        answer = [table.answer(row, names) or NONE_OF_THEM] if table.has_answer else []
        lines.writerow([escape.csv_cell(row.path), *answer, *words])
    return text.getvalue().encode()


def join_csv(parts: Sequence[str], file: BinaryIO, table: Table) -> None:
    answer = ["prediction"] if table.has_answer else []
    columns = (word for k in range(1, table.top + 1) for word in (f"class_{k}", f"probability_{k}"))
    file.write((",".join(["path", *answer, *columns]) + "\n").encode())
    _concatenate(parts, file)


def jsonl_part(rows: Sequence[Prediction], table: Table) -> bytes:
    """A JSON object a line: {"path", "prediction" with a threshold, "classes": [{"class", "probability"}, ...]}."""
    lines = []
    for row in rows:
        each = table.shown(row)
        classes = [{"class": table.class_names[label], "probability": round(share, 6)} for label, share in each]
        answer: dict[str, Any] = {}
        if table.several_labels:
            answer = {"prediction": [table.class_names[label] for label in table.answers(row)]}
        elif table.has_answer:
            answer = {"prediction": table.answer(row, table.class_names)}
        lines.append(json.dumps({"path": row.path, **answer, "classes": classes}) + "\n")
    return "".join(lines).encode()


def join_lines(parts: Sequence[str], file: BinaryIO, table: Table) -> None:
    del table
    _concatenate(parts, file)


def _concatenate(parts: Sequence[str], file: BinaryIO) -> None:
    for path in parts:
        with open(path, "rb") as part:
            shutil.copyfileobj(part, file, 2**20)


def _arrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise InputError('--format=parquet needs pyarrow: pip install "ltjax[parquet]"') from None
    return pyarrow


def _schema(table: Table) -> Any:
    arrow = _arrow()
    fields = [("path", arrow.string())] + ([("prediction", arrow.string())] if table.has_answer else [])
    for k in range(1, table.top + 1):
        fields += [(f"class_{k}", arrow.string()), (f"probability_{k}", arrow.float32())]
    return arrow.schema(fields)


def parquet_part(rows: Sequence[Prediction], table: Table) -> bytes:
    """A Parquet file; names that are no UTF-8 text have their bytes as escapes."""
    arrow, names = _arrow(), [escape.terminal(str(name)) for name in table.class_names]
    columns: dict[str, list[Any]] = {"path": [_text(row.path) for row in rows]}
    if table.has_answer:
        columns["prediction"] = [table.answer(row, names) for row in rows]
    for k in range(table.top):
        columns[f"class_{k + 1}"] = [names[row.labels[k]] for row in rows]
        columns[f"probability_{k + 1}"] = [row.probabilities[k] for row in rows]
    sink = io.BytesIO()
    arrow.parquet.write_table(arrow.table(columns, schema=_schema(table)), sink)
    return sink.getvalue()


def _text(path: str) -> str:
    return path if path.isascii() else os.fsencode(path).decode("utf-8", "backslashreplace")


def join_parquet(parts: Sequence[str], file: BinaryIO, table: Table) -> None:
    """A row group for each part."""
    arrow = _arrow()
    with arrow.parquet.ParquetWriter(file, _schema(table)) as writer:
        for path in parts:
            writer.write_table(arrow.parquet.read_table(path))


FORMATS = {
    "csv": Format(csv_part, join_csv, ".csv"),
    "jsonl": Format(jsonl_part, join_lines, ".jsonl"),
    "parquet": Format(parquet_part, join_parquet, ".parquet"),
}


def format_of(out: str, named: str | None) -> str:
    """The format that was named, or that the file's ending stands for; CSV for any other ending.

    Raises:
      InputError: for Parquet without pyarrow.

    Example:
      >>> format_of("a.jsonl", None), format_of("a.txt", None), format_of("a.csv", "jsonl")
      ('jsonl', 'csv', 'jsonl')
    """
    ending = os.path.splitext(out)[1].lower()
    name = named or next((name for name, one in FORMATS.items() if one.suffix == ending), "csv")
    if name == "parquet":
        _arrow()
    return name
