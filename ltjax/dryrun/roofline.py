"""The least time that a chip's peaks allow: of a step, an epoch, a run."""

from collections.abc import Sequence
from typing import NamedTuple

from ltjax.dryrun.collectives import Collective
from ltjax.dryrun.compiled import Compiled
from ltjax.hardware.chips import Chip

HOUR = 3600.0


class Times(NamedTuple):
    """Seconds of a step if each were the only work."""

    compute: float
    memory: float
    interconnect: float

    @property
    def step(self) -> float:
        """The longest: the three can overlap, and one of them at best hides the others."""
        return max(self)

    @property
    def binds(self) -> str:
        """Which one it is."""
        return max(self._fields, key=lambda name: getattr(self, name))


class Phase(NamedTuple):
    """A phase of a run: the number of its steps, the seconds and the images of each."""

    kind: str  # train or evaluation
    stage: str
    steps: int
    seconds: float
    images: int


def times(program: Compiled, chip: Chip, dtype: str) -> Times:
    """The three times of one step.

    Example:
      >>> from ltjax.hardware.chips import TPUS
      >>> from ltjax.dryrun.compiled import Memory
      >>> sums = [Collective("all-reduce", 10**8, 16, (), "")]
      >>> program = Compiled(Memory(0, 0, 0, 0, 0), 1.97e12, 0, 8.19e9, sums, 256, 1.0)
      >>> [round(1e3 * t, 3) for t in times(program, TPUS["v5e"].chip, "bfloat16")]  # ms
      [10.0, 10.0, 0.938]
    """
    compute = max(program.flops, program.traced_flops) / chip.flops[dtype]
    sent = sum(traffic(one) for one in program.collectives)
    return Times(compute, program.bytes / chip.bandwidth, sent / chip.interconnect)


def traffic(one: Collective) -> float:
    """Bytes that each chip has to send at least: an all-reduce is a scatter of sums and a gather of them.

    Example:
      >>> traffic(Collective("all-reduce", 100, 4, (), "")), traffic(Collective("all-gather", 100, 4, (), ""))
      (150.0, 75.0)
    """
    others = (one.group - 1) / one.group
    if one.kind == "all-reduce":
        return 2 * others * one.bytes
    return others * one.bytes if one.kind in ("all-gather", "reduce-scatter", "all-to-all") else float(one.bytes)


def evaluations(epochs: int, every: int) -> int:
    """Evaluations within a stage; that after its last epoch belongs to the run's end.

    Example:
      >>> evaluations(200, 10), evaluations(20, 0)
      (19, 0)
    """
    return (epochs - 1) // every if every else 0


def hours(phases: Sequence[Phase]) -> float:
    """Of all phases, one after the other.

    Example:
      >>> hours([Phase("train", "first", 7200, 0.5, 256)])
      1.0
    """
    return sum(phase.steps * phase.seconds for phase in phases) / HOUR
