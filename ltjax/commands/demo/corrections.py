"""The right labels of images, as a list file that training reads, with copies of the images beside it.

corrections/list.txt            images/0f3a....jpg 7
corrections/class_names.txt     a name in each line, by label
corrections/images/             the copies, named by their content
"""

import os
import pathlib
import threading
from collections.abc import Sequence

from ltjax.data.storage.list_file import read_list
from ltjax.data.storage.paths import write_atomically
from ltjax.errors import InputError

LIST, NAMES, IMAGES = "list.txt", "class_names.txt", "images"


class Corrections:
    """The list in a folder, which is made with the first image."""

    def __init__(self, folder: str | os.PathLike[str], class_names: Sequence[str]) -> None:
        self.folder, self.class_names = pathlib.Path(folder), tuple(class_names)
        self.path = self.folder / LIST
        self.lock = threading.Lock()

    def labels(self) -> dict[str, int]:
        """The file and the label of each image in the list.

        Raises:
          InputError: for a list that cannot be read.
        """
        if not self.path.exists() or not self.path.read_bytes().strip():
            return {}
        listed = read_list(self.path, str(self.folder))
        return {listed.files[i]: int(listed.labels[i]) for i in range(len(listed))}

    def add(self, file: str, encoded: bytes, label: int) -> int:
        """Copies the image and lists it; an image that is listed gets the new label. Returns how many are listed.

        Args:
          file: a name by ``uploads.file_name``.
          encoded: the image's bytes.
          label: 0 .. C - 1.

        Raises:
          InputError: for a label out of range, a damaged list, or a folder that cannot be written.
        """
        if not 0 <= label < len(self.class_names):
            raise InputError(f"label {label}; allowed: 0 to {len(self.class_names) - 1}")
        with self.lock:
            labels = self.labels() | {f"{IMAGES}/{file}": label}
            try:
                (self.folder / IMAGES).mkdir(parents=True, exist_ok=True)
                if not (self.folder / IMAGES / file).exists():
                    write_atomically(self.folder / IMAGES / file, encoded)
                if not (self.folder / NAMES).exists() and all(map(_in_a_line, self.class_names)):
                    write_atomically(self.folder / NAMES, "".join(f"{name}\n" for name in self.class_names))
                write_atomically(self.path, "".join(f"{one} {value}\n" for one, value in labels.items()))
            except OSError as error:
                raise InputError(f"{self.folder}: cannot be written ({error.strerror or error})") from error
        return len(labels)


def _in_a_line(name: str) -> bool:
    return bool(name.strip()) and name == name.strip() and name.splitlines() == [name]
