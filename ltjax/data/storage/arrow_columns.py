"""Columns of images and labels in Arrow and Parquet files, as Hugging Face datasets and others write them."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ltjax.errors import InputError, did_you_mean, shortened

if TYPE_CHECKING:
    import pyarrow

LABELS = ("label", "labels")  # columns that hold the labels, if no setting names another


class Columns(NamedTuple):
    """The columns that are read.

    Attributes:
      image: the column of the images: binary, or a struct with a field ``bytes``.
      nested: whether it is such a struct.
      label: the column of the labels, integers or text.
      class_names: by label, from the metadata of Hugging Face datasets; None without them.
    """

    image: str
    nested: bool
    label: str
    class_names: tuple[str, ...] | None


@dataclasses.dataclass(frozen=True)
class ImageRows:
    """The images of the rows of several files, one file after the other.

    Attributes:
      paths: the files, in order.
      ends: int64 [files], rows in all files up to and including each one.
      image, nested: as in ``Columns``.
    """

    paths: tuple[str, ...]
    ends: np.ndarray
    image: str
    nested: bool

    def place(self, position: int) -> tuple[int, int]:
        """(number of the file, row in it)."""
        file = int(np.searchsorted(self.ends, position, side="right"))
        return file, position - int(self.ends[file - 1] if file else 0)

    def where(self, position: int) -> str:
        """The file and the row in it, from 0, for messages."""
        file, row = self.place(position)
        return f"{self.paths[file]}, row {row}"


def image_bytes(value: bytes | None) -> bytes:
    """The bytes of an image; InputError where they are null."""
    if value is None:
        raise InputError("the row has no image: its bytes are null; embed the images in the files")
    return bytes(value)


def import_pyarrow() -> Any:
    """pyarrow with its readers.

    Raises:
      InputError: if it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.ipc
        import pyarrow.parquet
    except ImportError:
        raise InputError(
            'config.data.name: parquet and arrow are read with pyarrow: pip install "ltjax[parquet]"'
        ) from None
    return pyarrow


@contextlib.contextmanager
def named(path: str, kind: str) -> Iterator[None]:
    """Errors of pyarrow become an InputError that names the file; ``kind`` is what it should be, such as Parquet."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # pyarrow raises nearly anything for a damaged file
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise InputError(f"{shortened(path)}: cannot be read as {kind} ({shortened(reason)}); get it again") from error


def find_columns(schema: pyarrow.Schema, path: str, image_column: str, label_column: str) -> Columns:
    """The columns that the settings name, or else the only ones that can be meant.

    Args:
      schema: of the file.
      path: of the file, for messages.
      image_column, label_column: as in ``config.data``; "" = found.

    Raises:
      InputError: if there is no such column, or it is of another type.
    """
    features = _features(schema)
    image = image_column or _only(
        [name for name in schema.names if _kind(schema.field(name).type) == "image"],
        ("image", "img"), schema, path, "config.data.image_column", "images (bytes of image files)",
    )  # fmt: skip
    labels = [name for name in schema.names if _kind(schema.field(name).type) in ("integer", "text")]
    with_names = [name for name in labels if features.get(name, {}).get("_type") == "ClassLabel"]
    usual = [name for name in LABELS if name in labels]
    label = label_column or _only(
        usual[:1] or with_names, (), schema, path, "config.data.label_column", "labels (integers or text)"
    )
    for column, key, kinds in (
        (image, "config.data.image_column", ("image",)),
        (label, "config.data.label_column", ("integer", "text")),
    ):
        if column not in schema.names:
            raise InputError(
                f"{key}: {shortened(path)} has no column '{shortened(column)}'; it has {_described(schema)}"
                f"{did_you_mean(column, schema.names)}"
            )
        if _kind(schema.field(column).type) not in kinds:
            wanted = "bytes of image files" if kinds == ("image",) else "integers or text, one label an image"
            raise InputError(
                f"{key}: '{shortened(column)}' of {shortened(path)} is {schema.field(column).type}, not {wanted}; it "
                f"has {_described(schema)}"
            )
    names = features.get(label, {}).get("names")
    if isinstance(names, dict):
        names = [names[key] for key in sorted(names, key=int)]
    arrow = import_pyarrow()
    nested = bool(arrow.types.is_struct(schema.field(image).type))
    return Columns(image, nested, label, tuple(map(str, names)) if names else None)


def _only(found: list[str], usual: tuple[str, ...], schema: pyarrow.Schema, path: str, key: str, what: str) -> str:
    preferred = [name for name in usual if name in found]
    if preferred or len(found) == 1:
        return (preferred or found)[0]
    several = f"several columns of {what}" if found else f"no column of {what} that can be meant"
    raise InputError(f"{shortened(path)}: {several}; set {key} to one of its columns: {_described(schema)}")


def _described(schema: pyarrow.Schema) -> str:
    return shortened(", ".join(f"'{field.name}' ({field.type})" for field in schema), 400)


def _kind(kind: pyarrow.DataType) -> str:
    """image, integer, text, or "" for what is neither."""
    types = import_pyarrow().types
    if types.is_struct(kind):
        inside = [kind.field(i) for i in range(kind.num_fields) if kind.field(i).name == "bytes"]
        return "image" if inside and _kind(inside[0].type) == "image" else ""
    if types.is_binary(kind) or types.is_large_binary(kind):
        return "image"
    if types.is_dictionary(kind):
        return _kind(kind.value_type)
    if types.is_integer(kind) or types.is_boolean(kind):
        return "integer"
    return "text" if types.is_string(kind) or types.is_large_string(kind) or types.is_null(kind) else ""


def _features(schema: pyarrow.Schema) -> dict[str, Any]:
    """The features that Hugging Face datasets keeps in a schema; {} where there are none."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {name: one for name, one in features.items() if isinstance(one, dict)}
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}


def label_array(column: pyarrow.ChunkedArray) -> np.ndarray:
    """int64 or text (dtype object) [N]; -1 or "" where a label is null."""
    arrow = import_pyarrow()
    if arrow.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if _kind(column.type) == "integer":
        numbers = column.cast(arrow.int64()).to_numpy() if not column.null_count else _with_nulls(column)
        return np.asarray(numbers, np.int64)
    return np.array([(text or "").strip() for text in column.to_pylist()], object)


def _with_nulls(column: pyarrow.ChunkedArray) -> list[int]:
    return [-1 if value is None else int(value) for value in column.to_pylist()]
