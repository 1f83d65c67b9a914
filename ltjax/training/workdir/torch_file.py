"""Reads the tensors of a PyTorch file (.pth, .pt, .bin) without PyTorch, and without executing what is in it.

``torch.load`` unpickles, which runs whatever code a file names. Here the pickle is read by
``data.storage.plain_pickle``: nothing is imported, nothing that the file names is called, and a tensor is made from its
bytes once its type, shape and strides are checked. Optimizers, arguments and other objects beside the tensors are
passed over.

Both layouts are read: the zip archive of PyTorch 1.6 and later (``data.pkl`` and a member per storage), and the
sequence of pickles before (magic number, protocol, system, objects, keys of the storages, and their bytes).
"""

import dataclasses
import io
import math
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import NamedTuple

import ml_dtypes
import numpy as np

from ltjax.data.storage.plain_pickle import CALLS, Kind, Name, Placeholder, PlainPickleError, read_at
from ltjax.errors import InputError

MAGIC = 0x1950A86A20F9469CFC6C  # of the older layout
DTYPES: dict[str, np.dtype] = {
    "DoubleStorage": np.dtype("<f8"),
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}
# Where training scripts put the weights beside what else they save, the first of them first.
NESTED = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "state_dict_best", "feat_model")
DEPTH = 3  # of dicts in dicts


class _Storage(NamedTuple):
    dtype: np.dtype
    key: str
    size: int  # values


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # in values


def is_torch_zip(content: bytes) -> bool:
    """Whether it is a zip archive as PyTorch writes it."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return any(name.endswith("/data.pkl") for name in archive.namelist())
    except zipfile.BadZipFile:
        return False


def read_torch_file(content: bytes) -> dict[str, np.ndarray]:
    """The state_dict in a PyTorch file, as numpy arrays by name.

    Args:
      content: of the file.

    Returns:
      The tensors of the dict that is the file, or that lies in it as ``state_dict``, ``model`` or the like.

    Raises:
      InputError: without the file's name, for a damaged file and for one that holds no dict of tensors.
    """
    try:
        value, stored = _read_zip(content) if content.startswith(b"PK") else _read_sequence(content)
        tensors = _tensors(value, DEPTH)
        if not tensors:
            raise InputError(f"a PyTorch file without a dict of tensors: it holds {_held(value)}")
        return {name: _array(tensor, stored) for name, tensor in tensors.items()}
    except InputError:
        raise
    except PlainPickleError as error:
        raise InputError(f"not a readable PyTorch file: {error}; copy or make it again") from None
    except (
        zipfile.BadZipFile,
        zlib.error,
        LookupError,
        ValueError,
        EOFError,
        OSError,
        RuntimeError,
        struct.error,
    ) as error:
        reason = " ".join(str(error).split())[:80] or type(error).__name__
        raise InputError(
            f"not a readable PyTorch file: cut short or damaged ({reason}); copy or make it again"
        ) from None


def _held(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(ascii(name)[:40] for name in list(value)[:5]) or "nothing"
    if isinstance(value, Placeholder):
        return "a whole model, which is code; save its state_dict() instead"
    return f"one value of the type {type(value).__name__}"


def _tensors(value: object, depth: int) -> dict[str, _Tensor]:
    """The tensors by name: those of this dict, or of the first dict inside it that has some."""
    if not isinstance(value, dict) or not depth:
        return {}
    here = {
        _text(name): item for name, item in value.items() if isinstance(item, _Tensor) and isinstance(name, str | bytes)
    }
    if here:
        return here
    known = [name for word in NESTED for name in (word, word.encode()) if name in value]  # bytes of Python 2
    inside = known + [name for name in value if name not in known]
    return next((found for name in inside if (found := _tensors(value[name], depth - 1))), {})


def _storage(identity: object) -> _Storage:
    """A persistent id: ("storage", type, key, device, number of values, ...)."""
    if not isinstance(identity, tuple) or len(identity) < 5:
        raise PlainPickleError("a storage without a type")
    word, kind, key, _, size = identity[:5]
    if _text(word) != "storage" or not isinstance(kind, Name) or type(size) is not int or size < 0:
        raise PlainPickleError("a storage without a type")
    if kind.name not in DTYPES:
        raise PlainPickleError(f"tensors of the type {kind.name[:40]!a}, which holds no plain numbers")
    return _Storage(DTYPES[kind.name], _text(key), size)


def _text(value: object) -> str:
    """Texts of Python 2 are bytes."""
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if not isinstance(value, str):
        raise PlainPickleError("a storage without a name")
    return value


def _tensor(storage: object, offset: object, shape: object, strides: object, *others: object) -> _Tensor:
    """``torch._utils._rebuild_tensor_v2``."""
    del others
    numbers = (offset, *shape, *strides) if isinstance(shape, tuple) and isinstance(strides, tuple) else (None,)
    if not isinstance(storage, _Storage) or not all(type(number) is int and number >= 0 for number in numbers):
        raise PlainPickleError("a tensor without a shape")
    assert isinstance(offset, int) and isinstance(shape, tuple) and isinstance(strides, tuple)
    if len(shape) != len(strides):
        raise PlainPickleError("a tensor without strides")
    last = offset + sum((side - 1) * stride for side, stride in zip(shape, strides, strict=True))
    if 0 not in shape and (last >= storage.size or math.prod(shape) > storage.size):
        raise PlainPickleError("a tensor larger than what is stored of it")
    return _Tensor(storage, offset, shape, strides)


def _parameter(tensor: object, *others: object) -> object:
    """``torch._utils._rebuild_parameter``: the tensor in it."""
    del others
    return tensor


TENSORS = Kind(
    calls={
        Name("torch._utils", "_rebuild_tensor_v2"): _tensor,
        Name("torch._utils", "_rebuild_tensor"): _tensor,
        Name("torch._utils", "_rebuild_parameter"): _parameter,
        Name("_codecs", "encode"): CALLS[Name("_codecs", "encode")],  # bytes
        Name("collections", "OrderedDict"): lambda pairs=(): dict(pairs),  # Python 2 has the pairs here
    },
    stored=_storage,
    others=True,
)

Read = Callable[[_Storage], np.ndarray]


def _read_zip(content: bytes) -> tuple[object, Read]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {one.filename: one for one in archive.infolist()}
        pickles = [name for name in members if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise PlainPickleError("its data.pkl is missing")
        folder = pickles[0].removesuffix("data.pkl")
        order = f"{folder}byteorder"
        if order in members and archive.read(order).strip() == b"big":
            raise InputError("a PyTorch file of a big-endian machine; save it again on another one")
        pickled = archive.read(f"{folder}data.pkl")

    def stored(storage: _Storage) -> np.ndarray:
        name = f"{folder}data/{storage.key}"
        if name not in members or members[name].file_size != storage.size * storage.dtype.itemsize:
            raise PlainPickleError(f"the storage {storage.key[:20]!a} is missing, or has another size")
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return np.frombuffer(archive.read(name), storage.dtype)

    return read_at(pickled, 0, TENSORS)[0], stored


def _read_sequence(content: bytes) -> tuple[object, Read]:
    magic, at = read_at(content, 0, TENSORS)
    if magic != MAGIC:
        raise InputError("a pickled file, and none of PyTorch: it does not begin with PyTorch's number")
    _, at = read_at(content, at, TENSORS)  # the protocol
    system, at = read_at(content, at, TENSORS)
    little = isinstance(system, dict) and (system.get("little_endian", system.get(b"little_endian")) is not False)
    if not little:
        raise InputError("a PyTorch file of a big-endian machine; save it again on another one")
    mentioned: list[_Storage] = []  # those of an optimizer, too: each takes its place in the file

    def noted(identity: object) -> _Storage:
        mentioned.append(_storage(identity))
        return mentioned[-1]

    value, at = read_at(content, at, dataclasses.replace(TENSORS, stored=noted))
    keys, at = read_at(content, at, TENSORS)
    if not isinstance(keys, list):
        raise PlainPickleError("the list of its storages is missing")
    begins = {_text(key): number for number, key in enumerate(keys)}
    places: list[tuple[int, int]] = []  # where each storage begins, its number of values

    def stored(storage: _Storage) -> np.ndarray:
        if storage.key not in begins:
            raise PlainPickleError(f"the storage {storage.key[:20]!a} is missing")
        begin, size = places[begins[storage.key]]
        if size != storage.size or begin + size * storage.dtype.itemsize > len(content):
            raise PlainPickleError(f"the storage {storage.key[:20]!a} is truncated, or has another size")
        return np.frombuffer(content, storage.dtype, size, begin)

    widths = {storage.key: storage.dtype.itemsize for storage in mentioned}
    for key in begins:
        if at + 8 > len(content) or key not in widths:
            raise PlainPickleError("it is truncated")
        (size,) = struct.unpack_from("<q", content, at)
        places.append((at + 8, size))
        at += 8 + max(size, 0) * widths[key]
    return value, stored


def _array(tensor: _Tensor, stored: Read) -> np.ndarray:
    flat = stored(tensor.storage)
    strides = [stride * flat.itemsize for stride in tensor.strides]
    view = np.lib.stride_tricks.as_strided(flat[tensor.offset :], tensor.shape, strides)
    widened = view.astype(np.float32) if view.dtype == ml_dtypes.bfloat16 else view
    return np.array(widened, order="C")  # a copy: the file's content is not kept
