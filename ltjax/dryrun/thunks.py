"""Reads what XLA's compiler for GPUs will launch: the sequence of thunks that it writes to a folder as it compiles.

A thunk is one thing that the host starts: a kernel, a library's function, a copy, a loop, or a CUDA graph of others.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

FUSIONS, CONVOLUTIONS, PRODUCTS, CALLS = "fusions", "convolutions", "matrix products", "custom calls"
COPIES, COLLECTIVES = "copies and memsets", "collectives"
KINDS = (FUSIONS, CONVOLUTIONS, PRODUCTS, CALLS, COPIES, COLLECTIVES)
GRAPH, LOOP, BRANCH = "kCommandBuffer", "kWhile", "kConditional"
LINE = re.compile(r"^( *)(\d+): (k\w+) (.*)$")
KERNEL = re.compile(r"\] ?([\w.-]+)")
METADATA = re.compile(r"thunk_metadata \{(.*?)^\}", re.DOTALL | re.MULTILINE)
# Name of a thunk without the k -> kind; the first that matches. Those of STRUCTURE launch nothing themselves.
STRUCTURE = re.compile(
    r"CommandBuffer|While|Conditional|Sequential|.*Done|WaitForStreams|.*Event|Async.*|HostExecute.*"
)
NAMES = (
    (COLLECTIVES, re.compile(r".*(AllReduce|AllGather|ReduceScatter|AllToAll|Collective|Nccl|Nvshmem|Send|Recv).*")),
    (CONVOLUTIONS, re.compile(r"Convolution.*|CuDnn|Cudnn")),
    (PRODUCTS, re.compile(r"Gemm|CublasLt.*|Cublas.*|GroupedGemm")),
    (COPIES, re.compile(r"Mem.*|.*Copy.*|.*Memset.*|Memzero|ReplicaId|PartitionId")),
    (FUSIONS, re.compile(r"Kernel|CustomKernel|DynamicSlice|DynamicSliceFusion")),
)


class Thunk(NamedTuple):
    """One thunk and those inside it.

    Attributes:
      number: its number in the sequence.
      kind: such as "kCommandBuffer".
      name: of the kernel, if the text names it.
      inside: of a graph, a loop (its condition first) or a conditional.
    """

    number: int
    kind: str
    name: str
    inside: tuple["Thunk", ...]


class Launches(NamedTuple):
    """What a program launches, once around or in each iteration of its loop over steps.

    Attributes:
      kernels: kind, as in ``KINDS`` -> number, in graphs and outside. A loop within a step counts once.
      outside: the same, outside of graphs: each is launched by the host.
      graphs: CUDA graphs that the host launches.
      host_loops: names of the loops and conditionals that the host runs; those in graphs run on the GPU.
    """

    kernels: dict[str, int]
    outside: dict[str, int]
    graphs: int
    host_loops: tuple[str, ...]


class Sequence(NamedTuple):
    """What a program launches in a call.

    Attributes:
      once: in the call, beside the loop over steps.
      repeated: in each iteration of the loop over steps; None if there is no such loop.
      loop_in_graph: whether the loop over steps is part of a graph.
      loop: name of that loop, "" if unknown.
    """

    once: Launches
    repeated: Launches | None
    loop_in_graph: bool
    loop: str

    @property
    def one_graph(self) -> bool:
        """Whether the host launches a single graph for the whole call, and nothing else."""
        in_loop = self.repeated is None or (self.loop_in_graph and not self.repeated.outside)
        return self.once.graphs == 1 and not self.once.outside and not self.once.host_loops and in_loop


def parse_thunks(text: str, names: dict[int, str] | None = None) -> tuple[Thunk, ...]:
    """Parses ``*.thunk_sequence_after_thunk_passes.txt``.

    Args:
      text: of the file.
      names: from ``thunk_names``, for those that the text does not name.

    Example:
      >>> graph, = parse_thunks('''000: kCommandBuffer [source | sink]
      ...     001: kCopy         [source | next=002 (1)] kCopy
      ...     002: kWhile        [prev=001 (1) | sink]
      ... condition:
      ...         003: kCustomKernel [source | sink] loop_compare grid: [1, 1, 1]
      ...       body:
      ...         004: kConvolution  [source | sink] kConvolution''')
      >>> graph.kind, [one.kind for one in graph.inside], [one.name for one in graph.inside[1].inside]
      ('kCommandBuffer', ['kCopy', 'kWhile'], ['loop_compare', ''])
    """
    rows: list[tuple[int, int, str, str]] = []
    for line in text.splitlines():
        if found := LINE.match(line):
            kernel, number = KERNEL.search(found[4]), int(found[2])
            name = kernel[1] if kernel and kernel[1] != found[3] else (names or {}).get(number, "")
            rows.append((len(found[1]), number, found[3], name))
    return _nested(rows, 0, len(rows))


def _nested(rows: list[tuple[int, int, str, str]], begin: int, end: int) -> tuple[Thunk, ...]:
    found = []
    while begin < end:
        depth, number, kind, name = rows[begin]
        after = begin + 1
        while after < end and rows[after][0] > depth:
            after += 1
        found.append(Thunk(number, kind, name, _nested(rows, begin + 1, after)))
        begin = after
    return tuple(found)


def thunk_names(text: str) -> dict[int, str]:
    """Parses ``*.thunk_metadata.txt``: number of a thunk -> name of the instruction that it executes.

    Example:
      >>> thunk_names('''thunk_metadata {
      ...   thunk_info {
      ...     profile_annotation: "while.14"
      ...     thunk_id: 17
      ...   }
      ...   thunk_kind: "kWhile"
      ... }''')
      {17: 'while.14'}
    """
    found = {}
    for block in METADATA.findall(text):
        name, number = re.search(r'profile_annotation: "([^"]*)"', block), re.search(r"thunk_id: (\d+)", block)
        if name:
            found[int(number[1]) if number else 0] = name[1]
    return found


def kind_of(thunk: Thunk) -> str | None:
    """As in ``KINDS``; None for what launches nothing.

    Example:
      >>> [kind_of(Thunk(0, kind, "", ())) for kind in ("kCustomKernel", "kCublasLtMatmul", "kMemzero", "kWhile")]
      ['fusions', 'matrix products', 'copies and memsets', None]
    """
    short = thunk.kind[1:]
    if STRUCTURE.fullmatch(short):
        return None
    if "gemm" in thunk.name and "Kernel" in short:
        return PRODUCTS
    return next((kind for kind, pattern in NAMES if pattern.fullmatch(short)), CALLS)


def read_sequence(thunks: tuple[Thunk, ...], has_loop: bool) -> Sequence:
    """Counts what a call launches. With ``has_loop`` the loop over steps is the outermost one with most kernels."""
    loops = [(inside, one) for inside, one in _walk(thunks) if one.kind == LOOP] if has_loop else []
    if not loops:
        return Sequence(_launches(thunks, False, None), None, False, "")
    in_graph, loop = max(loops, key=lambda pair: _size(pair[1]))  # the first of equal ones, which is the outer one
    once, repeated = _launches(thunks, False, loop), _launches(loop.inside, in_graph, None)
    return Sequence(once, repeated, in_graph, loop.name)


def _walk(
    thunks: Iterable[Thunk], in_graph: bool = False, without: Thunk | None = None
) -> Iterator[tuple[bool, Thunk]]:
    """(whether it is in a graph, thunk) of all but the inside of ``without``."""
    for one in thunks:
        yield in_graph, one
        if one is not without:
            yield from _walk(one.inside, in_graph or one.kind == GRAPH, without)


def _size(thunk: Thunk) -> int:
    return sum(kind_of(one) is not None for _, one in _walk(thunk.inside))


def _launches(thunks: Iterable[Thunk], in_graph: bool, without: Thunk | None) -> Launches:
    every = list(_walk(thunks, in_graph, without))
    kinds = [(inside, kind_of(one)) for inside, one in every]
    kernels, outside = Counter(kind for _, kind in kinds), Counter(kind for inside, kind in kinds if not inside)
    loops = tuple(one.name for inside, one in every if one.kind in (LOOP, BRANCH) and not inside and one is not without)
    graphs = sum(one.kind == GRAPH and not inside for inside, one in every)
    return Launches(_by_kind(kernels), _by_kind(outside), graphs, loops)


def _by_kind(counts: Counter) -> dict[str, int]:
    return {kind: counts[kind] for kind in KINDS if counts[kind]}
