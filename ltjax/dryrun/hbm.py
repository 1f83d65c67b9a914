"""What a TPU's program moves to and from the chip's memory (HBM), by its HLO text.

The compiler's own count has every operand of every instruction. But most of them lie in on-chip memory, where the
compiler copies them ahead of their use: what it counts two or three times is read from HBM once.
"""

import re

from ltjax.dryrun import hlo
from ltjax.dryrun.hlo import ARRAY, Computation, Instruction, Module, one_array_bytes

LAYOUT = re.compile(r"\{[^}]*\}")
ON_CHIP = re.compile(r"S\([1-9]\d*\)")  # a layout's memory space; none is HBM
MOVES = ("copy-start", "slice-start", "dynamic-slice-start")


def hbm_bytes(text: str) -> int:
    """The bytes that a call of a compiled program (``as_text()``) reads from HBM and writes to it.

    Loops count as often as they are known to run, of a conditional the larger branch.

    Example:
      >>> hbm_bytes('''HloModule jit_f
      ... ENTRY %main (x: f32[256]) -> f32[256] {
      ...   %x = f32[256]{0:T(256)} parameter(0)
      ...   %start = (f32[256]{0:T(256)S(1)}, f32[256]{0:T(256)}, u32[]{:S(2)}) copy-start(%x)
      ...   %near = f32[256]{0:T(256)S(1)} copy-done(%start)
      ...   %twice = f32[256]{0:T(256)S(1)} add(%near, %near)
      ...   ROOT %y = f32[256]{0:T(256)} negate(%twice)
      ... }''')  # 1 KiB is read once, 1 KiB is written
      2048
    """
    module = hlo.parse_module(text)
    return _of(module.computations[module.entry], module)


def _of(computation: Computation, module: Module) -> int:
    total = 0
    for one in computation.values():
        if one.opcode in ("while", "conditional", "call", "async-start"):
            inside = [_of(module.computations[name], module) for name in hlo.called(one)]
            total += max(inside, default=0) if one.opcode == "conditional" else (hlo.trips(one) or 1) * sum(inside)
        elif one.opcode not in hlo.FREE and not one.opcode.endswith("-done"):
            total += _moved(one, computation, module)
    return total


def _moved(one: Instruction, within: Computation, module: Module) -> int:
    """Of one instruction; of slices and updates in place, the part."""
    results = arrays(one.shape)
    if one.opcode in MOVES:  # (to, from, a number), in either order
        sides = [side for side in results if side[0] > 4][:2]
        return min((size for size, _ in sides), default=0) * sum(not on_chip for _, on_chip in sides)
    operands = [within[name] for name in one.operands if name in within]
    far = [not all(on_chip for _, on_chip in arrays(operand.shape)) for operand in operands]
    if one.opcode == "fusion":
        inner = module.computations[hlo.called(one)[0]]
        parameters = {p.operands[0]: p for p in inner.values() if p.opcode == "parameter"}
        read = sum(hlo.read_by(parameters[str(i)], inner) for i, off in enumerate(far) if off and str(i) in parameters)
        root = inner.root
        written = [inner[name] for name in root.operands] if root.opcode == "tuple" else [root]
        sizes = [hlo.written_by(value, inner) for value in written]
        return read + sum(size for size, (_, on_chip) in zip(sizes, results, strict=False) if not on_chip)
    if one.opcode in hlo.PARTS:
        return hlo.array_bytes(one.shape) * (far[0] + (not results[0][1]))
    if one.opcode == "dynamic-update-slice":
        return hlo.array_bytes(operands[1].shape) * (far[0] + far[1])
    read = sum(size for operand in operands for size, on_chip in arrays(operand.shape) if not on_chip)
    return read + sum(size for size, on_chip in results if not on_chip)


def arrays(shape: str) -> list[tuple[int, bool]]:
    """(bytes, whether it is in on-chip memory) of each array of a shape.

    Example:
      >>> arrays("(f32[64]{0:T(256)S(1)}, bf16[2,3]{1,0}, u32[]{:S(2)})")
      [(256, True), (12, False), (4, True)]
    """
    found = []
    for match in ARRAY.finditer(shape):
        layout = LAYOUT.match(shape, match.end())
        found.append((one_array_bytes(*match.groups()), bool(layout and ON_CHIP.search(layout[0]))))
    return found
