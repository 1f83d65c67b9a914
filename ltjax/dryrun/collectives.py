"""The collectives of a compiled program, parsed from its HLO text."""

import math
import re
from collections.abc import Iterable
from typing import NamedTuple

from ltjax.dryrun.hlo import ARRAY, one_array_bytes

KINDS = (
    "all-reduce", "all-gather", "reduce-scatter", "all-to-all", "ragged-all-to-all", "collective-permute",
    "collective-broadcast", "send", "recv",
)  # fmt: skip
# "%name = SHAPES kind(": asynchronous collectives are counted at "-start", not at "-done"
INSTRUCTION = re.compile(rf"\s*(?:ROOT )?%?[\w.-]+ = (.+?) ({'|'.join(KINDS)})(-start)?\(")
NAME = re.compile(r'op_name="([^"]*)"')
PARTITIONS = re.compile(r"\bnum_partitions=(\d+)")
# replica_groups in the compiler's three forms: {{0,1},{2,3}}, [2,2]<=[4], mesh['x'=2,'y'=2] {'y'}
GROUP_MEMBERS = re.compile(r"replica_groups=\{\{([\d,]+)\}")
GROUP_SIZE = re.compile(r"replica_groups=\[\d+,(\d+)\]")
GROUP_AXES = re.compile(r"replica_groups=mesh\[([^\]]*)\] \{([^}]*)\}")


class Collective(NamedTuple):
    """One collective instruction.

    Attributes:
      kind: as in ``KINDS``.
      bytes: size of the full arrays after the operation (all-reduce, all-gather) or before it (reduce-scatter).
      group: number of devices that take part.
      shapes: of the arrays, such as ("f32[64]",).
      origin: its place in the traced function, such as "jit(one)/.../norm1/reduce_sum".
    """

    kind: str
    bytes: int
    group: int
    shapes: tuple[str, ...]
    origin: str


def collectives(text: str) -> list[Collective]:
    """The collectives in ``compiled.as_text()``, in order; those in the body of a loop are counted once.

    Example:
      >>> text = '''HloModule jit_step, num_partitions=8
      ...   %all-reduce.1 = (f32[64]{0}, bf16[2,3]{1,0}) all-reduce(%a, %b), replica_groups=[1,8]<=[8], to_apply=%sum
      ...   %start = (f32[4]{0}, f32[32]{0}) all-gather-start(%c), replica_groups={{0,1,2,3,4,5,6,7}}, dimensions={0}
      ...   %done = f32[32]{0} all-gather-done(%start)'''
      >>> [(one.kind, one.bytes, one.group, one.shapes) for one in collectives(text)]
      [('all-reduce', 268, 8, ('f32[64]', 'bf16[2,3]')), ('all-gather', 128, 8, ('f32[32]',))]
    """
    partitions = PARTITIONS.search(text)
    devices, found = int(partitions[1]) if partitions else 1, []
    for line in text.splitlines():
        match = INSTRUCTION.match(line)
        if match:
            kind, name = match[2], NAME.search(line)
            arrays = _results(kind, bool(match[3]), ARRAY.findall(match[1]))
            group = group_size(line, devices)
            size = sum(one_array_bytes(*one) for one in arrays) * (group if kind == "reduce-scatter" else 1)
            shapes = tuple(f"{letters}{bits}[{sides}]" for letters, bits, sides in arrays)
            found.append(Collective(kind, size, group, shapes, name[1] if name else ""))
    return found


def _results(kind: str, starts: bool, arrays: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """The output arrays. A "-start" other than an all-reduce's also lists its inputs, and counters."""
    if not starts or kind == "all-reduce":
        return arrays
    data = [one for one in arrays if one[:2] != ("u", "32") or one[2]]
    return data[len(data) // 2 :]


def group_size(line: str, devices: int) -> int:
    """The number of devices in one group of the instruction; all ``devices`` if it names no groups.

    Example:
      >>> group_size("all-reduce(%x), replica_groups=mesh['a'=2,'b'=4] {'b'}, to_apply=%sum", 8)
      4
    """
    if listed := GROUP_MEMBERS.search(line):
        return listed[1].count(",") + 1
    if counted := GROUP_SIZE.search(line):
        return int(counted[1])
    if named := GROUP_AXES.search(line):
        sizes = dict(re.findall(r"'([^']+)'=(\d+)", named[1]))
        parts = re.findall(r"'([^']+)'(?::\(\d+\)(\d+))?", named[2])  # 'a', or 'a':(1)2 for a part of an axis
        return math.prod(int(part or sizes[axis]) for axis, part in parts)
    return devices


def traffic(one: Collective) -> float:
    """The minimum of bytes that each chip sends; an all-reduce is a reduce-scatter and an all-gather.

    Example:
      >>> traffic(Collective("all-reduce", 100, 4, (), "")), traffic(Collective("all-gather", 100, 4, (), ""))
      (150.0, 75.0)
    """
    others = (one.group - 1) / one.group
    if one.kind == "all-reduce":
        return 2 * others * one.bytes
    return others * one.bytes if one.kind in ("all-gather", "reduce-scatter", "all-to-all") else float(one.bytes)


def totals(found: Iterable[Collective]) -> dict[str, tuple[int, int]]:
    """kind -> (number, bytes in total), the largest first.

    Example:
      >>> totals([Collective("all-gather", 8, 2, (), ""), *[Collective("all-reduce", 6, 2, (), "")] * 2])
      {'all-reduce': (2, 12), 'all-gather': (1, 8)}
    """
    sums: dict[str, tuple[int, int]] = {}
    for one in found:
        count, size = sums.get(one.kind, (0, 0))
        sums[one.kind] = (count + 1, size + one.bytes)
    return dict(sorted(sums.items(), key=lambda item: -item[1][1]))
