"""CSV with a header: a line for each image, with the columns of its path and of its label."""

import csv
import io
import os
import re
from collections.abc import Iterator

from ltjax.data.storage.list_file import COCO_WORD, is_json, list_text
from ltjax.errors import InputError, did_you_mean, shortened

DELIMITERS = ",\t;|"
# columns that are taken if no setting names another; the first that a file has
IMAGES = ("path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "img")
LABELS = ("label", "class", "class_name", "category", "species", "target")


class Table:
    """The rows of a CSV file.

    Attributes:
      path: of the file.
      columns: the names in its first line.
      rows: the cells of each line, without spaces around them.
      lines: their line numbers, from 1.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Reads the file.

        Raises:
          InputError: for a missing or unreadable file, another encoding than UTF-8, a line with missing cells.
        """
        self.path = str(path)
        lines = _lines(_text(path), self.path)
        found = next(lines, None)
        if found is None:
            raise InputError(f"{shortened(path)}: the table is empty; its first line has to name the columns")
        self.columns = [name.strip() for name in found[1]]
        self.rows: list[list[str]] = []
        self.lines: list[int] = []
        for number, cells in lines:
            if len(cells) < len(self.columns):
                raise InputError(
                    f"{shortened(path)}, line {number}: has {len(cells)} cells, the header has {len(self.columns)}; "
                    "correct it, or put cells with a comma in quotes"
                )
            self.rows.append([cell.strip() for cell in cells])
            self.lines.append(number)
        if not self.rows:
            raise InputError(f"{shortened(path)}: the table has a header but no images; add a line for each")

    def column(self, name: str, usual: tuple[str, ...], key: str) -> list[str]:
        """The cells of a column: the one called ``name``, or else the first of ``usual`` that the table has.

        Raises:
          InputError: if there is none; names the setting ``key``.
        """
        shown = ", ".join(f"'{shortened(one)}'" for one in self.columns)
        if not name:
            lower = [one.lower() for one in self.columns]
            found = [self.columns[lower.index(one)] for one in usual if one in lower]
            if not found:
                is_list = len(self.columns) == 1 and re.search(r"\s\d+$", self.columns[0]) is not None
                mend = (
                    "a list of lines 'relative/path label' is read without format="
                    if is_list
                    else "the first line has to name the columns"
                )
                raise InputError(
                    f"{shortened(self.path)}: none of its columns, {shortened(shown, 400)}, is called {usual[0]}; set "
                    f"{key} to the right one ({mend})"
                )
            name = found[0]
        if self.columns.count(name) != 1:
            what = "no column" if name not in self.columns else "several columns"
            raise InputError(
                f"{key}: {shortened(self.path)} has {what} '{shortened(name)}'; it has {shortened(shown, 400)}"
                f"{did_you_mean(name, self.columns)}"
            )
        position = self.columns.index(name)
        return [row[position] for row in self.rows]


def _text(path: str | os.PathLike[str]) -> str:
    content = list_text(path)
    if is_json(content):  # whose lines may be as long as the file
        raise InputError(f"{shortened(path)}: is JSON, not a table with a header; {COCO_WORD}")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{shortened(path)}, line {line}: is not UTF-8 text (byte 0x{content[error.start]:02x}); save it as UTF-8, "
            "which spreadsheets call 'CSV UTF-8'"
        ) from error


def _lines(text: str, path: str) -> Iterator[tuple[int, list[str]]]:
    """(line number, cells) of each line that is not empty."""
    header = re.sub('"[^"]*"', "", text.lstrip("\n").partition("\n")[0])
    delimiter = max(DELIMITERS, key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    begin = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield begin, cells
            begin = reader.line_num + 1
    except csv.Error as error:
        raise InputError(
            f"{shortened(path)}, line {begin}: is no CSV ({error}), a quote that is not closed perhaps; correct it"
        ) from error
