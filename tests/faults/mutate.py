"""Damaged versions of files, drawn from a seed: bytes changed and overwritten, pieces cut, repeated and exchanged."""

import pathlib
import resource
import struct

import numpy as np

NUMBERS = [
    packed
    for form in "<>"
    for value in (0, 1, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1)
    for packed in (struct.pack(f"{form}I", value), struct.pack(f"{form}H", value & 0xFFFF))
]


def mutated(files, count, seed=0):
    """``count`` damaged versions of ``files``, {name: bytes}: (name, bytes) each; half of the damage near the start."""
    rng = np.random.RandomState(seed)
    names = list(files)
    for number in range(count):
        name = names[number % len(names)]
        content = bytearray(files[name])
        for _ in range(rng.randint(1, 5)):
            content = _damaged(content, bytes(files[names[rng.randint(len(names))]]), rng)
        yield name, bytes(content)


def limit_memory(more):
    """From here on this process may take so many bytes more."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + more
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _damaged(content, other, rng):
    if len(content) < 2:
        return content
    reach = len(content) if rng.randint(2) else min(len(content), 200)
    at, end = (int(place) for place in np.sort(rng.randint(0, reach, 2)))
    kind = rng.randint(7)
    if kind == 0:
        content[at] ^= 1 << rng.randint(8)
    elif kind == 1:
        content[at] = rng.randint(256)
    elif kind == 2:
        number = NUMBERS[rng.randint(len(NUMBERS))]
        content[at : at + len(number)] = number
    elif kind == 3:
        del content[len(content) - rng.randint(len(content)) :]
    elif kind == 4:
        del content[at : min(end, at + 64)]
    elif kind == 5:
        content[at:at] = content[at : min(end, at + 64)] * rng.randint(1, 4)
    else:
        start = rng.randint(len(other))
        content[at : at + 16] = other[start : start + 16]
    return content
