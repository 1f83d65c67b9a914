"""Damaged and crafted .npz and .npy files: their arrays, or one line."""

import io
import pathlib
import zipfile

import numpy as np
import pytest
from etils import epath

from ltjax.data.storage.cifar_npz import open_arrays
from ltjax.errors import InputError
from ltjax.report.run import _read_arrays
from tests.faults.mutate import mutated


def saved(save, *arrays, **named):
    file = io.BytesIO()
    save(file, *arrays, **named)
    return file.getvalue()


PIXELS, LABELS = np.arange(600, dtype=np.uint8).reshape(2, 300), np.arange(3)
FILES = {
    "npz": saved(np.savez, images=PIXELS, labels=LABELS),
    "compressed": saved(np.savez_compressed, images=PIXELS, labels=LABELS),
    "npy": saved(np.save, PIXELS),
}


def read_all(path):
    with open_arrays(path) as arrays:
        return {name: arrays[name] for name in arrays}


def npz(header):
    """An archive of one array with this header."""
    file, text = io.BytesIO(), header.encode("latin-1")
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("images.npy", b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text + b"abcdefgh")
    return file.getvalue()


CRAFTED = {
    "an array of 8 TB": npz("{'descr': '|u1', 'fortran_order': False, 'shape': (2000000, 2000000, 2), }"),
    "an array of objects": npz("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"),
    "a header that is cut": npz("{'descr': '|u1', 'fortran_order'"),
    "a header of nested brackets": npz("(" * 5000),
    "a program in a header": npz("__import__('os').system('true')"),
    "a pickle": b"\x80\x04\x95\x0f\0\0\0\0\0\0\0\x8c\x05posix\x94.",
}


@pytest.mark.parametrize("name", CRAFTED)
def test_a_crafted_file_of_arrays_is_one_line(tmp_path, name):
    path = tmp_path / "x.npz"
    path.write_bytes(CRAFTED[name])
    with pytest.raises(InputError, match=r"x\.npz: cannot be read as \.npz or \.npy") as error:
        read_all(path)
    assert "\n" not in str(error.value)
    damaged = []
    assert _read_arrays(epath.Path(path), damaged) == {} and damaged == ["x.npz"]


@pytest.mark.filterwarnings("ignore")
def test_damaged_files_of_arrays(tmp_path):
    path, refused = pathlib.Path(tmp_path / "x.npz"), 0
    for _, content in mutated(FILES, 300):
        path.write_bytes(content)
        _read_arrays(epath.Path(path), [])
        try:
            read_all(path)
        except InputError as error:
            assert "\n" not in str(error)
            refused += 1
    assert 100 < refused < 300
