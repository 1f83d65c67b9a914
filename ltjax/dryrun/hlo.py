"""Reads a compiled program's HLO text: its instructions, the bytes that each moves, and what depends on what."""

import math
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import NamedTuple

ARRAY = re.compile(r"\b(pred|[a-z]+?)(\d*)(?:e\d\w*)?\[([\d,]*)\]")
HEADER = re.compile(r"^(ENTRY )?%?([\w.-]+) \(.*\) -> .* \{")
NAME = re.compile(r"^\s+(?:ROOT )?%?([\w.-]+) = ")
OPCODE = re.compile(r" ([a-z][\w-]*)\(")
OPERAND = re.compile(r"%([\w.-]+)")
CALLED = re.compile(r"(?:calls|to_apply|body|condition)=%?([\w.-]+)")
BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
TARGET = re.compile(r'custom_call_target="([^"]*)"')
LABELS = re.compile(r"dim_labels=[^_]+_([^-]+)->")
CONTRACTED = re.compile(r"lhs_contracting_dim(?:s=\{|ensions\":\[)([\"\d,]*)")
PREDECESSORS = re.compile(r"control-predecessors=\{([^}]*)\}")
PARTS = ("slice", "dynamic-slice", "gather")  # operations that read a part of their first operand
# Operations that run no kernel: names, views, and what the host does.
FREE = frozenset({
    "parameter", "constant", "get-tuple-element", "tuple", "bitcast", "after-all", "opt-barrier", "domain",
    "partition-id", "replica-id", "add-dependency", "get-dimension-size",
})  # fmt: skip


class Instruction(NamedTuple):
    """One instruction: ``%name = shape opcode(operands), attributes``."""

    name: str
    shape: str
    opcode: str
    operands: tuple[str, ...]
    attributes: str

    @property
    def target(self) -> str:
        """Of a custom call: the library's function."""
        found = TARGET.search(self.attributes) if self.opcode == "custom-call" else None
        return found[1] if found else ""

    @property
    def is_convolution(self) -> bool:
        return self.opcode == "convolution" or self.target.startswith("__cudnn$conv")

    @property
    def is_product(self) -> bool:
        """A matrix product, by a library or a generated kernel."""
        return self.opcode == "dot" or self.target.startswith("__cublas") or self.name.startswith("gemm_fusion")


class Computation(dict[str, Instruction]):
    """The instructions of one computation by name, in order; the last one is its result."""

    @property
    def root(self) -> Instruction:
        return next(reversed(self.values()))

    @cached_property
    def users(self) -> Mapping[str, list[Instruction]]:
        """Name -> the instructions that take it."""
        found: dict[str, list[Instruction]] = {}
        for one in self.values():
            for operand in dict.fromkeys(one.operands):
                found.setdefault(operand, []).append(one)
        return found


class Module(NamedTuple):
    """A compiled program: its computations by name."""

    entry: str
    computations: Mapping[str, Computation]


def parse_module(text: str) -> Module:
    """Parses ``compiled.as_text()``.

    Example:
      >>> module = parse_module('''HloModule jit_f, is_scheduled=true
      ... %fused (p: f32[2,3]) -> f32[2,3] {
      ...   %p = f32[2,3]{1,0} parameter(0)
      ...   ROOT %n = f32[2,3]{1,0} negate(%p)
      ... }
      ... ENTRY %main (x: f32[2,3]) -> f32[2,3] {
      ...   %x = f32[2,3]{1,0} parameter(0)
      ...   ROOT %f = f32[2,3]{1,0} fusion(%x), kind=kLoop, calls=%fused
      ... }''')
      >>> module.entry, module.computations["main"].root.operands, array_bytes(module.computations["main"]["f"].shape)
      ('main', ('x',), 24)
    """
    computations: dict[str, Computation] = {}
    entry, current, root = "", Computation(), ""
    for line in text.splitlines():
        if header := HEADER.match(line):
            current = computations[header[2]] = Computation()
            entry = header[2] if header[1] else entry
        elif name := NAME.match(line):
            one = _instruction(name[1], line[name.end() :])
            if one is not None:
                current[one.name] = one
                if line.lstrip().startswith("ROOT "):
                    root = one.name
        elif line.startswith("}") and root in current and current.root.name != root:
            current[root] = current.pop(root)
    return Module(entry, computations)


def _instruction(name: str, rest: str) -> Instruction | None:
    """Of the text behind ``=``: a shape (of a tuple in parentheses), an opcode, operands in parentheses, attributes."""
    start = _closing(rest) if rest.startswith("(") else 0
    found = OPCODE.search(rest, start)
    if found is None:
        return None
    end = found.end() - 1 + _closing(rest[found.end() - 1 :])
    inside = rest[found.end() : end]
    operands = (inside,) if found[1] in ("parameter", "constant") else tuple(OPERAND.findall(inside))
    return Instruction(name, rest[: found.start()], found[1], operands, rest[end:])


def _closing(text: str) -> int:
    """The position of the parenthesis that closes the first one."""
    depth = 0
    for match in re.finditer(r"[()]", text):
        depth += 1 if match[0] == "(" else -1
        if depth == 0:
            return match.start()
    return len(text)


def array_bytes(shape: str) -> int:
    """The bytes of all arrays in a shape.

    Example:
      >>> array_bytes("(f32[64]{0}, bf16[2,3]{1,0:T(8,128)}, pred[4]{0}, s32[])"), array_bytes("f8e4m3fn[8]{0}")
      (276, 8)
    """
    return sum(one_array_bytes(*one) for one in ARRAY.findall(shape))


def one_array_bytes(letters: str, bits: str, sides: str) -> int:
    """Of a match of ``ARRAY``."""
    return math.prod(int(side) for side in sides.split(",") if side) * (8 if letters == "pred" else int(bits or 0)) // 8


def called(one: Instruction) -> list[str]:
    """The computations that an instruction calls; the branches of a conditional."""
    branches = BRANCHES.search(one.attributes)
    return [*CALLED.findall(one.attributes), *(OPERAND.findall(branches[1]) if branches else [])]


def trips(one: Instruction) -> int | None:
    """How often a while loop runs, if the compiler knows it; of any other loop, the host waits for the condition."""
    found = TRIPS.search(one.attributes)
    return int(found[1]) if found else None


def predecessors(one: Instruction) -> Iterator[str]:
    """The instructions that must be done before this one."""
    yield from one.operands
    if found := PREDECESSORS.search(one.attributes):
        yield from OPERAND.findall(found[1])


def moved(one: Instruction, within: Computation, module: Module) -> int:
    """The bytes that an instruction reads and writes: of slices and updates in place, those of the part."""
    if one.opcode == "fusion":
        inner = module.computations[called(one)[0]]
        parameters = {p.operands[0]: p for p in inner.values() if p.opcode == "parameter"}
        read = sum(read_by(parameters[str(i)], inner) for i in range(len(one.operands)) if str(i) in parameters)
        return read + written_by(inner.root, inner)
    operands = [array_bytes(within[name].shape) for name in one.operands if name in within]
    if one.opcode in PARTS:
        return 2 * array_bytes(one.shape) + sum(operands[1:])
    if one.opcode == "dynamic-update-slice":
        return 2 * operands[1]
    return sum(operands) + array_bytes(one.shape)


def read_by(value: Instruction, inner: Computation) -> int:
    """What a fusion reads of one of its parameters."""
    whole, parts = array_bytes(value.shape), 0
    for user in inner.users.get(value.name, []):
        if user.opcode == "bitcast":
            parts += read_by(user, inner)
        elif user.opcode in PARTS and user.operands[0] == value.name:
            parts += array_bytes(user.shape)
        elif not (user.opcode == "dynamic-update-slice" and user.operands[0] == value.name):
            return whole
    return min(whole, parts)


def written_by(value: Instruction, inner: Computation) -> int:
    """What a fusion writes of its result: of an array that is updated in place, the update."""
    if value.opcode == "tuple":
        return sum(written_by(inner[name], inner) for name in value.operands)
    if value.opcode == "bitcast" and value.operands[0] in inner:
        return written_by(inner[value.operands[0]], inner)
    if value.opcode == "dynamic-update-slice":
        return array_bytes(inner[value.operands[1]].shape)
    return array_bytes(value.shape)


def flops(one: Instruction, within: Computation, module: Module) -> int:
    """Multiplications and additions of a convolution or matrix product; those of other instructions are not counted.

    A convolution multiplies every output by all weights of its output channel; each of its two gradients does as much.
    """
    if one.is_convolution and (labels := LABELS.search(one.attributes)):
        return _convolution_flops(one, within, labels[1])
    if one.opcode == "fusion" and one.is_product:
        inner = module.computations[called(one)[0]]
        dots = [flops(dot, inner, module) for dot in inner.values() if dot.opcode == "dot"]
        nested = [flops(f, inner, module) for f in inner.values() if f.opcode == "fusion" and f.is_product]
        return sum(dots) + sum(nested)
    found = CONTRACTED.search(one.attributes) if one.is_product else None
    if found and one.operands and one.operands[0] in within:
        sides = _sides(within[one.operands[0]].shape)[0]
        contracted = [int(axis) for axis in re.findall(r"\d+", found[1])]
        return 2 * math.prod(_sides(one.shape)[0]) * math.prod(sides[axis] for axis in contracted)
    return 0


def _convolution_flops(one: Instruction, within: Computation, kernel_labels: str) -> int:
    arrays = [within[name].shape for name in one.operands[:2] if name in within]
    if len(arrays) < 2:
        return 0
    first, second, result = (_sides(shape)[0] for shape in (*arrays, one.shape))
    if "BackwardFilter" in one.target:  # input, gradient of the output -> gradient of the kernel
        outputs, kernel = second, result
    elif "BackwardInput" in one.target:  # gradient of the output, kernel -> gradient of the input
        outputs, kernel = first, second
    else:
        outputs, kernel = result, second
    return 2 * math.prod(outputs) * math.prod(kernel) // kernel[kernel_labels.index("o")]


def _sides(shape: str) -> list[list[int]]:
    return [[int(side) for side in sides.split(",") if side] for _, _, sides in ARRAY.findall(shape)]
