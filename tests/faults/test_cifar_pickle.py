"""A crafted or damaged CIFAR batch is one InputError: it runs nothing, imports nothing, and crashes nothing."""

import pickle
import struct
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from ltjax.data.storage import cifar_pickle, plain_pickle
from ltjax.errors import InputError
from tests.data.storage.test_cifar_pickle import python2_pickle
from tests.faults.mutate import mutated

DATA = np.random.RandomState(0).randint(0, 256, (6, 3072)).astype(np.uint8)
LABELS = [3, 1, 9, 0, 3, 300]
FILES = {f"protocol {k}": pickle.dumps({b"data": DATA, b"labels": LABELS}, protocol=k) for k in range(6)}
FILES |= {"Python 2": python2_pickle(DATA, [3, 1, 9, 0, 3, 7])}


def read(tmp_path, content):
    path = tmp_path / "batch"
    path.write_bytes(content)
    return cifar_pickle._batch(path, b"labels")


@pytest.mark.parametrize("name", FILES)
def test_batches_of_every_protocol_are_read(tmp_path, name):
    images, labels = read(tmp_path, FILES[name])
    np.testing.assert_array_equal(images, DATA.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    assert labels.tolist()[:5] == LABELS[:5] and labels.dtype == np.int64


@pytest.mark.parametrize("protocol", range(6))
def test_values_and_arrays_are_those_of_pickle(protocol):
    arrays = {
        "F": np.asfortranarray(np.arange(6).reshape(2, 3)), "big": np.arange(3, dtype=">i4"), "f": np.ones(2, "f4"),
        "none": np.zeros((0, 3), np.uint8), "one": np.array(True), "u": np.array([2**64 - 1], np.uint64),
    }  # fmt: skip
    values = {
        "text": "é\n\\'", b"bytes": b"\0\xff'", "numbers": [0, 1, 255, 256, 2**31, -1, -(2**70), 1.5],
        "others": [True, False, None],
        "tuples": ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)), "nested": {"a": [[1], {}]}, "empty": b"", 7: 7,
    }  # fmt: skip
    found = plain_pickle.read(pickle.dumps({**values, **arrays}, protocol))
    for name, array in arrays.items():
        np.testing.assert_array_equal(found.pop(name), array)
    assert found == values


def batch(labels):
    """A file whose labels are these opcodes."""
    array = pickle.dumps(DATA, protocol=3)[2:-1]
    return b"\x80\x03}(C\x04data" + array + b"C\x06labels" + labels + b"u."


ND, DTYPE = b"cnumpy\nndarray\n", b"cnumpy\ndtype\n"
OBJECTS = DTYPE + b"(X\x01\x00\x00\x00OtR"
BYTES = DTYPE + b"(X\x02\x00\x00\x00u1K\x00K\x01tR"
EMPTY = b"cnumpy.core.multiarray\n_reconstruct\n(" + ND + b"K\x00\x85C\x01btR"
NESTED = b"(K\x01tq\x01" + b"".join(b"h\x01h\x01\x86q\x01" for _ in range(60))  # 2^60 elements in 300 bytes
CRAFTED = {
    "an array of objects over raw bytes": ND + b"(K\x01\x85" + OBJECTS + b"B" + struct.pack("<I", 8) + b"A" * 8 + b"tR",
    "the type of objects": EMPTY + b"(K\x01K\x01\x85" + OBJECTS + b"\x89C\x08" + b"A" * 8 + b"tb",
    "a type that calls itself one of bytes": BYTES + b"(K\x03C\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK?tb0N",
    "a type with fields": BYTES + b"(K\x03C\x01|NC\x01a\x85}K\x08K\x08K\x00tb",
    "a type with flags and metadata": BYTES + b"(K\x03C\x01|NNNK\x08K\x08K?}tb",
    "numpy's ndarray called": ND + b"(K\x01\x85tR",
    "numpy's ndarray in place of a type": EMPTY + b"(K\x01K\x01\x85" + ND + b"\x89C\x01AtbR",
    "an array of another shape": EMPTY + b"(K\x01K\x09\x85" + BYTES + b"\x89C\x08" + b"A" * 8 + b"tb",
    "an array of a negative shape": EMPTY + b"(K\x01J\xff\xff\xff\xff\x85" + BYTES + b"\x89C\x01Atb",
    "an array of a huge shape": EMPTY + b"(K\x01\x8a\x0a" + b"\xff" * 9 + b"\x00\x85" + BYTES + b"\x89C\x01Atb",
    "an array without content": EMPTY,
    "an array with two contents": EMPTY + (b"(K\x01K\x01\x85" + BYTES + b"\x89C\x01Atb") * 2,
    "an array of arrays": b"]" + EMPTY + b"a",
    "a function called": b"cos\nsystem\n(X\x04\x00\x00\x00truetR",
    "a function with a line break in its name": b"\x8c\x02os\x8c\x08sys\n\x1b[2J\x93",
    "a module of numpy": b"cnumpy.testing._private.utils\nrunstring\n(X\x01\x00\x00\x001}tR",
    "a class made": b"cnumpy\nndarray\n)\x81",
    "an instance made": b"(inumpy\nndarray\n",
    "an extension": b"\x82\x01",
    "a persistent name": b"Pname\n",
    "values nested without end": NESTED,
    "a name of nested values": NESTED + NESTED + b"\x93",
    "a shape of nested values": EMPTY + b"(K\x01" + NESTED + BYTES + b"\x89C\x01Atb",
    "a list that holds itself": b"]q\x01h\x01a",
    "a dict of unhashable names": b"}]K\x01s",
    "a value kept at place 2^32 - 1": b"K\x01r\xff\xff\xff\xff",
    "a text that claims 4 GiB": b"B\xff\xff\xff\xffA",
    "a text that claims 2^64 bytes": b"\x8e" + b"\xff" * 8,
    "a number of a million digits": b"I" + b"9" * 1_000_000 + b"\n",
    "labels that are texts": b"](C\x01aC\x01be",
    "labels that are no integers": b"](G?\xf0\x00\x00\x00\x00\x00\x00e",
    "labels that are truth values": b"](\x88\x89e",
    "labels of many digits": b"](\x8a\x09" + b"\x01" * 9 + b"e",
    "nothing on the stack": b"0000",
    "no mark": b"te",
}


@pytest.mark.parametrize("name", CRAFTED)
def test_a_crafted_batch_is_one_line(tmp_path, name):
    modules = set(sys.modules)
    with pytest.raises(InputError, match="unpack the archive again") as error:
        read(tmp_path, batch(CRAFTED[name]))
    assert "\n" not in str(error.value) and "\x1b" not in str(error.value) and len(str(error.value)) < 400
    assert set(sys.modules) == modules


def damaged_batches(folder, count, seed):
    """Reads damaged batches; returns how many were refused."""
    refused, path = 0, folder / "batch"
    for _, content in mutated(FILES, count, seed):
        path.write_bytes(content)
        try:
            images, labels = cifar_pickle._batch(path, b"labels")
        except InputError as error:
            assert "\n" not in str(error)
            refused += 1
        else:
            assert images.dtype == np.uint8 and images.shape[1:] == (32, 32, 3) and labels.dtype == np.int64
    return refused


def test_damaged_batches_are_refused_or_read(tmp_path):
    modules = set(sys.modules)
    assert 150 < damaged_batches(tmp_path, 350, seed=0) < 350
    assert set(sys.modules) == modules


@pytest.mark.slow
def test_thousands_of_damaged_batches(tmp_path):
    """In a process of its own, which a crash would end, with 1 GiB of memory."""
    program = f"""
        import pathlib
        from tests.faults.mutate import limit_memory
        from tests.faults.test_cifar_pickle import damaged_batches
        limit_memory(2**30)
        print(damaged_batches(pathlib.Path({str(tmp_path)!r}), 6_000, seed=1))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 2_000
