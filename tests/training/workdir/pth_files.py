"""Files as PyTorch writes them, made without PyTorch: from the description of its two layouts."""

import collections
import io
import pickle
import struct
import sys
import types
import zipfile
from unittest import mock

import numpy as np

STORAGES = {"f4": "FloatStorage", "f8": "DoubleStorage", "f2": "HalfStorage", "i8": "LongStorage", "u1": "ByteStorage"}


class Tensor:
    """A view of an array's memory, which is pickled as a tensor."""

    def __init__(self, array: np.ndarray, base: np.ndarray | None = None) -> None:
        self.array = np.asarray(array)
        self.base = self.array if base is None else base  # whose memory is stored, once for all views of it

    def __reduce__(self):
        array, base = self.array, self.base
        offset = (array.__array_interface__["data"][0] - base.__array_interface__["data"][0]) // array.itemsize
        strides = tuple(stride // array.itemsize for stride in array.strides)
        return rebuild_tensor, (base, offset, array.shape, strides, False, collections.OrderedDict())


def rebuild_tensor():
    """Stands for torch._utils._rebuild_tensor_v2 while a file is made."""


rebuild_tensor.__module__, rebuild_tensor.__qualname__ = "torch._utils", "_rebuild_tensor_v2"


class _Pickler(pickle.Pickler):
    def __init__(self, file, layout: str, types_of: dict[str, type]) -> None:
        super().__init__(file, protocol=2)
        self.layout, self.types_of, self.bases = layout, types_of, []

    def persistent_id(self, value):
        if not isinstance(value, np.ndarray):
            return None
        keys = [key for key, base in enumerate(self.bases) if base is value]
        if not keys:
            self.bases.append(value)
        key = str(keys[0] if keys else len(self.bases) - 1)
        kind = self.types_of[STORAGES[value.dtype.str[1:]]]
        return ("storage", kind, key, "cpu", value.size, *(() if self.layout == "zip" else (None,)))


def pth(value: object, layout: str = "zip") -> bytes:
    """The bytes of a file; ``layout`` is "zip", or "old" as before PyTorch 1.6."""
    types_of = {name: type(name, (), {"__module__": "torch"}) for name in STORAGES.values()}
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    vars(torch).update(types_of)
    utils._rebuild_tensor_v2 = rebuild_tensor
    file = io.BytesIO()
    with mock.patch.dict(sys.modules, {"torch": torch, "torch._utils": utils}):
        pickler = _Pickler(file, layout, types_of)
        pickler.dump(value)
    contents = [np.ascontiguousarray(base).tobytes() for base in pickler.bases]
    out = io.BytesIO()
    if layout == "zip":
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr("archive/data.pkl", file.getvalue())
            for key, content in enumerate(contents):
                archive.writestr(f"archive/data/{key}", content)
        return out.getvalue()
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    for head in (0x1950A86A20F9469CFC6C, 1001, system):
        out.write(pickle.dumps(head, 2))
    out.write(file.getvalue())
    out.write(pickle.dumps([str(key) for key in range(len(contents))], 2))
    for base, content in zip(pickler.bases, contents, strict=True):
        out.write(struct.pack("<q", base.size) + content)
    return out.getvalue()
