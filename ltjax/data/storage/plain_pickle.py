"""Reads pickled arrays, lists, numbers and texts without executing the pickle.

``pickle.Unpickler`` calls what a file names, and even numpy's own functions, admitted by name, crash the process when
they get other arguments than numpy gives them. So the opcodes are read here: those that such files consist of, of every
protocol, and of Python 2. Nothing is imported, nothing that the file names is called, and an array is made from its
bytes once its type, shape and length are checked. What a file may name is a ``Kind``: arrays here, tensors elsewhere.

Sources: Python's ``pickletools`` describes the opcodes, numpy's ``ndarray.__reduce__`` the parts of an array.
"""

import codecs
import dataclasses
import math
import struct
import sys
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

MAX_DIMENSIONS = 32
KINDS = "biuf"  # truth values, integers, floating-point numbers; no objects, texts, dates or records
SIZES = ("1", "2", "4", "8")  # bytes


class PlainPickleError(ValueError):
    """Why a file is no such pickle, in one line."""


class Name(NamedTuple):
    """Something that the file names instead of containing it."""

    module: str
    name: str


class Placeholder:
    """An object of which nothing is known but that the file has one."""


@dataclasses.dataclass(frozen=True)
class Kind:
    """What files of one kind may name.

    Attributes:
      calls: the functions -> what is done instead.
      types: what is named and not called.
      stored: what stands for a persistent id, whose content lies outside the pickle; None: the kind has none.
      others: whether any other object may be there, as a ``Placeholder``; otherwise it is an error.
    """

    calls: Mapping[Name, Callable[..., object]]
    types: frozenset[Name] = frozenset()
    stored: Callable[[object], object] | None = None
    others: bool = False


def read(content: bytes) -> object:
    """The value that was pickled, such as a dict of arrays and lists.

    Args:
      content: of the file.

    Returns:
      np.ndarray, list, tuple, dict, int, float, bool, None, bytes or str; arrays stand alone or directly in a dict. The
      strings of Python 2 are bytes.

    Raises:
      PlainPickleError: for anything else, and for a damaged file.

    Example:
      >>> import pickle
      >>> read(pickle.dumps({b"labels": [3, 1], b"data": np.zeros((2, 3), np.uint8)}))[b"labels"]
      [3, 1]
    """
    value, _ = read_at(content, 0, ARRAYS)
    return {name: _finished(item) for name, item in value.items()} if isinstance(value, dict) else _finished(value)


def read_at(content: bytes, at: int, kind: Kind) -> tuple[object, int]:
    """The value that is pickled from a byte on, and where its pickle ends.

    Raises:
      PlainPickleError: for what the kind has not, and for a damaged file.
    """
    machine = _Machine(content, at, kind)
    try:
        while (code := machine.take(1)) != STOP:
            if code not in STEPS:
                raise PlainPickleError(f"the opcode {code!r} at byte {machine.at - 1}, which no array needs")
            step = STEPS[code]
            step(machine)
        return machine.pop(), machine.at
    except PlainPickleError:
        raise
    except Exception as error:  # an operation on the wrong kind of value
        raise PlainPickleError(f"{type(error).__name__}: {error}".splitlines()[0][:200]) from None


class _Type:
    """A dtype: its code, such as "u1", and its byte order."""

    def __init__(self, code: str) -> None:
        self.code, self.order = code, "="

    def dtype(self) -> np.dtype:
        return np.dtype(self.order + self.code)


class _Array:
    """An array, which is mentioned before its content comes."""

    def __init__(self, content: np.ndarray | None = None) -> None:
        self.content = content


def _finished(value: object) -> object:
    if not isinstance(value, _Array):
        return value
    if value.content is None:
        raise PlainPickleError("an array without content")
    return value.content


_MARK = object()


class _Machine:
    """Where the file is read, the stack of values, and those kept for later."""

    def __init__(self, content: bytes, at: int, kind: Kind) -> None:
        self.content, self.at, self.kind = content, at, kind
        self.stack: list[object] = []
        self.kept: dict[int, object] = {}

    def take(self, count: int) -> bytes:
        begin, self.at = self.at, self.at + count
        if not 0 <= count <= len(self.content) - begin:
            raise PlainPickleError("it is truncated")
        return self.content[begin : self.at]

    def unsigned(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def signed(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little", signed=True)

    def line(self) -> bytes:
        end = self.content.find(b"\n", self.at)
        if end < 0:
            raise PlainPickleError("it is truncated")
        text = self.content[self.at : end]
        self.at = end + 1
        return text

    def push(self, value: object) -> None:
        self.stack.append(value)

    def pop(self) -> object:
        if not self.stack or self.stack[-1] is _MARK:
            raise PlainPickleError("a value is missing")
        return self.stack.pop()

    def top(self) -> object:
        value = self.pop()
        self.stack.append(value)
        return value

    def pop_to_mark(self) -> list[object]:
        """Takes the values after the last mark, and the mark."""
        at = len(self.stack) - 1
        while at >= 0 and self.stack[at] is not _MARK:
            at -= 1
        if at < 0:
            raise PlainPickleError("a mark is missing")
        values = self.stack[at + 1 :]
        del self.stack[at:]
        return values

    def keep(self, place: int) -> None:
        self.kept[place] = self.top()

    def recall(self, place: int) -> None:
        if place not in self.kept:
            raise PlainPickleError("a value is missing")
        self.stack.append(self.kept[place])


def _append(machine: _Machine, values: list[object]) -> None:
    found = machine.top()
    if isinstance(found, Placeholder):
        return
    if not isinstance(found, list):
        raise PlainPickleError("values are appended to what is no list")
    found += values


def _set_items(machine: _Machine, values: list[object]) -> None:
    found = machine.top()
    if isinstance(found, Placeholder):
        return
    if not isinstance(found, dict) or len(values) % 2:
        raise PlainPickleError("a name without a value")
    for name, value in zip(values[::2], values[1::2], strict=True):
        if not isinstance(name, str | bytes | int) and not machine.kind.others:
            raise PlainPickleError("a name that is no text")
        found[name] = value


def _new_dict(machine: _Machine) -> None:
    values = machine.pop_to_mark()
    machine.push({})
    _set_items(machine, values)


def _number(text: bytes) -> int | bool:
    return {b"00": False, b"01": True}[text] if text in (b"00", b"01") else int(text.removesuffix(b"L"))


def _quoted(text: bytes) -> bytes:
    """The text of Python 2 in quotes."""
    if len(text) < 2 or text[:1] not in b"'\"" or text[-1:] != text[:1]:
        raise PlainPickleError("a text without quotes")
    return codecs.escape_decode(text[1:-1])[0]


def _name(machine: _Machine, module: object, name: object) -> None:
    if not isinstance(module, str) or not isinstance(name, str):
        raise PlainPickleError("a name that is no text")
    found = Name(module, name)
    if found not in machine.kind.types and found not in machine.kind.calls and not machine.kind.others:
        shown = f"{module[:80]}.{name[:80]}".encode("unicode_escape").decode()
        raise PlainPickleError(f"it asks for {shown}")
    machine.push(found)


def _stack_name(machine: _Machine) -> None:
    name, module = machine.pop(), machine.pop()
    _name(machine, module, name)


def _call(machine: _Machine) -> None:
    arguments, called = machine.pop(), machine.pop()
    if isinstance(called, Name) and called in machine.kind.calls and isinstance(arguments, tuple):
        machine.push(machine.kind.calls[called](*arguments))
    elif machine.kind.others:
        machine.push(Placeholder())
    else:
        raise PlainPickleError("it calls what is no part of an array")


def _new_object(machine: _Machine, parts: int) -> None:
    for _ in range(parts):
        machine.pop()
    if not machine.kind.others:
        raise PlainPickleError("it makes an object, which no array needs")
    machine.push(Placeholder())


def _stored(machine: _Machine) -> None:
    if machine.kind.stored is None:
        raise PlainPickleError("an array whose content lies outside the file")
    machine.push(machine.kind.stored(machine.pop()))


def _build(machine: _Machine) -> None:
    state, made = machine.pop(), machine.top()
    if isinstance(made, _Type) and isinstance(state, tuple):
        _set_order(made, *state)
    elif isinstance(made, _Array) and made.content is None and isinstance(state, tuple):
        _, shape, dtype, by_columns, data = state
        made.content = _array(data, dtype, shape, "F" if by_columns is True else "C")
    elif not machine.kind.others:
        raise PlainPickleError("a state of what is no array")


def _empty(kind: object, shape: object, code: object) -> _Array:
    """numpy's ``_reconstruct``: an array whose content comes next."""
    del code
    if not isinstance(kind, Name) or kind != NDARRAY or shape != (0,):
        raise PlainPickleError("an array that is not made as numpy makes one")
    return _Array()


def _type(code: object, *flags: object) -> _Type:
    """numpy's ``dtype`` of (code, align, copy)."""
    del flags
    text = code.decode("latin-1") if isinstance(code, bytes) else code
    if not isinstance(text, str) or text[:1] not in tuple(KINDS) or text[1:] not in SIZES:
        raise PlainPickleError("an array of other values than numbers")
    return _Type(text)


def _set_order(made: _Type, version: object, order: object, *parts: object) -> None:
    """dtype.__setstate__: (version, byte order, subarray, names, fields, size, alignment, flags)."""
    text = order.decode("latin-1") if isinstance(order, bytes) else order
    if version != 3 or text not in ("|", "<", ">", "=") or len(parts) != 6 or parts[:3] != (None, None, None):
        raise PlainPickleError("an array of other values than numbers")
    made.order = "=" if text == "|" else str(text)


def _from_buffer(data: object, dtype: object, shape: object, order: object) -> _Array:
    """numpy's ``_frombuffer``, of protocol 5."""
    return _Array(_array(data, dtype, shape, order))


def _array(data: object, dtype: object, shape: object, order: object) -> np.ndarray:
    if not isinstance(dtype, _Type) or not isinstance(data, bytes) or order not in ("C", "F"):
        raise PlainPickleError("an array whose content is not bytes")
    if not isinstance(shape, tuple) or len(shape) > MAX_DIMENSIONS:
        raise PlainPickleError("an array without a shape")
    sides = [side for side in shape if type(side) is int and 0 <= side <= sys.maxsize]
    if len(sides) < len(shape) or math.prod(sides) * dtype.dtype().itemsize != len(data):
        raise PlainPickleError(f"an array of {len(data):,} bytes, which are not those of its shape")
    flat = np.frombuffer(data, dtype.dtype()).astype(dtype.code, copy=False)
    return flat.reshape(sides, order="F" if order == "F" else "C")


def _encode(text: object, encoding: object) -> bytes:
    """How Python 3 stores bytes in protocols 0 to 2."""
    if not isinstance(text, str) or encoding not in ("latin1", b"latin1"):
        raise PlainPickleError("bytes that are stored as another text")
    return text.encode("latin-1")


NDARRAY = Name("numpy", "ndarray")
# What the file may call, by the names that numpy 1 and 2 give it -> what is done instead.
CALLS: Mapping[Name, Callable[..., object]] = {
    Name("numpy", "dtype"): _type,
    Name("numpy.core.multiarray", "_reconstruct"): _empty,
    Name("numpy._core.multiarray", "_reconstruct"): _empty,
    Name("numpy.core.numeric", "_frombuffer"): _from_buffer,
    Name("numpy._core.numeric", "_frombuffer"): _from_buffer,
    Name("_codecs", "encode"): _encode,
    Name("__builtin__", "bytes"): lambda: b"",
}
ARRAYS = Kind(CALLS, frozenset({NDARRAY}))
STOP = b"."
# opcode -> what it does
STEPS: dict[bytes, Callable[[_Machine], object]] = {
    b"\x80": lambda m: m.take(1),  # protocol
    b"\x95": lambda m: m.take(8),  # frame
    b"(": lambda m: m.push(_MARK),
    b"N": lambda m: m.push(None),
    b"\x88": lambda m: m.push(True),
    b"\x89": lambda m: m.push(False),
    b"K": lambda m: m.push(m.unsigned(1)),
    b"M": lambda m: m.push(m.unsigned(2)),
    b"J": lambda m: m.push(m.signed(4)),
    b"\x8a": lambda m: m.push(m.signed(m.unsigned(1))),
    b"I": lambda m: m.push(_number(m.line())),
    b"L": lambda m: m.push(_number(m.line())),
    b"G": lambda m: m.push(struct.unpack(">d", m.take(8))[0]),
    b"F": lambda m: m.push(float(m.line())),
    b"S": lambda m: m.push(_quoted(m.line())),  # texts of Python 2
    b"U": lambda m: m.push(m.take(m.unsigned(1))),
    b"T": lambda m: m.push(m.take(m.signed(4))),
    b"C": lambda m: m.push(m.take(m.unsigned(1))),  # bytes
    b"B": lambda m: m.push(m.take(m.unsigned(4))),
    b"\x8e": lambda m: m.push(m.take(m.unsigned(8))),
    b"\x96": lambda m: m.push(m.take(m.unsigned(8))),
    b"\x98": lambda m: None,  # marks a buffer as read-only
    b"V": lambda m: m.push(m.line().decode("raw-unicode-escape")),  # texts
    b"\x8c": lambda m: m.push(m.take(m.unsigned(1)).decode()),
    b"X": lambda m: m.push(m.take(m.unsigned(4)).decode()),
    b")": lambda m: m.push(()),  # tuples
    b"\x85": lambda m: m.push((m.pop(),)),
    b"\x86": lambda m: m.push((m.pop(), m.pop())[::-1]),
    b"\x87": lambda m: m.push((m.pop(), m.pop(), m.pop())[::-1]),
    b"t": lambda m: m.push(tuple(m.pop_to_mark())),
    b"]": lambda m: m.push([]),  # lists
    b"l": lambda m: m.push(m.pop_to_mark()),
    b"a": lambda m: _append(m, [m.pop()]),
    b"e": lambda m: _append(m, m.pop_to_mark()),
    b"}": lambda m: m.push({}),  # dicts
    b"d": _new_dict,
    b"s": lambda m: _set_items(m, [m.pop(), m.pop()][::-1]),
    b"u": lambda m: _set_items(m, m.pop_to_mark()),
    b"p": lambda m: m.keep(int(m.line())),  # values kept for later
    b"q": lambda m: m.keep(m.unsigned(1)),
    b"r": lambda m: m.keep(m.unsigned(4)),
    b"\x94": lambda m: m.keep(len(m.kept)),
    b"g": lambda m: m.recall(int(m.line())),
    b"h": lambda m: m.recall(m.unsigned(1)),
    b"j": lambda m: m.recall(m.unsigned(4)),
    b"c": lambda m: _name(m, m.line().decode(), m.line().decode()),  # functions and types
    b"\x93": _stack_name,
    b"R": _call,
    b"b": _build,
    b"\x81": lambda m: _new_object(m, 2),  # objects of other types
    b"\x92": lambda m: _new_object(m, 3),
    b"Q": _stored,
}
